"""Stage 3: a training split and a held-out split that share no row, and the training profile."""

from typing import Any

import numpy as np
import pandas as pd

from mlref import settings
from mlref.contract import Contract, load
from mlref.data.tables import encode, read_parquet, write_parquet
from mlref.errors import DataError
from mlref.rows import Array
from mlref.storage import Project, digest, write_json

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def split(contract: Contract, frame: pd.DataFrame, knobs: settings.Split) -> np.ndarray[Any, Any]:
    """Choose the held-out rows.

    Rows with the same identity (the contract's ``identity``, else all features) stay together, so
    that no duplicate sits on both sides. Stratified: every quantile bin of the target gives the same
    share.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for the rows to hold out.
    """
    identity = list(contract.identity or contract.names)
    group = frame.groupby(identity, dropna=False, sort=False).ngroup().to_numpy()
    size = np.bincount(group)
    mean = np.bincount(group, weights=frame[contract.target.name].to_numpy(np.float64)) / size
    order = np.lexsort((np.random.default_rng(knobs.seed).permutation(len(size)), mean))
    chosen = np.zeros(len(size), dtype=np.bool_)
    generator, owed = np.random.default_rng(knobs.seed), 0.0
    for stratum in np.array_split(order, knobs.bins):
        shuffled = generator.permutation(stratum)
        owed += knobs.holdout * size[stratum].sum()
        taken = shuffled[np.cumsum(size[shuffled]) <= owed + 0.5]
        chosen[taken] = True
        owed -= size[taken].sum()  # what did not fit is taken from the next stratum
    held_out = chosen[group]
    if held_out.all() or not held_out.any():
        raise DataError("data/validated", f"{len(size)} different rows are too few to split")
    return held_out


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
        columns[column.name] = measured
    content = np.column_stack([features, target]).tobytes()
    return {"rows": len(target), "data": digest(content), "columns": columns}


def run(project: Project) -> str:
    """Split the validated rows of this clone."""
    contract, knobs = load(project.contract), settings.load(project.params).split
    frame = read_parquet(project.validated)
    held_out = split(contract, frame, knobs)
    train, holdout = frame[~held_out], frame[held_out]
    write_parquet(project.train, train)
    write_parquet(project.holdout, holdout)
    write_json(project.profile, profile(contract, *encode(contract, train)))
    return f"{len(train)} rows to train on, {len(holdout)} held out"
