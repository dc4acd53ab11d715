"""The process: open the bundle store, listen, and run the application."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log.ground_truth import Label
from mlref.serving import logs
from mlref.serving.app import create_app
from mlref.serving.feedback import Store as Labels
from mlref.serving.keys import Keys, check_door
from mlref.serving.limits import Limits
from mlref.serving.metrics import LogMetrics
from mlref.serving.service import Model, Service
from mlref.serving.shadow import Shadow
from mlref.serving.watch import Watch, check_contract
from mlref.serving.wire import Server

if TYPE_CHECKING:
    from mlref.prediction_log.writer import Writer

CONNECTIONS = 65_536
"""File descriptors that the process asks for: an idle client costs one, and 4 kB."""

FLUSH = 1.0
"""Seconds that feedback waits for the predictions before it to be written."""


def serve(
    host: str, port: int, reference: str, insecure: bool = False, drain: float = 0.0,
    logged: bool = True, shadow: str | None = None,
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
    # uvicorn drains on SIGTERM and then raises the signal again, for the handler that it found:
    # with this one a wanted stop ends with exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logs.configure()
    keys = Keys.read(os.environ)
    check_door(host, keys, insecure)
    project = Project.here()
    store = Store(project.store)
    model = Model(*store.open(reference), Limits())
    allow_connections()
    with contextlib.ExitStack() as stack:  # the log ends last: after every request
        service, labels, watches = Service(model), None, list[Watch]()
        if logged:
            log, labels = _log(project, stack)
            service.log = log
            service.metrics.registry.register(LogMetrics(log))
        if shadow:
            other = Model(*store.open(shadow), model.limits)
            check_contract(model, other)
            beside = stack.enter_context(Shadow(service.log, other))
            service.log = beside
            watches.append(Watch(beside, store, shadow))
        watches.append(Watch(service, store, reference))
        listener = stack.enter_context(listen(host, port))
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(
            f"{model.contract.name} version {model.version} ({model.digest[:12]})"
            f" answers at {url} · docs: {url}/docs",
            flush=True,
        )
        app = create_app(service, keys, labels)
        with contextlib.suppress(KeyboardInterrupt):
            Server(app, drain, partial(_follow, watches)).run(sockets=[listener])


async def _follow(watches: Sequence[Watch]) -> None:
    """Follow all aliases."""
    await asyncio.gather(*(watch.run() for watch in watches))


def _log(project: Project, stack: contextlib.ExitStack) -> "tuple[Writer, Labels]":
    """Open the log, also while its database is away, and what stores labels beside it."""
    from mlref.prediction_log import (  # SQLAlchemy, which a service without a log can spare
        ground_truth,
    )
    from mlref.prediction_log.database import Database
    from mlref.prediction_log.open import open_log

    log = stack.enter_context(open_log(project, patient=True))
    database = stack.enter_context(contextlib.closing(Database.of(project)))

    def labels(given: Sequence[Label]) -> dict[str, list[str]]:
        """Store labels, of the newest predictions too."""
        log.flush(FLUSH)
        return vars(ground_truth.add(database, given))

    return log, labels


def allow_connections() -> None:
    """Let the process have more open connections than the usual 1,024, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = CONNECTIONS if hard == resource.RLIM_INFINITY else min(CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket, or say why that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        busy = error.errno == errno.EADDRINUSE
        remedy = "Stop what listens there, or take another port: `mlref serve --port PORT`."
        plain = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        raise EnvironmentFault(
            f"{host}:{port} cannot be listened on", plain, remedy if busy else ""
        ) from error
