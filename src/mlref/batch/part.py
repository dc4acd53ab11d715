"""One file in, one Parquet part out: the pure core, which every engine of batch scoring runs.

A part depends on its input, the model and the versions of the libraries alone, to the byte.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlref.batch.cells import arrow, cells, is_number, numbers, words
from mlref.batch.counts import Counts
from mlref.batch.files import Job, publishing, remove
from mlref.batch.model import Model
from mlref.batch.read import Batch, Table, opened
from mlref.batch.rejected import Keys, Rejected, rejecting
from mlref.bundle.predictor import Prediction, Predictor
from mlref.core.errors import DataError, MlrefError, Violation
from mlref.core.rows import Array, Mask, masks, show, warning

BLOCK = 8_192
"""Rows that are predicted at a time: they fit into a processor's cache."""

ADDED = pa.schema(
    {
        "prediction": pa.float64(),
        "lower": pa.float64(),
        "upper": pa.float64(),
        "warnings": pa.list_(pa.string()),
        "model_version": pa.string(),
    }
)
"""The columns that a part has after those of its input."""

REPETITIVE = ["warnings.list.element", "model_version"]
"""Columns for which Parquet's dictionaries pay; for the others they cost time."""

META = b"mlref.score"
"""Key in a part's metadata, for the model that made it, its counts and its digest."""

Tell = Callable[[int, float], None]
"""Is told how many rows and bytes of input have been done since it was told last."""


class Part(NamedTuple):
    """A finished part: what became of the rows, and the SHA-256 of its predictions.

    The digest is of the float64 values, little-endian, in their order. It is the same whatever writes
    the file, and costs a tenth of the file's own.
    """

    counts: Counts
    digest: str


def attempt(job: Job, model: Model, tell: Tell = lambda rows, size: None) -> Part | MlrefError:
    """Score a file; a refusal comes back as a value, so that one bad file does not stop the others."""
    pa.set_cpu_count(1)  # one file, one core: else Arrow would start a thread a core for each file
    try:
        return score_file(job, model, tell)
    except MlrefError as error:
        return error


def score_file(job: Job, model: Model, tell: Tell = lambda rows, size: None) -> Part:
    """Score one file: write its part and, where there are any, its rejected rows.

    Parameters
    ----------
    job : Job
        What is read, and where the results go.
    model : Model
        What predicts.
    tell : callable, optional
        Is told of each batch.

    Raises
    ------
    DataError
        When the input cannot be read as a table with the columns of the contract.
    NotPublished
        When more rows are rejected than the job allows; they are written, the part is not.
    EnvironmentFault
        When the disk or the network refuses.
    """
    remove(job.rejected)
    keys, counts, digest = Keys(job), Counts(), hashlib.sha256()
    with publishing(job.part) as fresh:
        # In this order, so that a part that is there has its rejected rows beside it.
        with rejecting(job, counts) as rejected, opened(job.source) as table:
            schema = _schema(table, model)
            with pq.ParquetWriter(fresh, schema, use_dictionary=REPETITIVE) as writer:
                done = 0.0
                for batch in table.batches():
                    rows, array, unusual = _judged(batch, table, model, keys, rejected)
                    counts.scored += rows.num_rows
                    counts.warned += int(unusual.any(axis=1).sum())
                    prediction = predict(model.predictor, array)
                    digest.update(prediction.value.astype("<f8", copy=False).data)
                    added = _added(prediction, unusual, model)
                    if rows.num_rows:
                        columns = [*rows.columns, *added]
                        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                    tell(batch.rows.num_rows, (batch.share - done) * job.source.size)
                    done = batch.share
                rejected.take(table.ragged)
                counts.read = counts.scored + counts.rejected
                said = {
                    "model": model.identity,
                    "counts": vars(counts),
                    "digest": digest.hexdigest(),
                }
                writer.add_key_value_metadata({META: json.dumps(said, sort_keys=True)})
        if job.limit is not None:
            job.limit.check(counts)
    return Part(counts, digest.hexdigest())


def _schema(table: Table, model: Model) -> pa.Schema:
    """The columns of the part; in CSV the features that are numbers become numbers."""
    have, name = table.schema.names, table.source.name
    missing = [column for column in model.contract.names if column not in have]
    if missing:
        problem = f"lacks {', '.join(map(repr, missing))}; it has: {', '.join(map(repr, have))}"
        separated = table.text and len(have) == 1 and any(sign in have[0] for sign in ";\t|")
        raise DataError(name, problem, "Separate the columns by commas." if separated else "")
    taken = [column for column in ADDED.names if column in have]
    if taken:
        raise DataError(
            name, f"has a column {taken[0]!r}, which scoring adds", "Rename or drop it."
        )
    schema = table.schema
    for column in model.contract.features if table.text else ():
        if is_number(column):
            place = schema.get_field_index(column.name)
            schema = schema.set(place, pa.field(column.name, pa.float64()))
    return pa.unify_schemas([schema, ADDED])


def _judged(
    batch: Batch, table: Table, model: Model, keys: Keys, rejected: Rejected
) -> tuple[pa.RecordBatch, Array, Mask]:
    """The good rows of a batch as the part holds them, encoded, and where they are unusual."""
    rows, columns = batch.rows, model.contract.features
    given = {one.name: cells(one, rows.column(one.name), table.text) for one in columns}
    marks = masks(columns, given)
    nameless = keys.bad(rows)
    bad = marks.refused.any(axis=1) | nameless
    rejected.take(table.ragged)
    for row in np.flatnonzero(bad).tolist():
        place, key = int(batch.places[row]), keys.of(rows, row)
        violations = [
            Violation(place, one.name, show(given[one.name][row]), one.accepts)
            for one, refused in zip(columns, marks.refused[row], strict=True)
            if refused
        ]
        if nameless[row]:
            violations.append(Violation(place, keys.name, show(key), keys.allowed))
        rejected.add(violations, key)
    for one in columns if table.text else ():
        if is_number(one):
            place = rows.schema.get_field_index(one.name)
            rows = rows.set_column(place, one.name, numbers(given[one.name]))
    if not bad.any():
        return rows, marks.array, marks.unusual
    return rows.filter(arrow(~bad)), marks.array[~bad], marks.unusual[~bad]


def predict(predictor: Predictor, array: Array) -> Prediction:
    """Predict any number of rows, so many at a time as are fastest."""
    whole = Prediction(*(np.empty(len(array)) for _ in Prediction._fields))
    for start in range(0, len(array), BLOCK):
        block = slice(start, start + BLOCK)
        found = predictor.predict(np.ascontiguousarray(array[block]))
        for to, values in zip(whole, found, strict=True):
            to[block] = values
    return whole


def _added(prediction: Prediction, unusual: Mask, model: Model) -> list[pa.Array]:
    """The columns of ``ADDED``."""
    sentences = words([warning(column) for column in model.contract.features])
    warned = unusual.any(axis=1)
    ends = np.zeros(len(unusual) + 1, np.int32)
    ends[1:][warned] = unusual[warned].sum(axis=1)
    which = np.nonzero(unusual[warned])[1]
    warnings = pa.ListArray.from_arrays(
        arrow(np.cumsum(ends, dtype=np.int32)), sentences.take(arrow(which))
    )
    return [*map(arrow, prediction), warnings, _repeated(model.version, len(unusual))]


@functools.lru_cache(maxsize=1)
def _repeated(word: str, count: int) -> pa.Array:
    return words([word]).take(arrow(np.zeros(count, np.int32)))
