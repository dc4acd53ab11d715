"""A fork's first hour: a foreign table is adopted, trained, tested, served and scored, all of it green."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.system.conftest import TRAIN, commit, environment, fewer, git, make_clone, run
from tests.system.test_service import ask

pytestmark = [pytest.mark.load, pytest.mark.xdist_group("fork")]

PUBLISHED = (
    "config/published_runs.yaml", "examples/published_runs.py", "tests/data/test_published_runs.py",
)  # fmt: skip
ANSWERS = {
    "licence": "CC0",
    "use": {"intended": "Tests."},
    "every_column": {"meaning": "As its name says.", "unit": None, "sensitive": False},
    "columns": {"price €": {"unit": "€", "transform": "log"}},
}


def cars(rows: int = 300) -> pd.DataFrame:
    """As tables are: odd names, a date, a boolean, a heavy tail, free text, rows without a target."""
    generator = np.random.default_rng(5)
    power = generator.normal(100, 20, rows).clip(40).round(1)
    class_ = generator.choice(["A", "B", "Straße"], rows)
    automatic = generator.random(rows) < 0.4
    sold = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 700, rows), "D")
    logs = (
        6 + 0.02 * power + 0.4 * (class_ == "A") + 0.3 * automatic + generator.normal(0, 0.4, rows)
    )
    price = np.exp(logs).round(2)
    price[::50] = np.nan
    return pd.DataFrame({
        "id": np.arange(rows), "Größe (kW)": power, "class": class_, "is.automatic": automatic,
        "sold at": sold.strftime("%Y-%m-%d %H:%M:%S"),
        "note": [f"note {n} about the {n}th car" for n in range(rows)],
        "lambda": generator.normal(0, 1, rows).round(3), "price €": price,
    })  # fmt: skip


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that has adopted the table as the how-to says, trained."""
    clone = make_clone(tmp_path_factory.mktemp("fork") / "mlref")
    fewer(clone)
    git(clone, "rm", "-q", *PUBLISHED)
    for name in ("reports", "dvc.lock"):
        git(clone, "rm", "-qr", "--cached", name)
    cars().to_csv(clone.parent / "my cars (1).csv", index=False, sep=";")
    (clone.parent / "answers.yaml").write_text(yaml.safe_dump(ANSWERS, allow_unicode=True))
    said = run(
        clone, "mlref", "adopt", "../my cars (1).csv", "--target", "price €", "--id", "id",
        "--answers", "../answers.yaml",
    ).stdout  # fmt: skip
    assert "no questions in it are open" in said
    assert "free text" in said
    run(clone, *TRAIN)
    commit(clone, "cars")
    return clone


def test_it_ends_with_a_champion_on_the_logarithm(fork: Path) -> None:
    gate = json.loads((fork / "reports" / "gate.json").read_text())
    assert gate["verdict"] == "promote", gate["reasons"]
    metrics = json.loads((fork / "reports" / "metrics.json").read_text())
    assert metrics["rmse_log"]["value"] < 0.6
    assert metrics["rmse"]["value"] > 10  # in euro
    validation = json.loads((fork / "reports" / "validation.json").read_text())
    assert validation["rows"] == 294
    assert "note" not in (fork / "data" / "raw" / "dataset.csv").read_text().splitlines()[0]


def test_its_own_tests_of_data_and_model_are_green(fork: Path) -> None:
    said = run(
        fork, "pytest", "-q", "-n", "0", "tests/data", "tests/model/test_behaviour.py"
    ).stdout
    assert " passed" in said and "failed" not in said


def test_it_is_served_and_scored_alike(fork: Path) -> None:
    """One row over HTTP, and the same in a file; a feature is missing in neither."""
    contract = yaml.safe_load((fork / "config" / "dataset.yaml").read_text())
    row = {column["name"]: column["example"] for column in contract["features"]}
    assert row["is.automatic"] in (True, False) and row["sold at"].startswith("202")
    with subprocess.Popen(
        ["mlref", "serve", "--port", "0"], cwd=fork, env=environment(fork), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            address = re.search(r"http://\S+:\d+", process.stdout.readline())
            assert address
            status, answer = ask(f"{address[0]}/v1/predict", {"instances": [row]})
        finally:
            process.kill()
    assert status == 200, answer
    [prediction] = answer["predictions"]
    assert 0 < prediction["lower"] < prediction["value"] < prediction["upper"]
    pd.DataFrame([row | {"id": 1}]).to_csv(fork / "row.csv", index=False)
    run(fork, "mlref", "score", "row.csv", "scored")
    [scored] = pq.read_table(fork / "scored" / "row.parquet").to_pylist()
    for name, served in (("prediction", "value"), ("lower", "lower"), ("upper", "upper")):
        assert scored[name] == pytest.approx(prediction[served], rel=1e-9)
    assert "scored" not in git(fork, "status", "--porcelain")
