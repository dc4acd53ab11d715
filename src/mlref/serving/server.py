"""The process: open the bundle store, listen, and run the application."""

import contextlib
import errno
import os
import signal
import socket
import sys

import uvicorn

from mlref.bundle.store import Store
from mlref.errors import EnvironmentFault
from mlref.serving.app import create_app
from mlref.storage import Project


def serve(host: str, port: int, reference: str) -> None:
    """Serve one model until the process is told to stop.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes any that is free.
    reference : str
        Version, alias or digest of the model.

    Raises
    ------
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
    store = Store(Project.here().store)
    predictor, record = store.open(reference)
    app = create_app(predictor, record)
    with listen(host, port) as listener:
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(
            f"{predictor.contract.name} version {record['version']} ({predictor.digest[:12]})"
            f" answers at {url} · docs: {url}/docs",
            flush=True,
        )
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


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
