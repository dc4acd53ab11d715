"""Time batch scoring: `mlref score` against pandas, a plain copy, one core, Dask and CSV.

    python benchmarks/batch.py [--quick] [--rows N] [--rounds N] [--large]

Makes N rows (10 million) of the contract's columns in 20 Parquet files: values inside `expected`, one
row in a hundred anywhere inside `valid`. Then it compares, each in a process of its own, in alternation
and in one run:

- `mlref score` against pandas, the usual way: read all, predict with scikit-learn, write one file;
- against a copy that has no model: pyarrow reads the same files and writes the same columns, a thread a
  core, with the options that `mlref score` writes with;
- on two threads against one;
- on a Dask cluster of two workers, which is running already, against two threads, each with and without
  its start: the time that 100 rows take, which is imports, model and connection;
- a tenth of the rows as CSV against `pandas.read_csv`, predict and `to_csv`;
- 100 rows, start of the process included;
- the peak memory at a tenth of the rows, at all of them, and with `--large` at ten times as many.

It needs a champion (`make train`), and 4 GB in the folder for temporary files (TMPDIR). It prints a table
of medians and, as its last line, one JSON object.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from side_by_side import ROOT, print_result

from mlref.core.contract import Contract, load
from mlref.core.rows import generate
from mlref.core.storage import Project

FILES = 20
CORES = "2"
SCORE = (sys.executable, "-m", "mlref.cli", "--quiet", "score")

PANDAS = """
import sys
from pathlib import Path
import numpy as np, pandas as pd, skops.io
from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.storage import Project
kind, given, out = sys.argv[1:]
store = Store(Project.here().store)
predictor, record = store.open("champion")
model = skops.io.load(store.folder / f"{predictor.digest}.skops", trusted=TRUSTED)
bounds, widths = (np.array(predictor.intervals[name]) for name in ("bounds", "half_widths"))
files = sorted(Path(given).iterdir())
frame = pd.read_parquet(given) if kind == "parquet" else pd.concat(map(pd.read_csv, files))
features = predictor.contract.features
rows = frame[[one.name for one in features]].copy()
for one in features:
    if one.allowed:
        rows[one.name] = rows[one.name].map({value: place for place, value in enumerate(one.allowed)})
frame["prediction"] = model.predict(rows.to_numpy(dtype=float))
half = widths[np.searchsorted(bounds, frame["prediction"])]
frame["lower"], frame["upper"] = frame["prediction"] - half, frame["prediction"] + half
frame["model_version"] = str(record["version"])
frame.to_parquet(out, index=False) if kind == "parquet" else frame.to_csv(out, index=False)
"""
"""The usual way. It judges no row, so it has no warnings to write."""

COPY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from mlref.batch.columns import ADDED
from mlref.batch.score import REPETITIVE
given, out, made = map(Path, sys.argv[1:])
out.mkdir()
pa.set_cpu_count(1)
def copy(path):
    file, values = pq.ParquetFile(path, pre_buffer=False), pq.ParquetFile(made / path.name, pre_buffer=False)
    schema = pa.unify_schemas([file.schema_arrow.remove_metadata(), ADDED])
    read = [one.iter_batches(131_072, use_threads=False, columns=names)
            for one, names in ((file, None), (values, ["warnings", "model_version"]))]
    with pq.ParquetWriter(out / path.name, schema, use_dictionary=REPETITIVE) as writer:
        for batch, added in zip(*read, strict=True):
            columns = [*batch.columns, *batch.columns[-3:], *added.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
with ThreadPoolExecutor(2) as pool:
    list(pool.map(copy, sorted(given.iterdir())))
"""
"""The last three columns stand for value, lower and upper; warnings and version come from a scored part."""


class Run(NamedTuple):
    """What a process took."""

    seconds: float
    peak_mb: float


def run(*command: str | Path, limit: int | None = None) -> Run:
    """Run a process in the repository and measure it."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{said.decode()}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)  # bytes on macOS
    return Run(seconds, kilobytes / 1024)


def write_rows(contract: Contract, folder: Path, rows: int, files: int, csv: bool = False) -> Path:
    """Write generated rows."""
    folder.mkdir()
    usual = contract.model_copy(
        update={
            "features": tuple(
                one.model_copy(update={"valid": one.expected or one.valid})
                for one in contract.features
            )
        }
    )
    for number in range(files):
        array = generate(usual, rows // files, seed=number)
        some = generate(contract, len(array) // 100, seed=files + number)
        array[: len(some)] = some
        table = pa.table(
            {
                one.name: (
                    np.array(one.allowed)[array[:, place].astype(int)]
                    if one.allowed
                    else pa.array(array[:, place], from_pandas=True)
                )
                for place, one in enumerate(contract.features)
            }
        )
        name = folder / f"part-{number:02}"
        if csv:
            pyarrow.csv.write_csv(table, f"{name}.csv")
        else:
            pq.write_table(table, f"{name}.parquet", use_dictionary=False)
    return folder


def write_apart(*arguments: object) -> Path:
    """The same in a process of its own: a child's peak memory counts from that of its parent."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(write_rows, *arguments).result()


def keep_added(part: Path) -> None:
    """Leave only those columns of a part that a copy cannot take from its input."""
    columns = pq.read_table(part, columns=["warnings", "model_version"])
    pq.write_table(columns, part)


class Bench:
    """The folders of one run, and what was measured in it."""

    def __init__(self, folder: Path, rows: int, rounds: int) -> None:
        contract = load(Project(ROOT).contract)
        self.folder, self.rounds = folder, rounds
        self.given = write_apart(contract, folder / "in", rows, FILES)
        self.tenth = folder / "tenth"
        self.tenth.mkdir()
        for name in ("part-00.parquet", "part-01.parquet"):
            os.link(self.given / name, self.tenth / name)
        self.csv = write_apart(contract, folder / "csv", rows // 10, 4, True)
        self.few = write_apart(contract, folder / "few", 100, 1)
        self.made = folder / "made"  # what a copy has to write
        run(*SCORE, self.given, self.made, "--workers", CORES)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            list(pool.map(keep_added, self.made.glob("*.parquet")))
        self.found: dict[str, list[Run]] = {}

    def score(self, given: Path, *options: str) -> Run:
        """One run of ours into a new folder."""
        return self.fresh(lambda out: run(*SCORE, given, out, *options))

    def fresh(self, measured: Callable[[Path], Run]) -> Run:
        """Measure into a place that is empty before and after."""
        out = self.folder / "out"
        try:
            return measured(out)
        finally:
            shutil.rmtree(out, ignore_errors=True)
            out.unlink(missing_ok=True)

    def alternate(self, **measured: Callable[[], Run]) -> None:
        """Measure each in turn, so that a drift of the machine's speed meets all alike."""
        for _ in range(self.rounds):
            for name, one in measured.items():
                print(name, file=sys.stderr)
                self.found.setdefault(name, []).append(one())

    def on_dask(self, given: Path) -> Run:
        """The run on a cluster that is warm: started, and used once."""
        return self.score(given, "--engine", "dask", "--scheduler", self.scheduler)

    def measure(self) -> None:
        """Everything that is compared."""
        python = (sys.executable, "-c")
        two = ("--workers", CORES)
        self.alternate(
            ours=lambda: self.score(self.given, *two),
            copy=lambda: self.fresh(lambda out: run(*python, COPY, self.given, out, self.made)),
            pandas=lambda: self.fresh(lambda out: run(*python, PANDAS, "parquet", self.given, out)),
            one_core=lambda: self.score(self.given, "--workers", "1"),
        )
        self.alternate(
            ours_csv=lambda: self.score(self.csv, *two),
            pandas_csv=lambda: self.fresh(lambda out: run(*python, PANDAS, "csv", self.csv, out)),
            ours_100=lambda: self.score(self.few, *two),
            ours_tenth=lambda: self.score(self.tenth, *two),
        )
        with Cluster(self.folder) as self.scheduler:
            self.on_dask(self.given)
            self.alternate(
                ours_again=lambda: self.score(self.given, *two),
                dask=lambda: self.on_dask(self.given),
                ours_start=lambda: self.score(self.few, *two),
                dask_start=lambda: self.on_dask(self.few),
            )

    def large(self) -> Run:
        """Ten times the rows: the same files ten times; a part is taken away once it is there."""
        many = self.folder / "many"
        many.mkdir()
        for path in self.given.iterdir():
            for number in range(10):
                os.link(path, many / f"{number}-{path.name}")
        done = threading.Event()

        def tidy() -> None:
            while not done.wait(0.2):
                for part in (self.folder / "out").glob("*.parquet"):
                    part.unlink()

        threading.Thread(target=tidy, daemon=True).start()
        try:
            return self.score(many, "--workers", CORES)
        finally:
            done.set()


class Cluster:
    """A Dask scheduler and two workers, each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> str:
        file = self.folder / "scheduler.json"
        self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)
        )
        while not file.is_file():
            time.sleep(0.1)
        address = str(json.loads(file.read_text())["address"])
        for _ in range(int(CORES)):
            self._start("worker", address, "--nthreads", "1", "--local-directory", str(self.folder))
        return address

    def _start(self, *command: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = (sys.executable, "-m", "dask", *command, "--no-dashboard")
        self.processes.append(subprocess.Popen(command, cwd=ROOT, **quiet))

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


RATIOS = {
    "wall_vs_pandas": ("ours", "pandas"),
    "wall_vs_copy": ("ours", "copy"),
    "two_cores_vs_one": ("ours", "one_core"),
    "dask_vs_threads": ("dask", "ours_again"),
    "csv_vs_pandas": ("ours_csv", "pandas_csv"),
}


def main() -> None:
    """Measure, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="how many are scored")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions")
    parser.add_argument("--large", action="store_true", help="also ten times as many rows")
    parser.add_argument(
        "--quick", action="store_true", help="few rows, one repetition: that it runs, not how fast"
    )
    options = parser.parse_args()
    rows, rounds = (20_000, 1) if options.quick else (options.rows, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), rows, rounds)
        bench.measure()
        peaks = {"tenth": bench.found["ours_tenth"], "whole": bench.found["ours"]}
        if options.large:
            peaks["tenfold"] = [bench.large()]
    report(bench.found, rows, peaks)


def report(found: dict[str, list[Run]], rows: int, peaks: dict[str, list[Run]]) -> None:
    """Print what was measured; a ratio is the median of the rounds' own ratios."""
    ratios = {
        name: statistics.median(
            ours.seconds / theirs.seconds
            for ours, theirs in zip(found[one], found[other], strict=True)
        )
        for name, (one, other) in RATIOS.items()
    }
    ratios["dask_vs_threads_without_start"] = statistics.median(
        (dask.seconds - dask_start.seconds) / (ours.seconds - ours_start.seconds)
        for dask, dask_start, ours, ours_start in zip(
            *(found[name] for name in ("dask", "dask_start", "ours_again", "ours_start")),
            strict=True,
        )
    )
    table = Table("what", "seconds", "least", "most", "MB", title=f"{rows:,} rows")
    for name, runs in found.items():
        seconds = [one.seconds for one in runs]
        peak = max(one.peak_mb for one in runs)
        cells = (statistics.median(seconds), min(seconds), max(seconds))
        table.add_row(name, *(f"{value:.2f}" for value in cells), f"{peak:.0f}")
    console = Console()
    console.print(table)
    for name, ratio in ratios.items():
        console.print(f"{name:30} {ratio:.3f}   {' / '.join(RATIOS.get(name, ()))}")
    figures = {
        f"{name}_seconds": statistics.median(r.seconds for r in runs)
        for name, runs in found.items()
    }
    figures |= {f"{name}_peak_mb": max(r.peak_mb for r in runs) for name, runs in peaks.items()}
    figures["rows_per_second"] = rows / figures["ours_seconds"]
    packages = ("pyarrow", "pandas", "dask", "onnxruntime", "scikit-learn")
    print_result("batch", ratios, figures, packages)


if __name__ == "__main__":
    main()
