"""A small model, and rows of its contract in files."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlref.batch.counts import Counts
from mlref.batch.files import Job, absolute, plan
from mlref.batch.run import run, threads
from mlref.batch.score import LoadedModel, open_model, score_file
from mlref.bundle.store import Store
from mlref.core.storage import Project
from tests.fakes import write_store

ROWS: list[dict[str, Any]] = [
    {"area": 70.5, "rooms": 3, "heating": "oil", "balcony": 4.0},
    {"area": 20.0, "rooms": 1, "heating": "gas", "balcony": None},
    {"area": 400.0, "rooms": 9, "heating": "wood", "balcony": 0.0},
]
"""Good rows; the last one is unusual in two columns."""


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A bundle store with a champion; not to be changed."""
    folder = tmp_path_factory.mktemp("batch") / "store"
    write_store(folder)
    return Store(folder)


@pytest.fixture(scope="session")
def champion(store: Store) -> LoadedModel:
    """The champion of that store."""
    return open_model(store, "champion")


@pytest.fixture
def project(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty folder, which is the current one, with that store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLREF_STORE", str(store.folder))
    return Project(tmp_path)


@pytest.fixture
def model(project: Project, champion: LoadedModel) -> LoadedModel:
    """The champion, for a test that reads and writes in its own folder."""
    return champion


def write_csv(path: str | Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    """Write rows as CSV, null as nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: str | Path, rows: Sequence[dict[str, Any]] = ROWS, **kinds: Any) -> Path:
    """Write rows as Parquet; ``kinds`` are types of columns, where Arrow should not guess."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]}
    pq.write_table(pa.table(columns), path)
    return path


def job(source: Path | str, output: str = "out", key: str | None = None) -> Job:
    """What is made of one file."""
    [made] = plan([str(source)], absolute(output), key)
    return made


class One(NamedTuple):
    """What became of one file."""

    rows: list[dict[str, Any]]
    rejected: list[dict[str, str]]
    counts: Counts


def score_one(model: LoadedModel, source: Path | str, key: str | None = None) -> One:
    """Score one file into the folder `out`, and read what is there."""
    made = job(source, key=key)
    counts = score_file(made, model)["counts"]
    there = Path(made.rejected).exists()
    return One(read(made.part), rejected(made.rejected) if there else [], counts)


def score(project: Project, *inputs: str, output: str = "out", **options: Any) -> str:
    """Run `mlref score` on two threads."""
    return run(project, threads(2), inputs, output, **options)


def read(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a part."""
    return pq.read_table(path).to_pylist()


def rejected(path: str | Path) -> list[dict[str, str]]:
    """Lines of a file of rejected rows."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def everything(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
