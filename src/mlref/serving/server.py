"""The process: open the bundle store, listen, and run the application."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log.ground_truth import Label
from mlref.serving import feedback, logs
from mlref.serving.app import create_app
from mlref.serving.keys import ApiKeys, check_door
from mlref.serving.metrics import LogMetrics
from mlref.serving.model import Model, Service, Watch, open_model
from mlref.serving.monitor import MonitorMetrics, Show, nothing
from mlref.serving.request import Limits
from mlref.serving.shadow import Shadow

if TYPE_CHECKING:
    from mlref.prediction_log.writer import Writer

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than balancers do (mostly 60), so that they end it."""

GRACE = 15
"""Seconds that requests in flight have at the end; longer than a body may take to arrive."""

FLUSH = 1.0
"""Seconds that feedback waits until earlier predictions are written."""


def serve(
    host: str, port: int, reference: str, insecure: bool = False, drain: float = 0.0,
    logged: bool = True, shadow: str | None = None, behind_proxy: bool = False,
    origins: Sequence[str] = (),
) -> None:  # fmt: skip
    """Serve one model until the process is told to stop.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes any that is free.
    reference : str
        Version, alias or digest of the model; an alias is followed when it points to another.
    insecure : bool
        Whether the service may be open to other machines without asking for a key.
    drain : float
        Seconds between SIGTERM and the stop, in which only readiness changes.
    logged : bool
        Whether predictions go to the prediction log.
    shadow : str, optional
        Version, alias or digest of a model that scores the same rows, for the log alone.
    behind_proxy : bool
        Whether a proxy bounds clients, so that the quicker parser is safe, and its headers are trusted.
    origins : sequence of str
        Whose pages may read answers (CORS).

    Raises
    ------
    OpenDoor
        When other machines reach the address and there are no keys.
    SettingsError
        When the keys are malformed.
    PredictionLogError
        When the prediction log is of another version, or its URL is none.
    ModelNotFound
        When the bundle store has no such model.
    BundleError
        When its bundle was altered, or the shadow is of another contract.
    EnvironmentFault
        When the port is busy, the address is not ours, or nothing can be written for the log.
    """
    # uvicorn stops on SIGTERM and then raises the signal again, for the handler that it found:
    # with this one a wanted stop ends with exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logs.configure()
    keys = ApiKeys.read(os.environ)
    check_door(host, keys, insecure)
    project = Project.here()
    store = Store(project.store)
    model = Model(*store.open(reference), Limits())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # an idle client costs a file and 4 kB
    with contextlib.suppress(ValueError):  # where no limit is more than may be asked for
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:  # the log ends last: after every request
        service, labels = Service(model), None
        show: Show = nothing
        watches = [Watch(service, store, reference)]
        if logged:
            log, labels, show = _log(project, stack)
            service.log = log
            service.metrics.registry.register(LogMetrics(log))
            service.metrics.registry.register(MonitorMetrics(show))
            if shadow:
                beside = Shadow(log, open_model(store, shadow, model))
                service.log = stack.enter_context(contextlib.closing(beside))
                watches.append(Watch(beside, store, shadow))
        listener = stack.enter_context(listen(host, port))
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(
            f"{model.contract.name} version {model.version} ({model.digest[:12]})"
            f" answers at {url} · docs: {url}/docs",
            flush=True,
        )

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            drain_first(service, drain)
            tasks = [asyncio.create_task(watch.run()) for watch in watches]
            yield
            for task in tasks:
                task.cancel()

        app = create_app(service, keys, labels, lifespan, origins, show)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config(app, behind_proxy)).run(sockets=[listener])


def config(app: FastAPI, behind_proxy: bool) -> uvicorn.Config:
    """Options of uvicorn: by default the parser that bounds what a client may send.

    With httptools one client can make the process grow to a gigabyte. It takes a sixth to a quarter off a
    request's cost, so it is right where a proxy bounds clients. The proxy's headers are then trusted
    from the addresses in FORWARDED_ALLOW_IPS.
    """
    return uvicorn.Config(
        app,
        http="httptools" if behind_proxy else "h11",
        h11_max_incomplete_event_size=16 * 1024,
        ws="none",
        proxy_headers=behind_proxy,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


def drain_first(service: Service, seconds: float) -> None:
    """On SIGTERM let readiness change first, and stop after so many seconds or at a second SIGTERM.

    Called while the application starts: the handler that is there is uvicorn's own, which stops.
    """
    stop, loop = signal.getsignal(signal.SIGTERM), asyncio.get_running_loop()
    assert callable(stop), "uvicorn has set its handler"

    def begin(number: int, frame: FrameType | None) -> None:
        """Drain first, then let the server stop."""
        if service.draining or not seconds:
            stop(number, frame)
        else:
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, None)
        service.draining = True

    signal.signal(signal.SIGTERM, begin)


def _log(project: Project, stack: contextlib.ExitStack) -> "tuple[Writer, feedback.Store, Show]":
    """Open the log, also while its database is away, and what stores labels and reads results beside it."""
    # SQLAlchemy, which a service without a log can spare
    from mlref.prediction_log import ground_truth, monitored
    from mlref.prediction_log.writer import open_log

    log = stack.enter_context(open_log(project))

    def labels(given: Sequence[Label]) -> dict[str, list[str]]:
        """Store labels, of the newest predictions too."""
        log.flush(FLUSH)
        return vars(ground_truth.add(log.database, given))

    return log, labels, partial(monitored.show, log.database)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises
    ------
    EnvironmentFault
        With the address, and why that cannot be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise EnvironmentFault(
            f"{host}:{port} cannot be listened on",
            OSError(error.errno, os.strerror(error.errno or 0)),
            "Stop what listens there, or take another address with --host and --port.",
        ) from error
