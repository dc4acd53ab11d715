"""Records become rows of plain values, which database and spool both take."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.core.rows import generate, validate_records
from mlref.prediction_log.encode import COLUMNS, clean, decode, encode
from mlref.prediction_log.records import Model
from tests.code.prediction_log.records import NOON, at, predicted, refused
from tests.fakes import CONTRACT


def test_a_prediction_has_every_field() -> None:
    """Features by name as they were sent, the moment of its id, the names of unusual values."""
    record = predicted(
        ids=[at(NOON)], unusual=np.array([[True, False, False, True]]), latency=0.002,
        request_id="r1", subjects=["patient 7"], role="shadow", source="batch",
    )  # fmt: skip
    [row] = encode([record])["predictions"]
    assert dict(zip(COLUMNS["predictions"], row, strict=True)) == {
        "id": at(NOON), "role": "shadow", "at": "2026-11-24T12:00:00.000000+00:00",
        "source": "batch", "version": "3", "digest": "d1ge57",
        "features": '{"area":70.5,"rooms":3,"heating":"oil","balcony":null}',
        "value": 100.0, "lower": 20.0, "upper": 180.0, "warnings": '["area","balcony"]',
        "latency": 0.002, "request_id": "r1", "subject": "patient 7",
    }  # fmt: skip


def test_requests_of_several_rows_and_models_keep_their_order() -> None:
    """Each row with the fields of its own request."""
    other = Model("4", "07he2", CONTRACT)
    records = [
        predicted(2, request_id="a"),
        predicted(0, request_id="empty"),
        predicted(1, request_id="b", subjects=["s"]),
        predicted(3, request_id="c", model=other, unusual=np.zeros((3, 4), bool)),
        predicted(1, request_id="d"),
    ]
    found = encode(records)["predictions"]
    assert [row[0] for row in found] == [name for record in records for name in record.ids]
    assert [row[-2] for row in found] == ["a", "a", "b", "c", "c", "c", "d"]
    assert [row[4] for row in found] == ["3", "3", "3", "4", "4", "4", "3"]
    assert [row[7] for row in found] == [100, 101, 100, 100, 101, 102, 100]
    assert [row[-1] for row in found] == [None, None, "s", None, None, None, None]


@given(st.integers(0, 2**32 - 1))
def test_decoding_turns_encoding_back(seed: int) -> None:
    """The values of the log, sent again, are the same rows."""
    array = generate(CONTRACT, 5, seed)
    records = [
        dict(zip(CONTRACT.names, row, strict=True)) for row in decode(CONTRACT.features, array)
    ]
    verdict = validate_records(CONTRACT, orjson.loads(orjson.dumps(records)))
    assert not verdict.refused
    np.testing.assert_array_equal(verdict.array, array)


def test_equal_refusals_are_one_row_with_their_count() -> None:
    """By source, model, column and reason, so that a flood of bad requests fills no database."""
    batch = encode([refused("area", "area"), predicted(), refused("area", "rooms")])
    assert sorted(row[2:] for row in batch["refusals"]) == [
        ("serve", "3", "area", "allowed: something else", 3),
        ("serve", "3", "rooms", "allowed: something else", 1),
    ]
    assert len(batch["predictions"]) == 1


@pytest.mark.parametrize("name", [None, "made up", "' OR 1=1 --", "\ud800", "x" * 1000])
def test_a_column_that_the_client_made_up_is_not_written(name: str | None) -> None:
    """It could be anything, and without end."""
    [row] = encode([refused(name)])["refusals"]
    assert row[4:] == (None, "allowed: something else", 1)


@pytest.mark.parametrize("field", ["ids", "rows", "value", "lower", "unusual", "subjects"])
def test_a_record_whose_parts_differ_in_length_is_refused(field: str) -> None:
    """Else the rows of the next request would go under its ids."""
    parts = {
        "ids": at(NOON).split(), "rows": np.zeros((1, 4)), "value": np.zeros(1),
        "lower": np.zeros(1), "unusual": np.zeros((1, 4), bool), "subjects": ["a"],
    }  # fmt: skip
    with pytest.raises(ValueError):
        encode([predicted(2, **{field: parts[field]}), predicted(2)])


def test_nothing_is_no_rows() -> None:
    """No table is named that gets none."""
    assert encode([]) == encode([predicted(0)]) == {}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("naïve 患者 🙂", "naïve 患者 🙂"),
        ("nul \0", "nul \ufffd"),
        ("half \ud83d", "half \ufffd"),
        ("both halves \ud83d\ude42", "both halves 🙂"),
    ],
)
def test_text_is_kept_as_far_as_databases_can(text: str, kept: str) -> None:
    """PostgreSQL refuses NUL, UTF-8 has no halves of pairs."""
    assert clean(text) == kept
