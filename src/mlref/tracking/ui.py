"""Show the runs of this clone in MLflow's own pages: ``python -m mlref.tracking.ui PORT``, or `make ui`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser

from mlref.core.contract import load
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import Project
from mlref.tracking.store import experiment, open_store, uri

WAIT = 120
"""Most seconds that MLflow may take to answer."""


def main(port: int) -> int:
    """Print the page of the training runs, start MLflow, and open the page once it answers."""
    _check_free(port)
    project = Project.here()
    contract = load(project.contract)
    with open_store(project) as client:
        number = experiment(project, client, contract.name, contract.title)
    page = f"http://127.0.0.1:{port}/#/experiments/{number}/runs?workflowType=machine_learning"
    print(page, flush=True)
    command = ["mlflow", "server", "--backend-store-uri", uri(project), "--port", str(port)]
    # Without its job executor MLflow starts eight processes less.
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen([*command, "--workers", "1"], cwd=project.root, env=quiet) as server:
        for stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop, lambda *_: server.terminate())
        if "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ or sys.platform == "darwin":
            _open(page, port, server)
        return server.wait()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = f"Choose another one: make ui PORT={port + 1}"
            raise EnvironmentFault(f"Port {port} cannot be used", error, remedy) from error


def _open(page: str, port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(WAIT):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            webbrowser.open(page)
            return
        if server.poll() is not None:
            return
        time.sleep(1)


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1])))
    except MlrefError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
