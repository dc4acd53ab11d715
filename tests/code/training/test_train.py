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
    """Digest of each model's archive."""
    return [digest(dumps(fitted(name))) for name in MODELS]


@pytest.mark.load  # `make train` in a fresh clone, which gives the committed digests, asks for the same
def test_equal_models_give_equal_archives_in_any_process() -> None:
    """Neither memory addresses nor the time nor the hash seed is in the bytes."""
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from tests.code.training.test_train import *; print(*digests())"
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert said.split() == digests()


@pytest.mark.parametrize("name", MODELS)
def test_an_archive_holds_no_time_and_loads_back_to_the_same_model(name: str) -> None:
    """To seven digits, with the types that package trusts and no others."""
    model, rows = fitted(name), generate(parse(NULLABLE_TEXT), 40, seed=9)
    content = dumps(model)
    loaded = skops.io.loads(content, trusted=TRUSTED)
    assert loaded.predict(rows) == pytest.approx(model.predict(rows), rel=1e-6)
    entries = zipfile.ZipFile(BytesIO(content)).infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


def test_training_again_gives_equal_files_unless_the_coverage_is_too_much(project: Project) -> None:
    """In one process objects get other addresses; a refusal leaves the earlier model."""
    before = project.model.read_bytes(), project.intervals.read_bytes()
    assert train.run(project).startswith("elastic_net on 90 rows; 90% intervals ± ")
    assert (project.model.read_bytes(), project.intervals.read_bytes()) == before
    intervals = read_json(project.intervals)
    assert (intervals["coverage"], intervals["rows"]) == (0.9, 90)
    assert intervals["half_widths"] == pytest.approx([120] * 3, rel=0.4)
    set_params(project, train={"coverage": 0.995})
    with pytest.raises(DataError, match="90 rows are too few for intervals of coverage 0.995"):
        train.run(project)
    assert project.model.read_bytes() == before[0]
