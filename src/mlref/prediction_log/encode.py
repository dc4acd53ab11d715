"""Turn records into rows of the tables: plain values, as the drivers of both databases take them."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from mlref.core.contract import Column, Value
from mlref.prediction_log.ids import moment, new_ids
from mlref.prediction_log.records import Predicted, Refused, clean
from mlref.prediction_log.schema import PREDICTIONS, REFUSALS, Row, Rows, to_text

Decoder = Callable[[float], Value]
"""Turns a cell as the model takes it into the value that was sent."""


def encode(records: Sequence[Predicted | Refused]) -> Rows:
    """Make a row of each prediction, and of each reason of rejected inputs one with their number.

    Raises
    ------
    ValueError
        When the parts of a record differ in length: it cannot be told what belongs together.
    """
    predictions: list[Row] = []
    predicted = (record for record in records if isinstance(record, Predicted))
    for model, group in itertools.groupby(predicted, lambda record: record.model):
        decoders = {column.name: _decoder(column) for column in model.contract.features}
        for record in group:
            predictions += _predictions(record, decoders)
    refusals = _refusals([record for record in records if isinstance(record, Refused)])
    return {
        table: part for table, part in ((PREDICTIONS, predictions), (REFUSALS, refusals)) if part
    }


def _decoder(column: Column) -> Decoder:
    if column.allowed is not None:
        categories = column.allowed
        return lambda code: categories[int(code)]
    return int if column.type == "integer" else float


def _predictions(record: Predicted, decoders: dict[str, Decoder]) -> Iterator[Row]:
    model, request_id = record.model, clean(record.request_id)
    parts = zip(
        record.ids,
        record.rows.tolist(),
        zip(record.value.tolist(), record.lower.tolist(), record.upper.tolist(), strict=True),
        itertools.repeat((), len(record.ids)) if record.unusual is None else record.unusual,
        itertools.repeat(None, len(record.ids)) if record.subjects is None else record.subjects,
        strict=True,
    )
    for name, cells, answer, unusual, subject in parts:
        features = {
            column: None if cell != cell else decoder(cell)
            for (column, decoder), cell in zip(decoders.items(), cells, strict=True)
        }
        warned = [*itertools.compress(decoders, unusual)]
        yield (
            name, record.role, _at(name[:13]), record.source, model.version, model.digest,
            _json(features), *answer, _json(warned), record.latency, request_id, clean(subject), None,
        )  # fmt: skip


def _refusals(records: Sequence[Refused]) -> list[Row]:
    """A column that a client made up is not written: it could be anything, and without end."""
    counts: Counter[tuple[str, str, str | None, str]] = Counter()
    for record in records:
        version, names = record.model.version, {*record.model.contract.names}
        for violation in record.violations:
            column = violation.column if violation.column in names else None
            reason = f"allowed: {violation.allowed}"
            counts[record.source, version, column, reason] += record.times
    ids = new_ids(len(counts))
    return [
        (name, _at(name[:13]), *key, counts[key]) for name, key in zip(ids, counts, strict=True)
    ]


@functools.lru_cache(maxsize=256)
def _at(beginning: str) -> str:
    """The moment in the first 13 characters of an id; many are of the same millisecond."""
    return to_text(moment(beginning))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
