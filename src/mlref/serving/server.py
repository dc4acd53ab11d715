"""The process: open the bundle store, listen, and run the application."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
import sys
import time
from typing import Any

import uvicorn

from mlref.bundle.store import Store
from mlref.errors import EnvironmentFault, SettingsError
from mlref.serving import logs
from mlref.serving.app import create_app
from mlref.serving.boundary import Boundary
from mlref.serving.keys import VARIABLE, Keys
from mlref.storage import Project


class Server(uvicorn.Server):
    """A server that says it is not ready before it refuses anything.

    uvicorn alone closes its port as soon as it is told to stop, while a balancer still sends requests.

    Parameters
    ----------
    app : Boundary
        The service.
    drain : float
        Seconds in which it answers on after the signal, while /health/ready says 503.
    """

    def __init__(self, app: Boundary, drain: float) -> None:
        options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False}
        super().__init__(uvicorn.Config(app, timeout_graceful_shutdown=30, **options))
        self.service = app
        self.drain = drain
        app.waiting = lambda: len(self.server_state.tasks)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop; a second signal stops at once."""
        self.service.draining = True
        end = time.monotonic() + self.drain
        while time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def serve(host: str, port: int, reference: str, insecure: bool = False, drain: float = 0.0) -> None:
    """Serve one model until the process is told to stop.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes any that is free.
    reference : str
        Version, alias or digest of the model.
    insecure : bool
        Whether other machines may ask without a key.
    drain : float
        Seconds in which the service answers on after SIGTERM, not ready any more.

    Raises
    ------
    SettingsError
        When the keys are malformed, or there are none and the address is not loopback.
    ModelNotFound
        When the bundle store has no such model.
    BundleError
        When its bundle was altered.
    EnvironmentFault
        When the port is busy or the address is not ours.
    """
    # uvicorn drains on SIGTERM and then raises the signal again, for the handler that it found:
    # with this one a wanted stop ends with exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logs.configure()
    keys = Keys(os.environ.get(VARIABLE, ""))
    if not keys and not insecure and not _is_loopback(host):
        raise SettingsError(
            VARIABLE,
            [
                f"is empty, and on {host} other machines could ask: set it to what `mlref keys new"
                " predict` prints, or say --insecure"
            ],
        )
    store = Store(Project.here().store)
    predictor, record = store.open(reference)
    app = create_app(predictor, record, keys=keys)
    with listen(host, port) as listener:
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(
            f"{predictor.contract.name} version {record['version']} ({predictor.digest[:12]})"
            f" answers at {url} · docs: {url}/docs",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            Server(app, drain).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket, or say why that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        busy = error.errno == errno.EADDRINUSE
        remedy = "Stop what listens there, or take another port: `mlref serve --port PORT`."
        plain = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        raise EnvironmentFault(
            f"{host}:{port} cannot be listened on", plain, remedy if busy else ""
        ) from error
