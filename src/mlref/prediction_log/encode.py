"""Records to rows of the tables: plain values, as the database's driver and JSON Lines both take them."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from mlref.core.contract import Column
from mlref.core.rows import Array
from mlref.prediction_log.ids import moment, new_ids
from mlref.prediction_log.records import Model, Predicted, Refused, Source, clean
from mlref.prediction_log.schema import METADATA, PREDICTIONS, REFUSALS, to_text

Record = Predicted | Refused
Row = tuple[str | float | int | None, ...]
Batch = dict[str, list[Row]]
"""Rows by the name of their table, with a value for each column of it."""

COLUMNS = {name: (*map(str, table.columns.keys()),) for name, table in METADATA.tables.items()}


def encode(records: Iterable[Record]) -> Batch:
    """Turn records into rows; equal refusals become one row with their count."""
    predictions: list[Row] = []
    reasons: Counter[tuple[Source, str, str | None, str]] = Counter()
    for model, group in itertools.groupby(records, lambda record: record.model):
        answered: list[Predicted] = []
        for record in group:
            if isinstance(record, Refused):
                for reason in _reasons(record):
                    reasons[reason] += record.times
            elif record.ids:
                answered.append(record)
        if answered:
            predictions += _predictions(model, answered)
    refusals: list[Row] = [
        (name, _at(name[:13]), *reason, count)
        for name, (reason, count) in zip(new_ids(len(reasons)), reasons.items(), strict=True)
    ]
    batch = {PREDICTIONS.name: predictions, REFUSALS.name: refusals}
    return {table: rows for table, rows in batch.items() if rows}


def _predictions(model: Model, records: list[Predicted]) -> Iterator[Row]:
    """Rows of one model's requests, joined: an array of one row costs as much as one of many."""
    names = model.contract.names
    features = decode(model.contract.features, np.concatenate([one.rows for one in records]))
    value = np.concatenate([one.value for one in records]).tolist()
    lower = np.concatenate([one.lower for one in records]).tolist()
    upper = np.concatenate([one.upper for one in records]).tolist()
    answers = zip(features, value, lower, upper, _warnings(names, records), strict=True)
    for record in records:
        request, count = clean(record.request_id), len(record.ids)
        masked = count if record.unusual is None else len(record.unusual)
        # its neighbours would move
        if not count == masked == len(record.rows) == len(record.value):
            raise ValueError("a record with more or fewer ids than rows")
        subjects = [None] * count if record.subjects is None else map(clean, record.subjects)
        for name, subject in zip(record.ids, subjects, strict=True):
            cells, *answer, warned = next(answers)
            yield (
                name, record.role, _at(name[:13]), record.source, model.version, model.digest,
                _json(dict(zip(names, cells, strict=True))), *answer, warned, record.latency,
                request, subject,
            )  # fmt: skip


def _warnings(names: Sequence[str], records: list[Predicted]) -> Iterator[str]:
    """For each row the names of its unusual values, as JSON; mostly there are none."""
    for record in records:
        warnings = ["[]"] * len(record.ids)
        if record.unusual is not None:
            for row in np.flatnonzero(record.unusual.any(axis=1)).tolist():
                odd = np.flatnonzero(record.unusual[row]).tolist()
                warnings[row] = _json([names[place] for place in odd])
        yield from warnings


@functools.lru_cache(maxsize=256)
def _at(beginning: str) -> str:
    """The moment in the first 13 characters of an id; many are of the same millisecond."""
    return to_text(moment(beginning))


def decode(columns: Sequence[Column], rows: Array) -> Iterator[tuple[Any, ...]]:
    """Encoded rows as the values that were sent: a category by its name, null as None.

    Parameters
    ----------
    columns : sequence of Column
        In the order of the array.
    rows : ndarray of float64, shape (n, columns)
        As encoded by ``mlref.core.rows``.

    Examples
    --------
    >>> heating = Column(name="heating", title="Heating", meaning="What heats.", type="category",
    ...                  allowed=("gas", "oil"), example="gas", nullable=True)
    >>> list(decode([heating], np.array([[1.0], [np.nan]])))
    [('oil',), (None,)]
    """
    cells = (_cells(column, row) for column, row in zip(columns, rows.T.tolist(), strict=True))
    return zip(*cells, strict=True)


def _cells(column: Column, values: list[float]) -> list[Any]:
    if column.allowed is not None:
        return [None if value != value else column.allowed[int(value)] for value in values]
    if column.type == "integer":
        return [None if value != value else int(value) for value in values]
    return [None if value != value else value for value in values] if column.nullable else values


def _reasons(record: Refused) -> Iterator[tuple[Source, str, str | None, str]]:
    """A column that a client made up is not written: it could be anything, and without end."""
    version, names = record.model.version, {*record.model.contract.names}
    for violation in record.violations:
        column = violation.column if violation.column in names else None
        yield record.source, version, column, f"allowed: {violation.allowed}"


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
