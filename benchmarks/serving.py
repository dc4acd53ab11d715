"""Time the service by CPU a request: against an empty route, the usual service, and MLflow's.

    python benchmarks/serving.py [--quick] [--rounds N] [--peers]

Each server is a process on a free loopback port and on one core; the load is eight connections that are
kept alive, from this process, on another core where there is one. A figure is the CPU time of the server
and its children for each answer, so that the client's speed hardly matters. Compared are, for one row:

- `mlref serve` with its log and its metrics: by default, and with `--behind-proxy`, which takes httptools;
- a FastAPI application whose only route returns `{}`, on uvicorn with httptools;
- the usual service: FastAPI, a pydantic model, a pandas frame, scikit-learn;
- the server behind `mlflow models serve`, in this process's environment, on uvicorn's fastest settings;
- with `--peers`, BentoML and MLServer, which are installed into environments of their own for it.

A thousand rows are compared with their decoding and onnxruntime alone. Then come the time from start to
the first answer, the memory over 100,000 requests, and latencies at half of the rate that a server reaches,
counted from when a request was due; those of the empty route are what machine and client contribute. A
ratio is the median of the rounds' own ratios. It needs a champion (`make train`), prints tables and, last,
one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import selectors
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track
from side_by_side import ROOT, Seconds, alternate, environment, print_result, rounded, spread, table

from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.contract import load
from mlref.core.rows import validate
from mlref.core.storage import Project
from mlref.serving.request import Reader

PROJECT = Project(ROOT)
CONTRACT = load(PROJECT.contract)
ROW = {one.name: one.example for one in CONTRACT.features}
ENCODED = validate(CONTRACT.features, {name: [value] for name, value in ROW.items()}).array.tolist()
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
MANY = 1000
OURS = f"{sys.executable} -m mlref.cli serve --port {{port}}"
UVICORN = (
    f"{sys.executable} -m uvicorn --port {{port}} --http httptools --loop uvloop"
    " --no-access-log --log-level warning"
)

EMPTY = """
from fastapi import FastAPI
app = FastAPI()
@app.post("/")
async def empty():
    return {}
"""
USUAL = """
import pandas as pd, skops.io
from fastapi import FastAPI
from pydantic import create_model
from mlref.bundle.package import TRUSTED
from mlref.core.contract import load
from mlref.core.rows import validate
from mlref.serving.request import Reader
from mlref.core.storage import Project
project = Project.here()
features = load(project.contract).features
types = {"number": float, "integer": int}
Row = create_model("Row", **{one.name: (types.get(one.type, type(one.example)), ...) for one in features})
model = skops.io.load(project.model, trusted=TRUSTED)
app = FastAPI()
@app.post("/")
def predict(row: Row):
    frame = pd.DataFrame([row.model_dump()])
    for one in features:
        if one.allowed:
            frame[one.name] = frame[one.name].map({value: place for place, value in enumerate(one.allowed)})
    return {"prediction": float(model.predict(frame.to_numpy(dtype=float))[0])}
"""
BENTO = """
import bentoml, joblib, numpy as np
@bentoml.service(workers=1)
class Model:
    def __init__(self):
        self.model = joblib.load("model.joblib")
    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(rows)
"""
CONVERT = """
import sys, joblib, skops.io
joblib.dump(skops.io.load(sys.argv[1], trusted=sys.argv[2:]), "model.joblib")
"""
"""The peers read joblib's format."""


def post(path: str, body: object = None) -> bytes:
    """One request as it goes over the wire."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Client:
    """Eight connections that are kept alive; each has one request on its way at most.

    A context manager, at whose end they are closed.
    """

    def __init__(self, port: int) -> None:
        self.free = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        self.answers = selectors.DefaultSelector()
        for one in self.free:
            self.answers.register(one, selectors.EVENT_READ, one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in list(self.answers.get_map().values()):
            one.data.close()
        self.answers.close()

    def send(self, request: bytes, seconds: float, rate: float = 0) -> list[float]:
        """Send requests for so long, as fast as answers come, or so many a second.

        Returns
        -------
        list of float
            Seconds from when each was due to its answer.
        """
        begin, sent = time.perf_counter(), 0
        due: dict[socket.socket, float] = {}
        latencies: list[float] = []
        while True:
            now = time.perf_counter()
            while self.free and (at := begin + sent / rate if rate else now) <= min(
                now, begin + seconds
            ):
                one = self.free.pop()
                due[one] = at
                one.sendall(request)
                sent += 1
            if not due and now > begin + seconds:
                return latencies
            # by a rate nobody waits: a wait would end up to a millisecond late
            for key, _ in self.answers.select(0 if rate else 5):
                self.read(key.data)
                latencies.append(time.perf_counter() - due.pop(key.data))
                self.free.append(key.data)

    @staticmethod
    def read(one: socket.socket) -> None:
        """Read one answer, which has to be 200."""

        def more() -> bytes:
            if part := one.recv(1 << 20):
                return part
            sys.exit("A server closed the connection in the middle of an answer.")

        data = more()
        while b"\r\n\r\n" not in data:
            data += more()
        head, _, body = data.partition(b"\r\n\r\n")
        if b" 200 " not in head[:20]:
            sys.exit(f"A server answered {data[:500]!r}")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += more()


class Server:
    """A server that answers.

    Attributes
    ----------
    ready : float
        Seconds from its start to its first answer.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        port: int,
        request: bytes,
        log: Path,
        started: float,
    ) -> None:
        self.process, self.port, self.request = psutil.Process(process.pid), port, request
        self.started = started
        while True:
            try:
                self.load(0)
                break
            except ConnectionError:
                if process.poll() is not None or self.age() > 90:
                    said = "\n".join(log.read_text().splitlines()[-20:])
                    sys.exit(f"{shlex.join(process.args)} does not answer:\n{said}")
                time.sleep(0.005)
        self.ready = self.age()

    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self.started

    def load(self, seconds: float, rate: float = 0, request: bytes = b"") -> list[float]:
        """Latencies over new connections: a server may have closed those that were idle."""
        with Client(self.port) as client:
            return client.send(request or self.request, seconds, rate)

    def cpu(self, seconds: float, request: bytes = b"") -> float:
        """CPU seconds a request; what is still to be logged belongs to them."""
        before = self._spent()
        answers = len(self.load(seconds, request=request))
        time.sleep(0.3)
        return (self._spent() - before) / answers

    def _spent(self) -> float:
        every = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in every)


@contextmanager
def serve(folder: Path, command: str, request: bytes) -> Iterator[Server]:
    """Start a server on a free port, for which {port} stands in the command."""
    port = free_port()
    known = {
        "MLREF_LOG_URL": f"sqlite:///{folder}/log.db", "MLREF_LOG_SPOOL": f"{folder}/spool",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{folder}", "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_TRACKING_URI": f"sqlite:///{ROOT / 'mlflow.db'}",
        "__pyfunc_model_path__": f"models:/{CONTRACT.name}@champion",
    }  # fmt: skip
    log, started = folder / f"{port}.log", time.perf_counter()
    with log.open("wb") as said:
        process = subprocess.Popen(
            shlex.split(command.replace("{port}", str(port))),
            cwd=ROOT, env=environment() | known, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        if len(CORES) > 1:
            os.sched_setaffinity(process.pid, CORES[:1])
        yield Server(process, port, request, log, started)
    finally:
        children = []
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
        process.wait(30)
        for child in psutil.wait_procs(children, timeout=10)[1]:
            child.kill()


def install_peers(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Install BentoML and MLServer with the champion; their commands and requests."""
    model = Store(PROJECT.store).resolve("champion")
    settings = {"host": "127.0.0.1", "parallel_workers": 0}
    settings |= {"grpc_port": free_port(), "metrics_port": free_port()}
    files = {
        "bento.py": BENTO,
        "settings.json": json.dumps(settings),
        "model-settings.json": json.dumps(
            {
                "name": "model", "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": "model.joblib"},
            }
        ),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(content)
    uv = shutil.which("uv") or sys.exit("--peers needs uv, which `make setup` installs.")
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in ("scikit-learn", "skops")]
    for name, packages in (
        ("bentoml", ["bentoml"]),
        ("mlserver", ["mlserver", "mlserver-sklearn"]),
    ):
        python = folder / name / "bin" / "python"
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, folder / name],
            [uv, "pip", "install", "--quiet", "--python", python, "joblib", *versions, *packages],
            [python, "-c", CONVERT, PROJECT.store / f"{model}.skops", *TRUSTED],
        ):
            subprocess.run(command, cwd=folder, check=True)
    rows = {"name": "rows", "shape": [1, len(ROW)], "datatype": "FP64", "data": ENCODED}
    return {
        "bentoml": (
            f"{folder}/bentoml/bin/bentoml serve bento:Model --port {{port}} --working-dir {folder}",
            post("/predict", {"rows": ENCODED}),
        ),
        "mlserver": (
            f"env MLSERVER_HTTP_PORT={{port}} {folder}/mlserver/bin/mlserver start {folder}",
            post("/v2/models/model/infer", {"inputs": [rows]}),
        ),
    }


def decode_and_run(body: bytes, seconds: float) -> float:
    """CPU seconds of the service's own decoding of a request, and of onnxruntime, without the rest."""
    predictor, _ = Store(PROJECT.store).open("champion")
    reader = Reader(CONTRACT, MANY)
    start, times = time.process_time(), 0
    while (spent := time.process_time() - start) < seconds:
        predictor.values(reader.read(body).array)
        times += 1
    return spent / times


def latencies(server: Server, seconds: float) -> dict[str, float]:
    """Milliseconds at half of the rate that the server reaches."""
    rate = len(server.load(seconds)) / seconds
    quantiles = statistics.quantiles(server.load(seconds * 3, rate / 2), n=100)
    p50, p90, p99 = (quantiles[place] * 1e3 for place in (49, 89, 98))
    found = {"saturation_per_second": rate, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
    return found | {"p99_vs_p50": p99 / p50}


def memory(server: Server, requests: int) -> dict[str, float]:
    """Resident memory after so many requests, and its slope over the second half of them."""
    sent, points = 0, []
    while sent < requests:
        sent += len(server.load(0.5))
        points.append((sent, server.process.memory_info().rss / 1e6))
    late = np.array([point for point in points if point[0] >= sent / 2])
    slope = np.polyfit(*late.T, 1)[0] if len(late) > 1 else 0.0
    return {"rss_mb": points[-1][1], "rss_slope_mb_per_100000": slope * 100_000}


def main() -> None:
    """Measure, print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="repetitions")
    parser.add_argument(
        "--peers", action="store_true", help="install and time BentoML and MLServer too"
    )
    parser.add_argument("--quick", action="store_true", help="that it runs, not how fast")
    given = parser.parse_args()
    rounds, seconds, requests = (1, 0.2, 500) if given.quick else (given.rounds, 3.0, 100_000)
    if not (PROJECT.store / "champion").is_file():
        sys.exit("There is no champion. Run `make train`.")
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[1:])
    one = post("/v1/predict", {"instances": [ROW]})
    many = post("/v1/predict", {"instances": [ROW] * MANY})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "empty_route.py").write_text(EMPTY)
        (folder / "usual_service.py").write_text(USUAL)
        start = {
            "ours": (OURS, one),
            "behind_proxy": (f"{OURS} --behind-proxy", one),
            "no_log": (f"{OURS} --no-log", one),
            "fastapi_empty": (f"{UVICORN} empty_route:app", post("/", {})),
            "pandas_service": (f"{UVICORN} usual_service:app", post("/", ROW)),
            "mlflow_serve": (
                f"{UVICORN} mlflow.pyfunc.scoring_server.app:app",
                post("/invocations", {"inputs": ENCODED}),
            ),
        } | (install_peers(folder) if given.peers else {})
        ready = []
        for _ in track(range(rounds), "start", console=Console(stderr=True), transient=True):
            with serve(folder, *start["ours"]) as server:
                ready.append(server.ready)
        servers = {name: stack.enter_context(serve(folder, *how)) for name, how in start.items()}
        found: Seconds = alternate(
            rounds,
            **{name: partial(server.cpu, seconds) for name, server in servers.items()},
            thousand=lambda: servers["ours"].cpu(seconds, many),
            thousand_no_log=lambda: servers["no_log"].cpu(seconds, many),
            decode_and_onnx=lambda: decode_and_run(many.partition(b"\r\n\r\n")[2], seconds),
        )
        figures = {"ready_seconds": statistics.median(ready)}
        figures |= memory(servers["ours"], requests)
        tails: dict[str, list[dict[str, float]]] = {
            "ours": [],
            "behind_proxy": [],
            "fastapi_empty": [],
        }
        for _ in track(range(rounds), "latencies", console=Console(stderr=True), transient=True):
            for name, each in tails.items():
                each.append(latencies(servers[name], seconds / 2))
        figures |= {
            f"{name}_{what}": statistics.median(one[what] for one in each)
            for name, each in tails.items()
            for what in each[0]
        }

    def ratio(top: str, bottom: str) -> float:
        """Median of the rounds' own ratios."""
        return statistics.median(a / b for a, b in zip(found[top], found[bottom], strict=True))

    ratios = {
        "cpu_vs_fastapi_empty": ratio("behind_proxy", "fastapi_empty"),
        "cpu_vs_fastapi_empty_default": ratio("ours", "fastapi_empty"),
        "thousand_rows_no_log_throughput_vs_decode_and_onnx": ratio(
            "decode_and_onnx", "thousand_no_log"
        ),
    }
    others = [
        name for name in start if name not in ("ours", "behind_proxy", "no_log", "fastapi_empty")
    ]
    ratios |= {f"cpu_vs_{name}": ratio("ours", name) for name in others}
    figures = {
        f"{name}_us": statistics.median(each) * 1e6 for name, each in found.items()
    } | figures
    spread("CPU of the server for a request", "microseconds", found, 1e6)
    for title, values in (("Side by side", ratios), ("The service", figures)):
        table(title, "what", "value", rows=[(k, f"{rounded(v):g}") for k, v in values.items()])
    packages = ("fastapi", "uvicorn", "mlflow", "onnxruntime", "scikit-learn", "pandas")
    print_result("serving", ratios, figures, packages)


if __name__ == "__main__":
    main()
