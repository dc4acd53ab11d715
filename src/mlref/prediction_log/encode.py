"""Turn records into rows of the tables: plain values, as the drivers of both databases take them."""

import datetime
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from mlref.core.contract import Column, Value
from mlref.prediction_log.ids import moment, new_ids, to_text
from mlref.prediction_log.records import Predicted, Refused
from mlref.prediction_log.schema import PREDICTIONS, REFUSALS, Row, Rows


def encode(records: Sequence[Predicted | Refused]) -> Rows:
    """Make a row of each prediction, and of each reason of rejected inputs one with their number.

    Raises
    ------
    ValueError
        When the parts of a record differ in length: it cannot be told what belongs together.
    """
    predicted = [_predictions(record) for record in records if isinstance(record, Predicted)]
    refused = [record for record in records if isinstance(record, Refused)]
    return {PREDICTIONS: [*itertools.chain(*predicted)], REFUSALS: _refusals(refused)}


def decoder(column: Column) -> Callable[[float], Value]:
    """What turns an encoded cell of a column, not null, into the value that a client sends."""
    if column.allowed is not None:
        categories = column.allowed
        return lambda code: categories[int(code)]
    if column.origin is not None:
        first = column.origin.toordinal()
        return lambda days: datetime.date.fromordinal(first + int(days)).isoformat()
    return int if column.type == "integer" else float


def _predictions(record: Predicted) -> Iterator[Row]:
    model, count = record.model, len(record.ids)
    decoders = {column.name: decoder(column) for column in model.contract.features}
    source = record.source, model.version, model.digest
    parts = zip(
        record.ids,
        record.rows.tolist(),
        zip(record.value.tolist(), record.lower.tolist(), record.upper.tolist(), strict=True),
        itertools.repeat((), count) if record.unusual is None else record.unusual,
        strict=True,
    )
    for name, cells, answer, unusual in parts:
        values = {
            column: None if cell != cell else decode(cell)
            for (column, decode), cell in zip(decoders.items(), cells, strict=True)
        }
        features, warnings = _json(values), _json([*itertools.compress(decoders, unusual)])
        request = warnings, record.latency, record.request_id, record.subject, None
        yield name, record.role, _at(name[:13]), *source, features, *answer, *request


def _refusals(records: Sequence[Refused]) -> list[Row]:
    """A column that a client made up is not written: it could be anything, and without end."""
    counts = Counter[tuple[str, str, str | None, str]]()
    for record in records:
        model = record.model
        for violation in record.violations:
            column = violation.column if violation.column in model.contract.names else None
            counts["serve", model.version, column, f"allowed: {violation.allowed}"] += 1
    names = new_ids(len(counts))
    return [(name, _at(name[:13]), *key, counts[key]) for name, key in zip(names, counts)]


@functools.lru_cache(maxsize=256)
def _at(beginning: str) -> str:
    """The moment in the first 13 characters of an id; many are of the same millisecond."""
    return to_text(moment(beginning))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
