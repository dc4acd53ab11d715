"""Whole small projects in a folder: the rents of ``tests.fakes`` with data, settings and stages."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mlref.bundle import package
from mlref.bundle.store import Store
from mlref.core.contract import load
from mlref.core.storage import Project, digest, read_json
from mlref.data import ingest, split
from mlref.data.leakage import partial_correlations
from mlref.data.tables import (
    decode,
    encode,
    read_csv,
    read_parquet,
    row_ids,
    with_target,
    write_parquet,
)
from mlref.evaluation import evaluate
from mlref.training import train, tune
from tests.fakes import CONTRACT_TEXT

RENTS_TEXT = CONTRACT_TEXT + """\
slices:
  - {column: heating, reason: Wood is rare.}
  - {column: area, edges: [100, 200], reason: Small and large homes are different markets.}
promises:
  - {kind: monotone, column: area, direction: increasing, reason: A larger home costs more.}
  - {kind: invariant, column: balcony, tolerance: 800, reason: A balcony is not the home.}
  - {kind: bounded, range: [0, 20000], reason: Rents of the market.}
"""

PARAMS: dict[str, Any] = {
    "validate": {"max_correlation": 0.999, "max_unusual": 0.3},
    "split": {"seed": 4, "holdout": 0.25},
    "tune": {
        "seed": 1,
        "folds": 3,
        "repeats": 2,
        "rows": 10_000,
        "memory": 1.0,
        "sampler": "grid",
        "trials": 3,
        "candidates": {
            "mean": {},
            "single_feature": {},
            "elastic_net": {"alpha": [1.0, 0.01], "l1_ratio": [0.5]},
        },
    },
    "train": {"seed": 1, "folds": 5, "coverage": 0.9},
    "package": {"seed": 1, "generated_rows": 100, "golden_rows": 5, "tolerance": 1e-5},
    "evaluate": {
        "seed": 1,
        "resamples": 200,
        "confidence": 0.95,
        "folds": 3,
        "rows": 10_000,
        "smallest_slice": 10,
    },
    "register": {
        "seed": 1,
        "resamples": 200,
        "confidence": 0.95,
        "smallest_holdout": 20,
        "largest_forgotten": 0.01,
        "smallest_slice": 10,
        "slice_margin": 0.05,
        "smallest_gain": 0.01,
        "largest_old_loss": 0.5,
        "leak_alarms": 0.05,
        "max_age_days": 90,
    },
    "monitor": {
        "seed": 1,
        "months": 100,
        "alarms_a_month": 1.0,
        "smallest_window": 50,
        "max_age_days": 90,
    },
    "retrain": {"rows": 100, "old_rows": "drop", "sources": 1, "largest_strange": 0.01},
    "online": {
        "batch": 8,
        "rate": 0.02,
        "settle": 0,
        "quota": 1000,
        "fading": 0.99,
        "label_coverage": 0.2,
        "largest_shift": 1.5,
        "largest_step": 2.0,
    },
    "act": {
        "command": "retrain",
        "alarms": ["bias", "loss"],
        "cool_down": 2,
        "budget": 2,
        "rollback_error": 0.05,
    },
}


def rents(rows: int = 120, seed: int = 7) -> pd.DataFrame:
    """Homes with a real signal: area and rooms matter much, heating and balcony a little."""
    generator = np.random.default_rng(seed)
    area = generator.uniform(20, 300, rows).round(1)
    rooms = generator.integers(1, 9, rows)
    heating = generator.integers(3, size=rows)
    balcony = np.where(
        generator.random(rows) < 0.2, np.nan, generator.uniform(0, 20, rows).round(1)
    )
    noise = generator.normal(0, 60, rows)
    rent = 10 * area + 150 * rooms - 100 * heating + 5 * np.nan_to_num(balcony) + 500 + noise
    return pd.DataFrame({
        "area": area, "rooms": rooms, "heating": np.array(["gas", "oil", "wood"])[heating],
        "balcony": balcony, "rent": rent.round(2),
    })  # fmt: skip


def write_project(
    root: Path, contract: str = RENTS_TEXT, frame: pd.DataFrame | None = None
) -> Project:
    """Write contract, settings and source data; nothing is run."""
    project = Project(root)
    source = root / "data" / "source" / "rents.csv"
    for folder in (project.contract.parent, source.parent):
        folder.mkdir(parents=True, exist_ok=True)
    project.contract.write_text(contract)
    project.params.write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (rents() if frame is None else frame).to_csv(source, index=False)
    return project


def set_params(project: Project, **stages: dict[str, Any]) -> None:
    """Change settings of stages in params.yaml."""
    params = yaml.safe_load(project.params.read_text())
    for stage, changed in stages.items():
        params[stage] |= changed
    project.params.write_text(yaml.safe_dump(params, sort_keys=False))


def run_data(project: Project) -> None:
    """Ingest and split; the validate stage, which takes seconds to import, only decodes here."""
    contract = load(project.contract)
    ingest.run(project)
    frame, _ = with_target(contract, decode(read_csv(project.raw), contract.columns))
    write_parquet(project.validated, frame)
    split.run(project)


def run_model(project: Project) -> None:
    """Tune, train, package and evaluate; no pictures, which take as long as all the rest."""
    for stage in (tune, train, package):
        stage.run(project)
    evaluate.write(project, *evaluate.measure(project))


NULLABLE_TEXT = CONTRACT_TEXT.replace(
    "allowed: [gas, oil, wood]", "allowed: [gas, oil, wood]\n    nullable: true"
)
"""The rents with a nullable category beside the nullable number."""

MANY_TEXT = NULLABLE_TEXT.replace(
    "[gas, oil, wood]", f"[gas, oil, {', '.join(f'wood {n}' for n in range(43))}]"
)
"""The nullable category with more values than get a column each."""

RIVALS: dict[str, dict[str, Any]] = {
    "better": {"ridge": {"alpha": [0.1]}},
    "tied": {"elastic_net": {"alpha": [3.0], "l1_ratio": [0.999]}},
    "worse": {"ridge": {"alpha": [3]}},
}
"""Candidates for ``retrain``: better, about as good, and worse than the project's own."""


def copy(project: Project, root: Path) -> Project:
    """Copy a whole project to another folder, as a moved clone."""
    shutil.copytree(project.root, root)
    return Project(root)


def only_what_the_gate_reads(patch: pytest.MonkeyPatch) -> None:
    """Leave out the worth of features and the pictures, which take many fits."""
    patch.setattr(evaluate, "leave_one_out", lambda *_: {})
    patch.setattr(evaluate, "draw", lambda *_: [])


def retrain(project: Project, **candidates: dict[str, list[Any]]) -> None:
    """Train again with other candidates above the two baselines, as far as the gate reads it."""
    ladder: dict[str, Any] = {"mean": {}, "single_feature": {}}
    set_params(project, tune={"candidates": ladder | candidates})
    with pytest.MonkeyPatch.context() as patch:
        only_what_the_gate_reads(patch)
        run_model(project)


def crown(project: Project) -> str:
    """Make the bundle of a project the champion of its store, without MLflow; returns its digest."""
    store, name = Store(project.store), digest(project.bundle / "MANIFEST.json")
    contract, tuning = load(project.contract), read_json(project.tuning)
    train = read_parquet(project.train)
    record = {
        "digest": name, "version": str(len(store.records()) + 1), "model": tuning["model"],
        "parameters": tuning["parameters"],
        "partial_correlations": partial_correlations(contract, *encode(contract, train)),
    }  # fmt: skip
    store.add(project.bundle, project.model, record, row_ids(contract, train))
    store.point("champion", name)
    return name


Rivals = dict[str, Project]


def adopt(project: Project, other: Project) -> None:
    """Take over settings, models and reports, as if they had been made here."""
    for name in ("config", "models", "reports"):
        shutil.copytree(other.root / name, project.root / name, dirs_exist_ok=True)
