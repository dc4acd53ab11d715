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


def main(port: int) -> int:
    """Print the page of the training runs, start MLflow, and open the page once it answers."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        remedy = f"Choose another one: make ui PORT={port + 1}"
        raise EnvironmentFault(f"Port {port} cannot be used", error, remedy) from error
    project = Project.here()
    contract = load(project.contract)
    with open_store(project) as client:
        number = experiment(project, client, contract.name, contract.title)
    page = f"http://127.0.0.1:{port}/#/experiments/{number}/runs?workflowType=machine_learning"
    print(page, flush=True)
    command = ["mlflow", "server", "--backend-store-uri", uri(project), "--port", str(port)]
    # Without its job executor MLflow starts eight processes less.
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    screen = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ or sys.platform == "darwin"
    with subprocess.Popen([*command, "--workers", "1"], cwd=project.root, env=quiet) as server:
        for stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop, lambda *_: server.terminate())
        while screen and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                webbrowser.open(page)
                break
            time.sleep(1)
        return server.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1])))
    except MlrefError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
