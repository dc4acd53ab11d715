"""One file becomes one part: every row is scored as the service would, or rejected with its reason."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.batch.columns import ADDED, cells
from mlref.batch.files import find, plan
from mlref.batch.score import BLOCK, LoadedModel, predict, score_file
from mlref.core.errors import DataError, EnvironmentFault, NotPublished
from mlref.core.rows import generate, masks
from mlref.data.tables import decode
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
def test_a_part_has_the_rows_with_their_predictions(model: LoadedModel, write: Any) -> None:
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


def test_other_columns_pass_through_as_they_are(model: LoadedModel) -> None:
    more = [{**row, "id": f"00{place}", "seen": place} for place, row in enumerate(ROWS)]
    score_file(job(write_parquet("in.parquet", more)), model)
    assert [(row["id"], row["seen"]) for row in read(OUT)] == [("000", 0), ("001", 1), ("002", 2)]
    score_file(job(write_csv("in.csv", more)), model)
    assert [(row["id"], row["seen"]) for row in read(OUT)][1] == ("001", "1")
    assert pq.read_schema(OUT).names == [*more[0], *ADDED.names]


def test_the_order_of_columns_is_free(model: LoadedModel) -> None:
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
    model: LoadedModel, write: Any, column: str, cell: Any, shown: str
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
    model: LoadedModel, column: str, kind: pa.DataType, cell: Any, good: bool
) -> None:
    rows = [{**ROWS[0], column: cell}] * 3
    counts = score_file(job(write_parquet("in.parquet", rows, **{column: kind})), model).counts
    assert (counts.rows["scored"], counts.rows["rejected"]) == ((3, 0) if good else (0, 3))


@pytest.mark.parametrize("column", ["area", "heating"])
@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, 2], pa.date32()),
        pa.array([1, 2], pa.timestamp("ns", "UTC")),
        pa.array([1, 2], pa.duration("ns")),
        pa.array([b"70", b"7"]),
        pa.array([[70.5], None]),
        pa.array([{"a": 1}, None]),
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        pa.array(["{}", "[]"]).cast(pa.json_()),
    ],
    ids=lambda cells: str(cells.type),
)
def test_a_feature_of_another_type_is_refused_by_column_and_type(
    model: LoadedModel, column: str, cells: pa.Array
) -> None:
    table = pq.read_table(write_parquet("in.parquet", ROWS[:2])).drop([column])
    pq.write_table(table.append_column(column, cells), "in.parquet")
    with pytest.raises(DataError) as refused:
        score_file(job("in.parquet"), model)
    kind = str(cells.type).partition("<")[0]
    assert f"the column {column!r} is of type {kind}" in str(refused.value)
    pq.write_table(pq.read_table(write_parquet("in.parquet")).slice(0, 2).append_column("x", cells),
                   "in.parquet")  # fmt: skip
    score_file(job("in.parquet"), model)
    assert pq.read_table(OUT)["x"].type.id == cells.type.id


def test_views_of_text_are_read_as_text(model: LoadedModel) -> None:
    rows = [
        {**ROWS[0], "note": "n", "raw": b"r"},
        {**ROWS[0], "note": None, "raw": None, "area": 1},
    ]
    kinds = {"heating": pa.string_view(), "note": pa.string_view(), "raw": pa.binary_view()}
    score_file(job(write_parquet("in.parquet", rows, **kinds), key="note"), model)
    assert [(row["note"], row["raw"]) for row in read(OUT)] == [("n", b"r")]


CELL = st.one_of(
    st.none(),
    st.floats().map(repr),
    st.integers(-10, 1100).map(str),
    st.sampled_from(["gas", "oil", "wood", "coal", "nan", "-nan", "nan(1)", "inf", "Infinity", "1_0",
                     " 7 ", "7\t", "+7", "7.", ".7", "7e0", "0x7", "True", "7,5", "７", "1e400", "--7"]),
    st.text(min_size=1, max_size=3),
)  # fmt: skip


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=20))
def test_text_gets_the_verdict_of_the_pipeline(rows: list[tuple[str | None, ...]]) -> None:
    table = dict(zip(CONTRACT.names, zip(*rows, strict=True), strict=True))
    found = {
        one.name: cells(one, pa.array(table[one.name], pa.string()), text=True)
        for one in CONTRACT.features
    }
    frame = decode(pd.DataFrame(table, dtype=object), CONTRACT.features)
    staged = {one.name: frame[one.name].to_numpy() for one in CONTRACT.features}
    ours, theirs = masks(CONTRACT.features, found), masks(CONTRACT.features, staged)
    np.testing.assert_array_equal(ours.refused, theirs.refused)
    np.testing.assert_array_equal(ours.array, theirs.array)


VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "area": (pa.float64(), st.none() | st.floats(0, 1100) | st.sampled_from([math.nan, math.inf])),
    "rooms": (pa.int64(), st.none() | st.integers(-2, 22) | st.just(2**60)),
    "heating": (pa.string(), st.none() | st.sampled_from(["gas", "oil", "wood", "coal", ""])),
    "balcony": (pa.float32(), st.none() | st.floats(-1, 101, width=32)),
}


@given(st.data(), st.integers(1, 30))
def test_typed_columns_get_the_verdict_of_the_values_in_a_request(
    data: st.DataObject, count: int
) -> None:
    table = {
        name: data.draw(st.lists(strategy, min_size=count, max_size=count))
        for name, (_, strategy) in VALUES.items()
    }
    found = {
        one.name: cells(one, pa.array(table[one.name], VALUES[one.name][0]), text=False)
        for one in CONTRACT.features
    }
    ours, theirs = masks(CONTRACT.features, found), masks(CONTRACT.features, table)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_folders_of_a_path_are_columns(model: LoadedModel) -> None:
    rows = [{name: row[name] for name in ("area", "rooms")} for row in ROWS]
    for folder in (
        "balcony=4/heating=o%69l/day=1",
        "balcony=__HIVE_DEFAULT_PARTITION__/heating=coal",  # pragma: allowlist secret
    ):
        write_parquet(f"in/{folder}/a.parquet", rows)
        write_csv(f"in/{folder}/b.csv", rows)
    for made in plan(find("in"), "out"):
        counts = score_file(made, model).counts.rows
        assert (counts["scored"], counts["rejected"]) == ((3, 0) if "day" in made.part else (0, 3))
    for name in "a", "b":
        [row, *_] = read(f"out/balcony=4-heating=o%69l-day=1-{name}.parquet")
        assert [row["balcony"], row["heating"], row["day"]] == [4.0, "oil", "1"]
        assert row["prediction"] == pytest.approx(linear(ENCODED[0]))


def test_a_column_in_the_file_and_in_its_path_is_refused(model: LoadedModel) -> None:
    write_csv("in/area=5/a.csv")
    with pytest.raises(DataError, match="the column 'area' is there twice"):
        score_file(job("in"), model)


def test_thousands_of_columns_pass(model: LoadedModel) -> None:
    many = {f"c{place}": place for place in range(2_000)}
    score_file(job(write_csv("in.csv", [{**ROWS[0], **many}])), model)
    assert len(pq.read_schema(OUT).names) == 2_000 + len(ROWS[0]) + len(ADDED.names)


def test_a_row_with_several_faults_is_one_row_with_several_lines(model: LoadedModel) -> None:
    counts = score_file(
        job(write_csv("in.csv", [{**ROWS[0], "area": 1, "rooms": 0}])), model
    ).counts
    assert [line["column"] for line in rejected(REJECTED)] == ["area", "rooms"]
    assert (counts.rows["rejected"], sum(counts.reasons.values())) == (1, 2)
    assert read(OUT) == []


def test_the_key_stands_beside_a_rejected_row(model: LoadedModel) -> None:
    rows = [{**ROWS[0], "id": "a"}, {**ROWS[0], "id": "b", "area": 1}]
    score_file(job(write_csv("in.csv", rows), key="id"), model)
    assert [line["id"] for line in rejected(REJECTED)] == ["b"]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_without_rows_becomes_a_part_without_rows(model: LoadedModel, write: Any) -> None:
    path = write(f"in.{write.__name__.removeprefix('write_')}")
    if path.suffix == ".csv":
        path.write_text("area,rooms,heating,balcony\n")
    else:
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert score_file(job(path), model).counts.rows["read"] == 0
    assert pq.read_table(OUT).num_rows == 0
    assert pq.read_schema(OUT).names == [*ROWS[0], *ADDED.names]


def test_a_missing_column_is_refused_with_those_that_are_there(model: LoadedModel) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "balcony"} for row in ROWS]
    with pytest.raises(DataError, match=r"in\.csv: lacks 'balcony'; it has: 'area', 'rooms'"):
        score_file(job(write_csv("in.csv", rows)), model)
    assert not Path(OUT).exists()


@pytest.mark.parametrize("name", ADDED.names)
def test_a_column_that_scoring_adds_may_not_be_there(model: LoadedModel, name: str) -> None:
    with pytest.raises(DataError, match=f"has a column '{name}', which scoring adds"):
        score_file(job(write_csv("in.csv", [{**ROWS[0], name: 1}])), model)


def test_rows_in_many_batches_are_scored_like_rows_in_one(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**ROWS[place % 3], "area": 50 + place % 7 * 100} for place in range(500)]
    rows[377]["rooms"] = 0
    path = write_parquet("in.parquet", rows)
    score_file(job(path, "whole.parquet"), model)
    monkeypatch.setattr("mlref.batch.bounds.ROWS", 64)
    score_file(job(path, "small.parquet"), model)
    assert read("whole.parquet") == read("small.parquet")
    assert rejected("small.parquet.rejected") == rejected("whole.parquet.rejected")
    assert [line["row"] for line in rejected("small.parquet.rejected")] == ["377"]


def test_predicting_in_blocks_is_predicting(model: LoadedModel) -> None:
    rows = generate(CONTRACT, BLOCK * 2 + 5, seed=1)
    assert predict(model.predictor, rows).value == pytest.approx(linear(rows))


def test_too_many_rejected_rows_leave_no_part(model: LoadedModel) -> None:
    path = write_csv("in.csv", [{**ROWS[0], "area": 1}, *ROWS])
    limited = job(path)._replace(limit="10%")
    with pytest.raises(NotPublished, match=r"1 of 4 rows are rejected \(25 %\); allowed: 10 %"):
        score_file(limited, model)
    assert not Path(OUT).exists()
    assert len(rejected(REJECTED)) == 1
    score_file(limited._replace(limit="25%"), model)
    assert Path(OUT).exists()


def test_a_full_disk_leaves_nothing_half_written(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_csv("in.csv", [{**ROWS[0], "area": 1}, *ROWS])
    before = everything(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(EnvironmentFault, match=r"out\.parquet\S* cannot be written: No space left"):
        score_file(job(path), model)
    assert everything(tmp_path) == before


def test_a_file_that_changes_while_it_is_read_gives_no_part(model: LoadedModel) -> None:
    path = write_csv("in.csv")

    def touch() -> bool:
        path.write_text(path.read_text() + "70,3,oil,\n")
        return False

    with pytest.raises(DataError, match="in.csv: changed while it was read"):
        score_file(job(path), model, touch)
    assert not Path(OUT).exists()


def test_a_file_that_has_vanished_is_named(model: LoadedModel) -> None:
    made = job(write_csv("in.csv"))
    Path("in.csv").unlink()
    with pytest.raises(DataError, match=r"in\.csv: there is no such file"):
        score_file(made, model)
