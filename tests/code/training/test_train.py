"""Stage 5: the fitted model and its intervals."""

import os
import subprocess
import sys
import zipfile
from io import BytesIO
from typing import Any

import pytest
import skops.io

from mlref.bundle.package import TRUSTED
from mlref.core.contract import parse
from mlref.core.errors import DataError
from mlref.core.rows import generate
from mlref.core.storage import Project, digest, read_json
from mlref.training import train
from mlref.training.archive import dumps
from mlref.training.candidates import build
from tests.fakes import linear
from tests.projects import NULLABLE_TEXT, set_params

MODELS: dict[str, dict[str, Any]] = {
    "elastic_net": {"alpha": 0.1},
    "gradient_boosting": {"n_estimators": 5},
    "random_forest": {"n_estimators": 5},
}


def fitted(name: str) -> Any:
    """A small model on rows with every type of column."""
    contract = parse(NULLABLE_TEXT)
    rows = generate(contract, 50, seed=2)
    return build(contract, name, MODELS[name], 0).fit(rows, linear(rows))


def digests() -> list[str]:
    """Digest of each model's archive; printed when this file is run."""
    return [digest(dumps(fitted(name))) for name in MODELS]


def test_equal_models_give_equal_archives_in_any_process() -> None:
    """Neither memory addresses nor the time nor the hash seed is in the bytes."""
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", "from tests.code.training.test_train import *; print(*digests())"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == digests()


@pytest.mark.parametrize("name", MODELS)
def test_a_canonical_archive_loads_back_to_the_same_model(name: str) -> None:
    """To seven digits, with the types that package trusts and no others."""
    model, rows = fitted(name), generate(parse(NULLABLE_TEXT), 40, seed=9)
    loaded = skops.io.loads(dumps(model), trusted=TRUSTED)
    assert loaded.predict(rows) == pytest.approx(model.predict(rows), rel=1e-6)


def test_the_archive_holds_no_time() -> None:
    """Every entry is of the zip epoch."""
    archive = zipfile.ZipFile(BytesIO(dumps(fitted("elastic_net"))))
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_training_twice_gives_equal_files(project: Project) -> None:
    """To the byte, in one process too, where objects get other addresses."""
    before = project.model.read_bytes(), project.intervals.read_bytes()
    said = train.run(project)
    assert (project.model.read_bytes(), project.intervals.read_bytes()) == before
    assert said.startswith("elastic_net on 90 rows; 90% intervals ± ")


def test_the_intervals_say_how_they_were_made(trained: Project) -> None:
    """Coverage, width, method and number of rows."""
    intervals = read_json(trained.intervals)
    assert intervals.pop("half_width") == pytest.approx(120, rel=0.3)
    assert intervals == {"coverage": 0.9, "method": "jackknife, K-fold", "rows": 90}


def test_a_coverage_that_the_rows_cannot_give_is_refused(project: Project) -> None:
    """The earlier model stays."""
    set_params(project, train={"coverage": 0.995})
    before = project.model.read_bytes()
    with pytest.raises(DataError, match="90 rows are too few for intervals of coverage 0.995"):
        train.run(project)
    assert project.model.read_bytes() == before
