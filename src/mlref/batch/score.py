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
import pyarrow.parquet as pq

from mlref.batch.bounds import BYTES
from mlref.batch.columns import cells, part_schema, with_numbers
from mlref.batch.counts import Counts, check
from mlref.batch.files import Job, publishing, remove
from mlref.batch.read import opened
from mlref.batch.rejected import Rejected, repeated
from mlref.bundle.predictor import Prediction, Predictor
from mlref.bundle.store import Store
from mlref.core.errors import MlrefError
from mlref.core.rows import Array, Mask, masks, warning

BLOCK = 8_192
"""Most rows that are predicted at a time: they fit into a processor's cache."""

REPETITIVE = ["warnings.list.element", "model_version"]
"""Columns for which Parquet's dictionaries pay; for the others they cost time."""

META = b"mlref.score"
"""Key in a part's metadata, for the model that made it, its counts and its digest."""

EMPTY = Prediction(np.empty(0), np.empty(0), np.empty(0))


class LoadedModel(NamedTuple):
    """A loaded bundle, its version in the bundle store, and its folder."""

    predictor: Predictor
    version: str
    folder: Path

    @property
    def identity(self) -> dict[str, str]:
        """The model as the service's answers name it."""
        name = self.predictor.contract.name
        return {"name": name, "version": self.version, "digest": self.predictor.digest}


def open_model(store: Store, reference: str) -> LoadedModel:
    """Load a model of the bundle store; see :meth:`mlref.bundle.store.Store.open`."""
    predictor, record = store.open(reference)
    return LoadedModel(predictor, str(record["version"]), store.folder / predictor.digest)


class Scored(NamedTuple):
    """A finished part: what became of the rows, and the SHA-256 of its predictions.

    The digest is of the float64 values, little-endian, in their order. It is the same whatever writes
    the file.
    """

    counts: Counts
    digest: str


Stopped = Callable[[], bool]
"""Whether nobody waits for a file any more."""


def attempt(job: Job, model: LoadedModel, stopped: Stopped = lambda: False) -> Scored | MlrefError:
    """Score a file; a refusal comes back as a value, so that one bad file does not stop the others."""
    pa.set_cpu_count(1)  # one file, one core: else Arrow would start a thread a core for each file
    try:
        return score_file(job, model, stopped)
    except MlrefError as error:
        return error


def score_file(job: Job, model: LoadedModel, stopped: Stopped = lambda: False) -> Scored:
    """Score one file: write its part and, where there are any, its rejected rows.

    Parameters
    ----------
    job : Job
        What is read, and where the results go.
    model : LoadedModel
        What predicts.
    stopped : callable, optional
        Asked before each batch; true ends in an InterruptedError.

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
    features, counts, digest = model.predictor.contract.features, Counts.sum(), hashlib.sha256()
    with publishing(job.part) as fresh:
        # In this order, so that a part that is there has its rejected rows beside it.
        with contextlib.ExitStack() as stack, opened(job.source) as table:
            schema = part_schema(table, job.source.name, model.predictor.contract, job.key)
            unnamed, rejected = repeated(job), Rejected(job, counts, stack)
            with pq.ParquetWriter(fresh, schema, use_dictionary=REPETITIVE) as writer:
                for batch in table.batches:
                    if stopped():
                        raise InterruptedError
                    given = {
                        one.name: cells(one, batch.rows[one.name], one.name in table.text)
                        for one in features
                    }
                    array, refused, unusual = masks(features, given)
                    nameless = unnamed[batch.places] if job.key else np.zeros(len(array), bool)
                    refused = np.column_stack([refused, nameless])
                    rejected.take(batch, features, given, refused)
                    good, rows = ~refused.any(axis=1), batch.rows
                    if not good.all():
                        rows = rows.filter(pa.array(good))
                        array, unusual = array[good], unusual[good]
                    prediction = predict(model.predictor, array)
                    digest.update(prediction.value.astype("<f8", copy=False).data)
                    counts.rows.update(scored=len(array), warned=int(unusual.any(axis=1).sum()))
                    found = zip(features, unusual.sum(axis=0).tolist(), strict=True)
                    counts.warnings.update({one.name: count for one, count in found if count})
                    if len(array):
                        rows = with_numbers(rows, table.text, features, array)
                        columns = [*rows.columns, *_added(prediction, unusual, model)]
                        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                counts.rows["read"] = counts.rows["scored"] + counts.rows["rejected"]
                said = {"counts": counts._asdict(), "digest": digest.hexdigest()}
                said["model"] = model.identity
                writer.add_key_value_metadata({META: json.dumps(said, sort_keys=True)})
        if job.limit is not None:
            check(job.limit, counts.rows)
    return Scored(counts, digest.hexdigest())


def predict(predictor: Predictor, array: Array) -> Prediction:
    """Predict any number of rows, as many at a time as fit into memory with categories unfolded."""
    width = sum(len(column.allowed or (0,)) for column in predictor.contract.features)
    count = max(1, min(BLOCK, BYTES // (8 * width)))
    blocks = [array[start : start + count] for start in range(0, len(array), count)]
    found = [predictor.predict(np.ascontiguousarray(block)) for block in blocks]
    return Prediction(*map(np.concatenate, zip(*found, strict=True))) if found else EMPTY


def _added(prediction: Prediction, unusual: Mask, model: LoadedModel) -> list[pa.Array]:
    """The columns of ``ADDED``."""
    sentences = pa.array([warning(column) for column in model.predictor.contract.features])
    ends = np.zeros(len(unusual) + 1, np.int32)
    ends[1:] = np.cumsum(unusual.sum(axis=1))
    warnings = pa.ListArray.from_arrays(ends, sentences.take(pa.array(np.nonzero(unusual)[1])))
    version = pa.repeat(model.version, len(unusual))
    return [*map(pa.array, prediction), warnings, version]
