"""One file becomes one part: every row is scored as the service would, or rejected with its reason."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlref.batch import score as part
from mlref.batch.score import Model
from mlref.batch.score import ADDED, BLOCK, predict, score_file
from mlref.core.errors import DataError, EnvironmentFault, NotPublished
from mlref.core.rows import generate
from tests.code.batch.conftest import (
    ROWS,
    everything,
    job,
    read,
    rejected,
    write_csv,
    write_parquet,
)
from tests.fakes import CONTRACT, HALF_WIDTH, linear

OUT = "out.parquet"
REJECTED = "out.parquet.rejected"
ENCODED = [[70.5, 3, 1, 4], [20, 1, 0, None], [400, 9, 2, 0]]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_part_has_the_rows_with_their_predictions(model: Model, write: Any) -> None:
    made = score_file(job(write(f"in.{write.__name__.removeprefix('write_')}")), model)
    rows = read(OUT)
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS
    assert [row["prediction"] for row in rows] == pytest.approx(
        [linear(np.array([row], float))[0] for row in ENCODED]
    )
    for row in rows:
        assert row["upper"] - row["prediction"] == pytest.approx(HALF_WIDTH)
        assert row["prediction"] - row["lower"] == pytest.approx(HALF_WIDTH)
        assert row["model_version"] == "1"
    assert [row["warnings"] for row in rows] == [
        [], [],
        ["area is unusual: expected 20 to 300 m².", "rooms is unusual: expected 1 to 8."],
    ]  # fmt: skip
    counts = made.counts
    assert counts.rows == {"read": 3, "scored": 3, "warned": 1, "rejected": 0}
    assert counts.warnings == {"area": 1, "rooms": 1}
    assert not Path(REJECTED).exists()


def test_other_columns_pass_through_as_they_are(model: Model) -> None:
    more = [{**row, "id": f"00{place}", "seen": place} for place, row in enumerate(ROWS)]
    score_file(job(write_parquet("in.parquet", more)), model)
    assert [(row["id"], row["seen"]) for row in read(OUT)] == [("000", 0), ("001", 1), ("002", 2)]
    score_file(job(write_csv("in.csv", more)), model)
    assert [(row["id"], row["seen"]) for row in read(OUT)][1] == ("001", "1")
    assert pq.read_schema(OUT).names == [*more[0], *ADDED.names]


def test_the_order_of_columns_is_free(model: Model) -> None:
    score_file(job(write_csv("in.csv", [dict(reversed(row.items())) for row in ROWS])), model)
    assert read(OUT)[0]["prediction"] == pytest.approx(linear([70.5, 3, 1, 4]))


BAD: list[tuple[str, Any, str]] = [
    # column, its cell in Python, and what the rejected row shows
    ("area", None, "null"),
    ("area", math.nan, "null"),
    ("area", math.inf, "inf"),
    ("area", -math.inf, "-inf"),
    ("area", 4.9, "4.9"),
    ("area", 1e300, "1e+300"),
    ("rooms", 2.5, "2.5"),
    ("rooms", 21, "21"),
    ("heating", "coal", "'coal'"),
    ("heating", "Oil", "'Oil'"),
    ("heating", None, "null"),
    ("balcony", -1.0, "-1"),
]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
@pytest.mark.parametrize(("column", "cell", "shown"), BAD)
def test_a_bad_row_is_rejected_with_its_reason(
    model: Model, write: Any, column: str, cell: Any, shown: str
) -> None:
    rows = [ROWS[0], {**ROWS[1], column: cell}, ROWS[2]]
    name = f"in.{write.__name__.removeprefix('write_')}"
    counts = score_file(job(write(name, rows)), model).counts
    [accepts] = [one.accepts for one in CONTRACT.features if one.name == column]
    line = {"file": name, "row": "1", "column": column, "value": shown}
    assert rejected(REJECTED) == [{**line, "reason": f"allowed: {accepts}"}]
    assert [row["area"] for row in read(OUT)] == [70.5, 400.0]
    assert (counts.rows["scored"], counts.rows["rejected"]) == (2, 1)
    assert counts.reasons == {f"{column}: {accepts}": 1}


TYPES = [
    ("area", pa.float32(), 70.5, True),
    ("area", pa.float16(), 70.5, True),
    ("area", pa.int64(), 70, True),
    ("area", pa.uint8(), 70, True),
    ("area", pa.decimal128(9, 2), Decimal("70.50"), True),
    ("area", pa.string(), "70.5", False),
    ("area", pa.bool_(), True, False),
    ("area", pa.null(), None, False),
    ("rooms", pa.float64(), 3.0, True),
    ("rooms", pa.bool_(), True, False),
    ("heating", pa.dictionary(pa.int8(), pa.string()), "oil", True),
    ("heating", pa.large_string(), "oil", True),
    ("heating", pa.int64(), 1, False),
    ("balcony", pa.null(), None, True),
    ("balcony", pa.float64(), math.nan, True),
]


@pytest.mark.parametrize(("column", "kind", "cell", "good"), TYPES)
def test_the_type_of_a_parquet_column_decides_as_a_json_type_does(
    model: Model, column: str, kind: pa.DataType, cell: Any, good: bool
) -> None:
    rows = [{**ROWS[0], column: cell}] * 3
    counts = score_file(job(write_parquet("in.parquet", rows, **{column: kind})), model).counts
    assert (counts.rows["scored"], counts.rows["rejected"]) == ((3, 0) if good else (0, 3))


TEXTS = [
    ("area", " 70.5 ", True), ("area", "7.05e1", True), ("area", "+70.5", True),
    ("area", "1_00", False), ("area", "70,5", False), ("area", "tall", False),
    ("area", "nan(7)", False), ("area", "nan", False), ("area", "True", False),
    ("rooms", "3.0", True), ("rooms", "3.5", False), ("heating", "oil ", False),
    ("balcony", "nan", True), ("balcony", "nan(7)", False), ("balcony", "", True),
]  # fmt: skip


@pytest.mark.parametrize(("column", "text", "good"), TEXTS)
def test_text_in_csv_is_read_as_the_pipeline_reads_it(
    model: Model, column: str, text: str, good: bool
) -> None:
    for neighbour in ROWS[0], {**ROWS[0], "area": "x", "balcony": "x"}:
        counts = score_file(job(write_csv("in.csv", [{**ROWS[0], column: text}, neighbour])), model)
        assert counts.counts.rows["scored"] == good + (neighbour == ROWS[0])


def test_a_row_with_several_faults_is_one_row_with_several_lines(model: Model) -> None:
    counts = score_file(
        job(write_csv("in.csv", [{**ROWS[0], "area": 1, "rooms": 0}])), model
    ).counts
    assert [line["column"] for line in rejected(REJECTED)] == ["area", "rooms"]
    assert (counts.rows["rejected"], sum(counts.reasons.values())) == (1, 2)
    assert read(OUT) == []


def test_the_key_stands_beside_a_rejected_row(model: Model) -> None:
    rows = [{**ROWS[0], "id": "a"}, {**ROWS[0], "id": "b", "area": 1}]
    score_file(job(write_csv("in.csv", rows), key="id"), model)
    assert [line["id"] for line in rejected(REJECTED)] == ["b"]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_without_rows_becomes_a_part_without_rows(model: Model, write: Any) -> None:
    path = write(f"in.{write.__name__.removeprefix('write_')}")
    if path.suffix == ".csv":
        path.write_text("area,rooms,heating,balcony\n")
    else:
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert score_file(job(path), model).counts.rows["read"] == 0
    assert pq.read_table(OUT).num_rows == 0
    assert pq.read_schema(OUT).names == [*ROWS[0], *ADDED.names]


def test_a_missing_column_is_refused_with_those_that_are_there(model: Model) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "balcony"} for row in ROWS]
    with pytest.raises(DataError, match=r"in\.csv: lacks 'balcony'; it has: 'area', 'rooms'"):
        score_file(job(write_csv("in.csv", rows)), model)
    assert not Path(OUT).exists()


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_another_delimiter_is_said_to_be_one(model: Model, sign: str) -> None:
    path = write_csv("in.csv")
    path.write_text(path.read_text().replace(",", sign))
    with pytest.raises(DataError, match="Separate the columns by commas"):
        score_file(job(path), model)


@pytest.mark.parametrize("name", ADDED.names)
def test_a_column_that_scoring_adds_may_not_be_there(model: Model, name: str) -> None:
    with pytest.raises(DataError, match=f"has a column '{name}', which scoring adds"):
        score_file(job(write_csv("in.csv", [{**ROWS[0], name: 1}])), model)


def test_a_part_depends_on_nothing_but_rows_and_model(model: Model) -> None:
    path = write_parquet("in.parquet", ROWS * 100)
    first, second = (score_file(job(path, name), model) for name in ("a.parquet", "b.parquet"))
    assert first == second
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()


def test_rows_in_many_batches_are_scored_like_rows_in_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**ROWS[place % 3], "area": 50 + place % 7 * 100} for place in range(500)]
    rows[377]["rooms"] = 0
    path = write_parquet("in.parquet", rows)
    score_file(job(path, "whole.parquet"), model)
    monkeypatch.setattr("mlref.batch.read.ROWS", 64)
    score_file(job(path, "small.parquet"), model)
    assert read("whole.parquet") == read("small.parquet")
    assert rejected("small.parquet.rejected") == rejected("whole.parquet.rejected")
    assert [line["row"] for line in rejected("small.parquet.rejected")] == ["377"]


def test_predicting_in_blocks_is_predicting(model: Model) -> None:
    rows = generate(CONTRACT, BLOCK * 2 + 5, seed=1)
    assert predict(model.predictor, rows).value == pytest.approx(linear(rows))


def test_too_many_rejected_rows_leave_no_part(model: Model) -> None:
    path = write_csv("in.csv", [{**ROWS[0], "area": 1}, *ROWS])
    limited = job(path)._replace(limit="10%")
    with pytest.raises(NotPublished, match=r"1 of 4 rows are rejected \(25 %\); allowed: 10 %"):
        score_file(limited, model)
    assert not Path(OUT).exists()
    assert len(rejected(REJECTED)) == 1
    score_file(limited._replace(limit="25%"), model)
    assert Path(OUT).exists()


def test_a_full_disk_leaves_nothing_half_written(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_csv("in.csv", [{**ROWS[0], "area": 1}, *ROWS])
    before = everything(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part.pq.ParquetWriter, "write_batch", full)
    with pytest.raises(EnvironmentFault, match=r"out\.parquet\S* cannot be written: No space left"):
        score_file(job(path), model)
    assert everything(tmp_path) == before


def test_a_file_that_changes_while_it_is_read_gives_no_part(model: Model) -> None:
    path = write_csv("in.csv")

    def touch(rows: int, size: float) -> None:
        path.write_text(path.read_text() + "70,3,oil,\n")

    with pytest.raises(DataError, match="in.csv: changed while it was read"):
        score_file(job(path), model, touch)
    assert not Path(OUT).exists()


def test_a_file_that_has_vanished_is_named(model: Model) -> None:
    made = job(write_csv("in.csv"))
    Path("in.csv").unlink()
    with pytest.raises(DataError, match=r"in\.csv: there is no such file"):
        score_file(made, model)


def test_what_has_been_done_is_told_in_rows_and_bytes(model: Model) -> None:
    path = write_parquet("in.parquet", ROWS * 50)
    told: list[tuple[int, float]] = []
    score_file(job(path), model, lambda rows, size: told.append((rows, size)))
    assert sum(rows for rows, _ in told) == 150
    assert sum(size for _, size in told) == pytest.approx(path.stat().st_size)


def test_a_part_says_what_made_it(model: Model) -> None:
    score_file(job(write_csv("in.csv")), model)
    said = pq.read_metadata(OUT).metadata[b"mlref.score"].decode()
    assert model.identity["digest"] in said and '"read": 3' in said
