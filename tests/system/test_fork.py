"""A fork's first hour: a foreign table is adopted, trained, tested, served and scored, all of it green."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.system.conftest import TRAIN, commit, environment, fewer, git, make_clone, run
from tests.system.test_service import ask

pytestmark = pytest.mark.xdist_group("fork")

PUBLISHED = (
    "config/published_runs.yaml", "examples/published_runs.py", "tests/data/test_published_runs.py",
)  # fmt: skip
ANSWERS: dict[str, Any] = {
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


def visits(rows: int = 400) -> pd.DataFrame:
    """Four visits of each patient, with dates."""
    generator = np.random.default_rng(6)
    patient = np.arange(rows) // 4
    dose = generator.uniform(1, 9, rows).round(1)
    day = pd.Timestamp("2025-01-01") + pd.to_timedelta(generator.integers(0, 300, rows), "D")
    value = generator.normal(0, 1, rows).round(2)
    noise = generator.normal(0, 1, rows // 4)[patient] + generator.normal(0, 2, rows)
    return pd.DataFrame({
        "patient": patient, "dose": dose, "value": value,
        "date": day.strftime("%Y-%m-%d"), "level": (20 + 3 * dose + 2 * value + noise).round(1),
    })  # fmt: skip


def cities(rows: int = 900) -> pd.DataFrame:
    """A category of sixty values that decides much."""
    generator = np.random.default_rng(7)
    city, effect = generator.integers(0, 60, rows), generator.normal(0, 3, 60)
    size = generator.normal(0, 1, rows).round(3)
    cost = effect[city] + size + generator.normal(0, 1, rows)
    names = [f"c{one:02}" for one in city]
    return pd.DataFrame({"model": size, "city": names, "cost": cost.round(3)})


FORKS = {
    "heavy tail": (cars, ("--target", "price €", "--id", "id")),
    "groups and dates": (visits, ("--target", "level", "--group", "patient")),
    "many categories": (cities, ("--target", "cost")),
}
"""The table, and what its owner says to ``mlref adopt``."""


def adopted(folder: Path, name: str) -> Path:
    """A clone that has adopted a table as the how-to says, trained."""
    clone = make_clone(folder / "mlref")
    fewer(clone)
    git(clone, "rm", "-q", *PUBLISHED)
    for generated in ("reports", "dvc.lock"):
        git(clone, "rm", "-qr", "--cached", generated)
    table, options = FORKS[name]
    table().to_csv(clone.parent / "my table (1).csv", index=False, sep=";")
    about = {key: it for key, it in ANSWERS["columns"].items() if key in table(8)}
    answers = yaml.safe_dump(ANSWERS | {"columns": about}, allow_unicode=True)
    (clone.parent / "answers.yaml").write_text(answers)
    said = run(
        clone, "mlref", "adopt", "../my table (1).csv", *options, "--answers", "../answers.yaml"
    ).stdout
    assert "no questions in it are open" in said
    run(clone, "dvc", "repro")
    commit(clone, name)
    run(clone, *TRAIN)
    return clone


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cars."""
    return adopted(tmp_path_factory.mktemp("fork"), "heavy tail")


@pytest.mark.load
def test_it_ends_with_a_champion_on_the_logarithm(fork: Path) -> None:
    gate = json.loads((fork / "reports" / "gate.json").read_text())
    assert gate["verdict"] == "promote", gate["reasons"]
    metrics = json.loads((fork / "reports" / "metrics.json").read_text())
    assert metrics["rmse_log"]["value"] < 0.6
    assert metrics["rmse"]["value"] > 10  # in euro
    validation = json.loads((fork / "reports" / "validation.json").read_text())
    assert validation["rows"] == 294
    assert "note" not in (fork / "data" / "raw" / "dataset.csv").read_text().splitlines()[0]


@pytest.mark.load
def test_its_own_tests_of_data_and_model_are_green(fork: Path) -> None:
    said = run(
        fork, "pytest", "-q", "-n", "0", "tests/data", "tests/model/test_behaviour.py"
    ).stdout
    assert " passed" in said and "failed" not in said


@pytest.mark.load
def test_it_is_served_and_scored_alike(fork: Path) -> None:
    row = served_and_scored(fork)
    assert row["is.automatic"] in (True, False) and row["sold at"].startswith("202")


def served_and_scored(fork: Path) -> dict[str, Any]:
    """One row over HTTP, and the same in a file; a feature is missing in neither."""
    contract = yaml.safe_load((fork / "config" / "dataset.yaml").read_text())
    row = {column["name"]: column["example"] for column in contract["features"]}
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
    assert prediction["lower"] < prediction["value"] < prediction["upper"]
    keys = dict.fromkeys([*contract["identity"], contract.get("split", {}).get("column", "id")], 1)
    pd.DataFrame([row | keys]).to_csv(fork / "row.csv", index=False)
    run(fork, "mlref", "score", "row.csv", "scored")
    [scored] = pq.read_table(fork / "scored" / "row.parquet").to_pylist()
    for name, served in (("prediction", "value"), ("lower", "lower"), ("upper", "upper")):
        assert scored[name] == pytest.approx(prediction[served], rel=1e-9)
    assert "scored" not in git(fork, "status", "--porcelain")
    return row


@pytest.mark.full
@pytest.mark.parametrize("name", FORKS)
def test_a_fork_goes_through_the_whole_life_and_takes_updates(name: str, tmp_path: Path) -> None:
    """Trained, tested, served, scored, promoted, rolled back, traced, documented, linted and merged."""
    fork = adopted(tmp_path, name)
    served_and_scored(fork)
    params = fork / "config" / "params.yaml"
    params.write_text(params.read_text().replace("coverage: 0.9", "coverage: 0.85"))
    run(fork, "dvc", "repro")
    commit(fork, "narrower intervals")
    run(fork, *TRAIN)
    run(fork, "mlref", "promote", "2", "--force", "--reason", "a rehearsal")
    assert "Version 1 " in run(fork, "mlref", "rollback", "--reason", "a rehearsal").stdout
    assert "verified" in run(fork, "mlref", "lineage", "champion", "--verify").stdout
    run(fork, "make", "reference")
    commit(fork, "a second model")
    run(fork, "make", "docs")
    run(fork, "make", "lint")
    run(fork, "pytest", "-q", "-n", "2", "tests/code", "tests/data", "tests/model")

    ours = git(fork, "rev-parse", "--abbrev-ref", "HEAD").strip()
    first = git(fork, "rev-list", "--max-parents=0", "HEAD").strip()
    git(fork, "checkout", "-q", "-b", "upstream", first)
    for changed in ("src/mlref/features.py", "tests/code/test_features.py", "dvc.lock"):
        with (fork / changed).open("a") as file:
            file.write("# An improvement.\n")
    commit(fork, "later upstream")
    git(fork, "checkout", "-q", ours)
    run(fork, "git", "merge", "-q", "upstream", check=False)
    conflicts = git(fork, "diff", "--name-only", "--diff-filter=U").split()
    assert [
        path for path in conflicts if path != "dvc.lock" and not path.startswith("reports/")
    ] == []
    assert "An improvement" in (fork / "src/mlref/features.py").read_text()
