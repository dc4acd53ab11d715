"""Score one file: rows in, one Parquet part out, the same bytes on every engine.

A part depends on its input, the model and the versions of the libraries alone.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlref.batch.counts import Counts, check
from mlref.batch.files import Job, publishing, remove
from mlref.batch.read import BYTES, Batch, Table, opened
from mlref.batch.rejected import UNIQUE, Rejected, repeated
from mlref.bundle.predictor import Prediction, Predictor
from mlref.core.contract import Column
from mlref.core.errors import SHOWN, DataError, MlrefError, Violation
from mlref.core.rows import Array, Cells, DictionaryColumn, Mask, masks, show, warning

BLOCK = 8_192
"""Most rows that are predicted at a time: they fit into a processor's cache."""

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

EMPTY = Prediction(np.empty(0), np.empty(0), np.empty(0))

NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
WORDS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_null,
)  # fmt: skip
"""Types of Arrow that mean what a JSON value can mean."""

Tell = Callable[[int, float], None]
"""Is told how many rows and bytes of input have been done since it was told last."""


class Model(NamedTuple):
    """A loaded bundle, its version in the bundle store, and its folder."""

    predictor: Predictor
    version: str
    folder: Path

    @property
    def identity(self) -> dict[str, str]:
        """The model as the service's answers name it."""
        name = self.predictor.contract.name
        return {"name": name, "version": self.version, "digest": self.predictor.digest}


class Part(NamedTuple):
    """A finished part: what became of the rows, and the SHA-256 of its predictions.

    The digest is of the float64 values, little-endian, in their order. It is the same whatever writes
    the file.
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
    counts, digest = Counts.sum(), hashlib.sha256()
    with publishing(job.part) as fresh:
        # In this order, so that a part that is there has its rejected rows beside it.
        with contextlib.ExitStack() as stack, opened(job.source) as table:
            schema = _schema(table, model, job.key)
            nameless, rejected = repeated(job), Rejected(job, counts, stack)
            with pq.ParquetWriter(fresh, schema, use_dictionary=REPETITIVE) as writer:
                done = 0.0
                for batch in table.batches():
                    rows, array, unusual = _validated(batch, table, model, nameless, rejected)
                    prediction = predict(model.predictor, array)
                    digest.update(prediction.value.astype("<f8", copy=False).data)
                    counts.rows.update(scored=rows.num_rows, warned=int(unusual.any(axis=1).sum()))
                    found = zip(model.predictor.contract.names, unusual.sum(axis=0).tolist())
                    counts.warnings.update({name: count for name, count in found if count})
                    if rows.num_rows:
                        columns = [*rows.columns, *_added(prediction, unusual, model)]
                        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                    tell(batch.rows.num_rows, (batch.share - done) * job.source.size)
                    done = batch.share
                rejected.take(table.ragged)
                counts.rows["read"] = counts.rows["scored"] + counts.rows["rejected"]
                said = {"counts": counts._asdict(), "digest": digest.hexdigest()}
                said["model"] = model.identity
                writer.add_key_value_metadata({META: json.dumps(said, sort_keys=True)})
        if job.limit is not None:
            check(job.limit, counts.rows)
    return Part(counts, digest.hexdigest())


def _schema(table: Table, model: Model, key: str | None) -> pa.Schema:
    """The columns of the part; the features that are numbers written as text become numbers."""
    contract, name = model.predictor.contract, table.source.name
    schema, have = table.schema, set(table.schema.names)
    there = ", ".join(map(repr, schema.names[:SHOWN])) + ", …" * (len(schema.names) > SHOWN)
    if missing := [column for column in contract.names if column not in have]:
        raise DataError(name, f"lacks {', '.join(map(repr, missing))}; it has: {there}")
    if taken := [column for column in ADDED.names if column in have]:
        problem = f"has a column {taken[0]!r}, which scoring adds"
        raise DataError(name, problem, "Rename or drop it.")
    if key is not None and key not in have:
        raise DataError(name, f"has no column {key!r}; it has: {there}")
    if key is not None:
        kind = schema.field(key).type
        if (
            pa.types.is_nested(kind)
            or isinstance(kind, pa.BaseExtensionType)
            or key in table.constants
        ):
            raise DataError(name, f"the column {key!r} of type {kind} cannot name a row")
    for column in contract.features:
        place = schema.get_field_index(column.name)
        kind = schema.field(place).type
        if not _is(kind.value_type if pa.types.is_dictionary(kind) else kind, *NUMBERS, *WORDS):
            problem = f"the column {column.name!r} is of type {kind}"
            raise DataError(name, problem, f"Write it as {column.accepts}.")
        if column.name in table.text and is_number(column):
            schema = schema.set(place, pa.field(column.name, pa.float64()))
    return pa.schema([*schema, *ADDED])


def _is(kind: pa.DataType, *tests: Callable[[pa.DataType], bool]) -> bool:
    return any(test(kind) for test in tests)


def _validated(
    batch: Batch, table: Table, model: Model, nameless: Mask, rejected: Rejected
) -> tuple[pa.RecordBatch, Array, Mask]:
    """The good rows of a batch as the part holds them, encoded, and where they are unusual."""
    rows, features, key = batch.rows, model.predictor.contract.features, rejected.job.key
    given = {one.name: cells(one, rows[one.name], one.name in table.text) for one in features}
    array, refused, unusual = masks(features, given)
    unnamed = nameless[batch.places] if key is not None else np.zeros(rows.num_rows, bool)
    good = ~(refused.any(axis=1) | unnamed)
    rejected.take(table.ragged)
    for row in np.flatnonzero(~good).tolist():
        place, name = int(batch.places[row]), key and rows[key][row].as_py()
        violations = [
            Violation(place, one.name, show(given[one.name][row]), one.accepts)
            for one, is_bad in zip(features, refused[row], strict=True)
            if is_bad
        ]
        if unnamed[row]:
            violations.append(Violation(place, key, show(name), UNIQUE))
        rejected.add(violations, name)
    for one in features:
        if one.name in table.text and is_number(one):
            place = rows.schema.get_field_index(one.name)
            rows = rows.set_column(place, one.name, _numbers(given[one.name]))
    if good.all():
        return rows, array, unusual
    return rows.filter(pa.array(good)), array[good], unusual[good]


def cells(column: Column, found: pa.Array, text: bool) -> Cells:
    """The cells of one feature, as ``mlref.core.rows`` takes them.

    Parameters
    ----------
    column : Column
        The feature.
    found : Array
        What the file holds.
    text : bool
        Whether the file holds nothing but text, so that a number is written as text.

    Examples
    --------
    >>> size = Column(name="size", title="S", meaning="S", type="number", valid=(1, 9), example=2)
    >>> cells(size, pa.array(["2", "2.5", None]), text=True)
    array([2. , 2.5, nan])
    >>> [cells(size, pa.array(["2", "tall"]), text=True)[row] for row in (0, 1)]
    [2.0, 'tall']
    """
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    if text and is_number(column):
        with contextlib.suppress(pa.ArrowInvalid):
            values = _floats(found)
            if (
                np.isnan(values).sum() == found.null_count
            ):  # Arrow has more words for NaN than Python
                return values
        distinct = _distinct(found)
        return DictionaryColumn(distinct.index, [_number(cell) for cell in distinct.distinct])
    return _floats(found) if _is(found.type, *NUMBERS) else _distinct(found)


def is_number(column: Column) -> bool:
    """Whether a column holds numbers, also those that stand for categories."""
    return column.allowed is None or not isinstance(column.allowed[0], str)


def _floats(found: pa.Array) -> Array:
    return pc.cast(found, pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _distinct(found: pa.Array) -> DictionaryColumn:
    coded = found.dictionary_encode("encode")  # a null becomes one of the values
    return DictionaryColumn(coded.indices.to_numpy(), coded.dictionary.to_pylist())


def _number(cell: object) -> object:
    """The number that a text is; the text itself where it is none, as in ``mlref.data.tables``."""
    if not isinstance(cell, str) or "_" in cell:  # Python reads 1_000 as a number; no file means it
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def _numbers(found: Cells) -> pa.Array:
    """The cells of a column of numbers as an Arrow column, null for anything else."""
    if isinstance(found, DictionaryColumn):
        distinct = [cell if isinstance(cell, float) else np.nan for cell in found.distinct]
        found = np.array(distinct, dtype=np.float64)[found.index]
    return pa.array(found, pa.float64(), from_pandas=True)


def predict(predictor: Predictor, array: Array) -> Prediction:
    """Predict any number of rows, as many at a time as fit into memory with categories unfolded."""
    width = sum(len(column.allowed or (0,)) for column in predictor.contract.features)
    count = max(1, min(BLOCK, BYTES // (8 * width)))
    blocks = [array[start : start + count] for start in range(0, len(array), count)]
    found = [predictor.predict(np.ascontiguousarray(block)) for block in blocks]
    return Prediction(*map(np.concatenate, zip(*found, strict=True))) if found else EMPTY


def _added(prediction: Prediction, unusual: Mask, model: Model) -> list[pa.Array]:
    """The columns of ``ADDED``."""
    sentences = pa.array([warning(column) for column in model.predictor.contract.features])
    ends = np.zeros(len(unusual) + 1, np.int32)
    ends[1:] = np.cumsum(unusual.sum(axis=1))
    warnings = pa.ListArray.from_arrays(ends, sentences.take(pa.array(np.nonzero(unusual)[1])))
    version = pa.repeat(model.version, len(unusual))
    return [*map(pa.array, prediction), warnings, version]
