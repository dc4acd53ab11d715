"""Score one file: rows in, one Parquet part out, the same bytes on every engine.

A part depends on its input, the model and the versions of the libraries alone.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlref.batch.columns import as_written, cells, part_schema
from mlref.batch.counts import total
from mlref.batch.files import Job, publishing, remove
from mlref.batch.parquet import fitting
from mlref.batch.read import opened
from mlref.batch.rejected import UNIQUE, explain, repeated, write
from mlref.bundle.predictor import Predictor
from mlref.bundle.store import Store
from mlref.core.rows import Array, Mask, masks, warning
from mlref.core.task import Prediction

REPETITIVE = ["warnings.list.element", "model_version"]
"""Columns for which Parquet's dictionaries pay; for the others they cost time."""

META = b"mlref.score"
"""Key in a part's metadata, for what it says of itself."""

Scored = dict[str, Any]
"""What a part says of itself: ``model`` and ``counts``, and ``predictions``, the SHA-256 of them.

The digest is of the float64 values, little-endian, in their order. It is the same whatever writes the
file.
"""


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


def score_file(job: Job, model: LoadedModel) -> Scored:
    """Score one file: write its part and, where there are any, its rejected rows.

    Parameters
    ----------
    job : Job
        What is read, and where the results go.
    model : LoadedModel
        What predicts.

    Raises
    ------
    DataError
        When the input cannot be read as a table with the columns of the contract.
    EnvironmentFault
        When the disk or the network refuses.
    """
    pa.set_cpu_count(1)  # one file, one core: else Arrow would start a thread a core for each file
    contract, counts, digest = model.predictor.contract, total(), hashlib.sha256()
    features, number, seen = contract.features, counts["rows"], set[object]()
    with publishing(job.part) as fresh, opened(job) as table:
        rejected, schema = fresh.with_suffix(".csv"), part_schema(table.schema, contract, job)
        with pq.ParquetWriter(fresh, schema, use_dictionary=REPETITIVE) as writer:
            for rows, places in table.batches:
                given = {one.name: cells(one, rows[one.name]) for one in features}
                array, refused, unusual = masks(features, given)
                names = rows[job.key].to_pylist() if job.key else []
                if names:
                    refused = np.column_stack([refused, repeated(names, seen)])
                good = ~np.any(refused, axis=1)
                if not good.all():
                    checked = [(one.name, one.accepts, given[one.name]) for one in features]
                    wrong = explain([*checked, (job.key, UNIQUE, names)], refused, places, names)
                    write(rejected, job, wrong, counts)
                    array, unusual = array[good], unusual[good]
                if not len(array):
                    continue
                prediction = predict(model.predictor, array)
                digest.update(prediction.value.astype("<f8", copy=False).data)
                number.update(scored=len(array), warned=int(unusual.any(axis=1).sum()))
                found = zip(contract.names, unusual.sum(axis=0).tolist(), strict=True)
                counts["warnings"].update({name: count for name, count in found if count})
                columns = as_written(rows, schema, given, good)
                columns += _added(prediction, unusual, model)
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            if table.ragged:
                write(rejected, job, ((one, None) for one in table.ragged), counts)
            number["read"] = number["scored"] + number["rejected"]
            said = {"model": model.identity, "counts": counts, "predictions": digest.hexdigest()}
            writer.add_key_value_metadata({META: json.dumps(said, sort_keys=True)})
        # Before the part, so that a part that is there has its rejected rows beside it.
        if rejected.exists():
            with publishing(job.rejected) as place:
                shutil.move(rejected, place)
        else:
            remove(job.rejected)
    return said


def predict(predictor: Predictor, array: Array) -> Prediction:
    """Predict any number of rows, as many at a time as fit into memory with categories unfolded."""
    width = sum(len(column.allowed or (0,)) for column in predictor.contract.features)
    blocks = np.array_split(array, len(array) // fitting(8 * width) + 1)
    found = [predictor.predict(np.ascontiguousarray(block)) for block in blocks]
    return Prediction(*map(np.concatenate, zip(*found, strict=True)))


def _added(prediction: Prediction, unusual: Mask, model: LoadedModel) -> list[pa.Array]:
    """The columns of ``ADDED``."""
    sentences = pa.array([warning(column) for column in model.predictor.contract.features])
    ends = np.zeros(len(unusual) + 1, np.int32)
    ends[1:] = np.cumsum(unusual.sum(axis=1))
    warnings = pa.ListArray.from_arrays(ends, sentences.take(pa.array(np.nonzero(unusual)[1])))
    version = pa.repeat(model.version, len(unusual))
    return [*map(pa.array, prediction), warnings, version]
