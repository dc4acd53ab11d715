"""A clone with a model of the rents, what it knows of its training, and a service in this process."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mlref.bundle.predictor import MANIFEST, manifest
from mlref.bundle.store import Store
from mlref.cli import main
from mlref.core.rows import validate_records
from mlref.core.storage import Project, digest, read_json, to_json, write_json
from mlref.data.split import profile
from mlref.data.tables import encode, write_parquet
from mlref.monitoring.reference import Reference, reference
from mlref.monitoring.run import Asked, Model
from mlref.monitoring.windows import Size
from mlref.prediction_log import ground_truth
from mlref.prediction_log.database import Database
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, Predicted, Refused
from mlref.prediction_log.writer import open_log
from tests.conftest import made_once
from tests.fakes import BASE, CONTRACT, linear, write_store
from tests.projects import PARAMS, copy, rents

ERROR = 200.0
"""Standard deviation of the model's errors."""
ROWS = 400
PATIENCE = 60.0
"""Seconds; generous, as it only bounds a hang."""


def write_model(
    project: Project, version: int = 1, out_of_fold: bool = True, off: float = 0.0
) -> str:
    """Put a champion into the store that knows its training rows; returns its digest."""
    frame = rents(ROWS)
    write_parquet(project.train, frame)
    features, target = encode(CONTRACT, frame)
    name = write_store(project.store, BASE + off, version)
    folder = project.store / name
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    predictions, errors = linear(features) + off, np.random.default_rng(version).normal(
        0, ERROR, (3, ROWS)
    )
    evenly = np.linspace(0, 1, 21)
    intervals: dict[str, Any] = {
        "coverage": 0.9, "half_width": 1.645 * ERROR, "half_widths": [1.645 * ERROR] * 3,
        "method": "made up", "rows": ROWS, "bounds": np.quantile(predictions, (1 / 3, 2 / 3)).tolist(),
        "out_of_fold": {
            "predictions": np.quantile(predictions, evenly).tolist(),
            "residuals": np.quantile(errors, evenly, axis=1).T.tolist(),
        },
    }  # fmt: skip
    if not out_of_fold:
        del intervals["out_of_fold"]
    contents["profile.json"] = to_json(profile(CONTRACT, features, target))
    contents["intervals.json"] = to_json(intervals)
    contents[MANIFEST] = to_json(manifest(contents))
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    made = digest(contents[MANIFEST])
    record = read_json(project.store / f"{name}.json") | {"digest": made, "model": "linear"}
    folder.rename(project.store / made)
    (project.store / f"{name}.json").unlink()
    write_json(project.store / f"{made}.json", record)
    Store(project.store).point("champion", made)
    return made


@pytest.fixture(scope="session")
def watched(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The clone, with thresholds for windows of 50 rows; not to be changed."""

    def make(folder: Path) -> None:
        project = Project(folder)
        project.params.parent.mkdir(parents=True)
        project.contract.write_text("")  # only marks the clone: the bundle has its own contract
        project.params.write_text(yaml.safe_dump(PARAMS, sort_keys=False))
        write_model(project)
        with contextlib.closing(Database.of(project)) as database:
            Model(project, "champion", Asked(Size(rows=50)), 0.0, database).thresholds.at(50)

    return Project(made_once(tmp_path_factory, "watched-rents", make))


@pytest.fixture
def project(watched: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The clone, which is the working folder."""
    clone = copy(watched, tmp_path / "clone")
    monkeypatch.chdir(clone.root)
    return clone


@pytest.fixture
def known(project: Project) -> Reference:
    """What the champion knows."""
    return reference(Store(project.store).open("champion")[0])


class Service:
    """Answers what ``mlref serve`` does, as far as the log can tell."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.log = open_log(project)
        self.reload()

    def reload(self) -> None:
        """Take on the champion."""
        self.predictor, record = Store(self.project.store).open("champion")
        self.model = LoggedModel(str(record["version"]), self.predictor.digest, CONTRACT)

    def __call__(self, path: str, document: Any) -> Any:
        if path == "/v1/model":
            return {"model": {"digest": self.predictor.digest}}
        if path == "/v1/feedback":
            labels = ground_truth.read(CONTRACT.target, document["labels"])
            return {key: len(ids) for key, ids in vars(self.add(labels)).items()}
        empty = dict.fromkeys(CONTRACT.names)
        found = validate_records(CONTRACT, [empty | row for row in document["instances"]])
        if found.refused:
            self.log.refusals(Refused(self.model, found.refused))
            return {"error": {}}
        ids = self.log_rows(found.array)
        values = self.predictor.values(found.array).tolist()
        return {"predictions": [{"id": i, "value": v} for i, v in zip(ids, values, strict=True)]}

    def log_rows(self, rows: Any, ids: list[str] | None = None, **fields: Any) -> list[str]:
        """Log encoded rows as answered."""
        ids = ids or new_ids(len(rows))
        answer = self.predictor.predict(rows)
        self.log.predictions(Predicted(self.model, ids, rows, *answer)._replace(**fields))
        assert self.log.flush(PATIENCE)
        return ids

    def add(self, labels: list[ground_truth.Label]) -> ground_truth.Feedback:
        """Add ground truth."""
        assert self.log.flush(PATIENCE)
        return ground_truth.add(self.log.database, labels)

    def simulate(self, scenario: str, rows: int = 250, seed: int = 0) -> Any:
        """Send what a scenario has to send."""
        from mlref.monitoring.simulate import simulate

        sent = simulate(self.project, scenario, self, rows, seed)
        assert self.log.flush(PATIENCE)
        return sent


@pytest.fixture
def service(project: Project) -> Iterator[Service]:
    """A service of the clone's champion."""
    service = Service(project)
    yield service
    service.log.close()


Said = tuple[int, str, dict[str, Any]]


@pytest.fixture
def monitor(project: Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs ``mlref monitor``: exit code, what it printed, and its JSON."""

    def run(*options: str, window: str = "50") -> Said:
        capsys.readouterr()
        file = project.root / "monitor.json"
        file.unlink(missing_ok=True)
        code = main(["monitor", "--window", window, "--json", str(file), *options])
        printed = capsys.readouterr()
        found = json.loads(file.read_text()) if file.exists() else {}
        return code, printed.out + printed.err, found

    return run


def quiet_rows(count: int, seed: int = 0) -> Any:
    """Encoded rows of the same rents."""
    frame: pd.DataFrame = rents(count, seed=100 + seed)
    return encode(CONTRACT, frame)[0]
