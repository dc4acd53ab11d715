"""What the benchmarks share: commands timed in alternation, tables for people and a line for machines."""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
Seconds = dict[str, list[float]]
"""What was measured, to its repetitions."""


def rounds(purpose: str) -> int:
    """Read the command line: how often to repeat; 1 for `--quick`."""
    parser = argparse.ArgumentParser(description=purpose.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=5, help="repetitions of the long measurements"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small repetition: that it runs, not how fast"
    )
    options = parser.parse_args()
    return 1 if options.quick else int(options.rounds)


def environment() -> dict[str, str]:
    """What `make` exports, for the commands that run without it."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MLREF_")}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    path = f"{Path(sys.executable).parent}{os.pathsep}{plain['PATH']}"
    return plain | {
        "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1",
    }  # fmt: skip


def fresh_clone(folder: Path) -> Path:
    """Clone this repository; commands in it run its own code on this one's packages."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    return clone


def wall(folder: Path, *command: str) -> float:
    """Seconds that a command takes; what it prints is read and thrown away."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return seconds


def alternate(rounds: int, **measured: Callable[[], float]) -> Seconds:
    """Measure each in turn, so that a drift of the machine's speed meets all alike."""
    found: Seconds = {name: [] for name in measured}
    work = [(name, run) for _ in range(rounds) for name, run in measured.items()]
    for name, run in track(
        work, " and ".join(measured), console=Console(stderr=True), transient=True
    ):
        found[name].append(run())
    return found


def table(title: str, *columns: str, rows: list[tuple[str, ...]]) -> None:
    """Print a table for people."""
    shown = Table(*columns, title=title)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def spread(title: str, unit: str, found: Seconds, scale: float = 1) -> None:
    """Print median, least and most of what was measured, in a unit of which a second has ``scale``."""
    rows = [
        (name, *(f"{rounded(f(values) * scale):g}" for f in (statistics.median, min, max)))
        for name, values in found.items()
    ]
    table(title, unit, "median", "least", "most", rows=rows)


def rounded(value: float) -> float:
    """Three significant digits: a measured time has no more."""
    return float(f"{value:.3g}")


def report(
    benchmark: str, seconds: Seconds, ratios: dict[str, tuple[str, str]],
    figures: dict[str, float], packages: tuple[str, ...],
) -> None:  # fmt: skip
    """Print times and ratios of medians as tables, and everything as one line of JSON.

    Parameters
    ----------
    benchmark : str
        Name of the benchmark.
    seconds : dict
        What was measured.
    ratios : dict
        Name to what of ``seconds`` is ours and what is theirs.
    figures : dict
        What else was measured.
    packages : tuple of str
        Whose versions matter.
    """
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    found = {name: medians[ours] / medians[theirs] for name, (ours, theirs) in ratios.items()}
    spread("Wall time", "seconds", seconds)
    table(
        "Below 1: ours costs less", "ours / theirs", "ratio",
        rows=[(name, f"{value:.2g}") for name, value in found.items()],
    )  # fmt: skip
    times = {f"{name}_seconds": value for name, value in medians.items()}
    print_result(benchmark, found, times | figures, packages)


def print_result(
    benchmark: str, ratios: dict[str, float], figures: dict[str, float], packages: tuple[str, ...]
) -> None:
    """Print what was found, where, and with which versions, as one line of JSON."""
    result = {
        "benchmark": benchmark,
        "ratios": {name: rounded(value) for name, value in ratios.items()},
        "figures": {name: rounded(value) for name, value in figures.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }
    print(json.dumps(result))
