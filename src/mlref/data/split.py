"""Stage 3: a training set and a held-out test set that share no row, and the training profile."""

from typing import Any

import numpy as np
import pandas as pd

from mlref.core.contract import Contract, load
from mlref.core.errors import DataError
from mlref.core.rows import Array, Mask
from mlref.core.settings import Split
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, digest, write_json
from mlref.data.folds import different, units
from mlref.data.labelled import SINCE, recent
from mlref.data.tables import encode, fingerprint, read_stage, write_parquet

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
PERCENTILES = np.arange(1, 100, 2) / 100
"""For the monitor: in a column of whole numbers eleven quantiles do not say how common each of them is."""


def split(contract: Contract, frame: pd.DataFrame, settings: Split) -> Mask:
    """Choose the rows of the test set, as the contract's ``split`` says.

    By hash or group, a hash of the seed and of the row's identity or group decides, so a row stays on its
    side whatever rows arrive or leave: a later model is never tested on rows that an earlier one has
    learned. By time, the last rows are the test set, those of one moment together. Copies of a row land
    on the same side.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for the rows of the test set.

    Raises
    ------
    DataError
        When rows of one identity are in two groups.
    """
    found = units(contract, frame)
    if contract.split.by == "time":
        return (found.rank(method="max") > (1 - settings.holdout) * len(found)).to_numpy()
    draws = [digest(f"{settings.seed} {unit}".encode())[:8] for unit in found]
    return np.array([int(draw, 16) for draw in draws]) < settings.holdout * 2**32


def profile(contract: Contract, features: Array, target: Array) -> dict[str, Any]:
    """Measure the training rows: quantiles of numbers, shares of categories, share of nulls.

    ``data`` identifies the encoded rows themselves, whatever file they came in.
    """
    columns: dict[str, Any] = {}
    for column, values in zip(contract.columns, (*features.T, target), strict=True):
        present = values[~np.isnan(values)]
        measured: dict[str, Any] = {"null_share": float(np.isnan(values).mean())}
        if column.allowed is not None:
            counts = np.bincount(present.astype(int), minlength=len(column.allowed))
            shares = (counts / max(len(present), 1)).tolist()
            measured["shares"] = dict(zip(map(str, column.allowed), shares, strict=True))
        elif len(present):
            measured["mean"], measured["std"] = float(present.mean()), float(present.std())
            quantiles = np.quantile(present, QUANTILES).tolist()
            measured["quantiles"] = dict(zip(map(str, QUANTILES), quantiles, strict=True))
            percentiles = np.quantile(present, PERCENTILES, method="inverted_cdf")
            measured["percentiles"] = percentiles.tolist()
        columns[column.name] = measured
    return {"rows": len(target), "data": fingerprint(features, target), "columns": columns}


def run(project: Project) -> str:
    """Split the validated rows of this clone."""
    contract, settings = load(project.contract), load_settings(project.params)
    frame = read_stage(contract, project.validated, "validate")
    tested = split(contract, frame, settings.split)
    if tested.all() or not tested.any():
        count = different(contract, units(contract, frame).nunique())
        raise DataError("data/validated", f"{count} are too few to split")
    learned = ~tested & recent(contract, project.work, frame)
    train, holdout = frame[learned], frame[tested]
    if train.empty:
        raise DataError(SINCE, "no row to train on is from after this time")
    write_parquet(project.train, train)
    write_parquet(project.holdout, holdout)
    write_json(project.profile, profile(contract, *encode(contract, train)))
    least, share = settings.gate.smallest_holdout, tested.mean()
    said = f"{len(train)} rows to train on, {len(holdout)} in the test set"
    said += f" ({share:.1%}; {settings.split.holdout:.0%} asked for)"
    if left_out := len(frame) - len(train) - len(holdout):
        said += f"\n  {left_out} older rows are not trained on: {SINCE} names the time of a change."
    if len(holdout) < least:
        said += (
            f"\n  The test set is too small for the gate: it needs {least} rows"
            " (register.smallest_holdout), so no model of these rows will become champion."
        )
    return said
