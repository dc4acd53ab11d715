"""One file becomes one part: every row is scored as the service would, or rejected with its reason."""

import csv
import math
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlref.batch.columns import ADDED, cells
from mlref.batch.score import LoadedModel, score_file
from mlref.core.errors import DataError, EnvironmentFault
from mlref.core.rows import masks
from mlref.data.tables import decode
from tests.code.batch.conftest import (
    ROWS,
    everything,
    job,
    score_one,
    write_csv,
    write_parquet,
)
from tests.fakes import CONTRACT, HALF_WIDTH
from tests.fakes import TYPES as EVERY_TYPE
from tests.fakes import linear

ENCODED = [[70.5, 3, 1, 4], [20, 1, 0, None], [400, 9, 2, 0]]

Write = Callable[..., Path]


@pytest.fixture(params=["csv", "parquet"])
def write(request: pytest.FixtureRequest) -> Write:
    """A function that writes rows, into a folder that may be named."""

    def written(rows: list[dict[str, Any]] = ROWS, folder: str = ".") -> Path:
        write = write_csv if request.param == "csv" else write_parquet
        return write(f"{folder}/in.{request.param}", rows)

    return written


def test_a_part_has_the_rows_with_their_predictions(model: LoadedModel, write: Write) -> None:
    more = [{**dict(reversed(row.items())), "id": f"00{place}"} for place, row in enumerate(ROWS)]
    rows, rejected, counts = score_one(model, write(more))
    assert [*rows[0]] == [*more[0], *ADDED.names]
    assert [{name: row[name] for name in more[0]} for row in rows] == more
    expected = [linear(np.array([row], float))[0] for row in ENCODED]
    assert [row["prediction"] for row in rows] == pytest.approx(expected)
    for row in rows:
        assert row["upper"] - row["prediction"] == pytest.approx(HALF_WIDTH)
        assert row["prediction"] - row["lower"] == pytest.approx(HALF_WIDTH)
        assert row["model_version"] == "1"
    assert [row["warnings"] for row in rows] == [
        [], [],
        ["area is unusual: expected 20 to 300 m².", "rooms is unusual: expected 1 to 8."],
    ]  # fmt: skip
    assert counts["rows"] == {"read": 3, "scored": 3, "warned": 1, "rejected": 0}
    assert counts["warnings"] == {"area": 1, "rooms": 1}
    assert rejected == []


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


def test_bad_rows_are_rejected_with_their_reasons(model: LoadedModel, write: Write) -> None:
    path = write([ROWS[0], *({**ROWS[1], column: cell} for column, cell, _ in BAD), ROWS[2]])
    rows, rejected, counts = score_one(model, path)
    accepts = {one.name: one.accepts for one in CONTRACT.features}
    assert [(line["row"], line["column"], line["value"], line["reason"]) for line in rejected] == [
        (str(row), column, shown, f"allowed: {accepts[column]}")
        for row, (column, _, shown) in enumerate(BAD, 1)
    ]
    assert {line["file"] for line in rejected} == {path.name}
    assert [row["area"] for row in rows] == [70.5, 400.0]
    assert (counts["rows"]["scored"], counts["rows"]["rejected"]) == (2, len(BAD))
    assert counts["reasons"][f"balcony: {accepts['balcony']}"] == 1
    assert score_one(model, write()).rejected == []


FORMULA = '=HYPERLINK("http://example.org")'


def test_a_rejected_row_is_listed_with_every_fault_and_its_name(model: LoadedModel) -> None:
    path = write_csv("=1+1.csv", [{**ROWS[0], "=id": cell} for cell in (FORMULA, "@SUM(1)")])
    with path.open("a") as file:
        file.write('70,3\n70,3,oil,4,x\n1,0,oil,4,-1+1\n"70,5",3,=1,4,+1\n')
    counts = score_one(model, path, key="=id").counts
    with Path("out.rejected/=1+1.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    assert head == ["file", "row", "column", "value", "reason", "'=id"]
    assert [line[1:4] + line[5:] for line in lines] == [
        ["4", "area", "1", "'-1+1"],
        ["4", "rooms", "0", "'-1+1"],
        ["5", "area", "'70,5'", "+1"],
        ["5", "heating", "'=1'", "+1"],
        ["2", "", "'70,3'", ""],
    ]
    assert {line[0] for line in lines} == {"'=1+1.csv"}
    assert lines[2][4].endswith("; decimals take a point")
    assert lines[4][4] == "allowed: 5 fields"
    assert counts["rows"] == {"read": 6, "scored": 3, "warned": 0, "rejected": 3}


@pytest.mark.parametrize("names", [["a", "b", "a", None, "a"], [1, 2, 1, None, 1]])
def test_of_rows_with_one_name_the_first_is_scored(
    model: LoadedModel, write: Write, names: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.batch.parquet.ROWS", 2)
    path = write([{**ROWS[0], "id": one} for one in names])
    rows, rejected, _ = score_one(model, path, key="id")
    assert [str(row["id"]) for row in rows] == [str(one) for one in names[:2]]
    assert [(line["row"], line["column"]) for line in rejected] == [
        ("2", "id"), ("3", "id"), ("4", "id"),
    ]  # fmt: skip
    assert "a name that no row before it in this file has" in rejected[0]["reason"]


TYPES = [
    ("area", pa.float32(), 70.5),
    ("area", pa.float16(), 70.5),
    ("area", pa.int64(), 70),
    ("area", pa.uint8(), 70),
    ("area", pa.decimal128(9, 2), Decimal("70.50")),
    ("area", pa.string(), "70.5"),
    ("rooms", pa.float64(), 3.0),
    ("heating", pa.dictionary(pa.int8(), pa.string()), "oil"),
    ("heating", pa.large_string(), "oil"),
    ("heating", pa.string_view(), "oil"),
    ("balcony", pa.null(), None),
    ("balcony", pa.float64(), math.nan),
]


@pytest.mark.parametrize(("column", "kind", "cell"), TYPES)
def test_a_feature_may_be_of_every_type_that_can_hold_it(
    model: LoadedModel, column: str, kind: pa.DataType, cell: Any
) -> None:
    good = {**ROWS[0], column: cell}
    path = write_parquet("in.parquet", [good, {**good, "rooms": 0}], **{column: kind})
    rows, rejected, _ = score_one(model, path)
    assert (len(rows), len(rejected)) == (1, 1)


OTHERS = [
    pa.array([1, 2], pa.date32()),
    pa.array([1, 2], pa.timestamp("ns", "UTC")),
    pa.array([1, 2], pa.duration("ns")),
    pa.array([True, None]),
    pa.array([b"70", b"7"]),
    pa.array([[70.5], None]),
    pa.array([{"a": 1}, None]),
    pa.array(["{}", "[]"]).cast(pa.json_()),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda cells: str(cells.type))
def test_another_type_passes_through_or_is_refused_by_column_and_type(
    model: LoadedModel, other: pa.Array
) -> None:
    table = pq.read_table(write_parquet("in.parquet", [*ROWS[:1], {**ROWS[0], "area": 1}]))
    # Where training reads words from data/raw/, True is a word.
    for column in ("area",) if pa.types.is_boolean(other.type) else ("area", "heating"):
        pq.write_table(table.drop([column]).append_column(column, other), "in.parquet")
        with pytest.raises(DataError) as refused:
            score_file(job("in.parquet"), model)
        kind = str(other.type).partition("<")[0]
        assert f"the column {column!r} is of type {kind}" in str(refused.value)
    pq.write_table(table.append_column("x", other), "in.parquet")
    score_file(job("in.parquet"), model)
    assert pq.read_table("out/in.parquet")["x"].type.id == other.type.id


CELL = st.one_of(
    st.none(),
    st.floats().map(repr),
    st.integers(-10, 1100).map(str),
    st.sampled_from(["gas", "oil", "wood", "coal", "nan", "-nan", "nan(1)", "inf", "Infinity", "1_0",
                     " 7 ", "7\t", "+7", "7.", ".7", "7e0", "0x7", "True", "7,5", "７", "1e400", "--7"]),
    st.text(min_size=1, max_size=3),
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=40))
def test_text_gets_the_verdict_of_the_pipeline(rows: list[tuple[str | None, ...]]) -> None:
    table = dict(zip(CONTRACT.names, zip(*rows, strict=True), strict=True))
    found = {
        one.name: cells(one, pa.array(table[one.name], pa.string())) for one in CONTRACT.features
    }
    frame = decode(pd.DataFrame(table, dtype=object), CONTRACT.features)
    staged = {one.name: frame[one.name].to_numpy() for one in CONTRACT.features}
    ours, theirs = masks(CONTRACT.features, found), masks(CONTRACT.features, staged)
    np.testing.assert_array_equal(ours.refused, theirs.refused)
    np.testing.assert_array_equal(ours.array, theirs.array)


def test_the_folders_of_a_path_are_columns(model: LoadedModel, write: Write) -> None:
    rows = [{name: row[name] for name in ("area", "rooms")} for row in ROWS]
    write(rows, "in/balcony=4/heating=o%69l/day=1")
    [row, *_] = score_one(model, "in").rows
    assert (row["balcony"], row["heating"], row["day"]) == (4.0, "oil", "1")
    assert row["prediction"] == pytest.approx(linear(ENCODED[0]))
    nothing = "__HIVE_DEFAULT_PARTITION__"  # pragma: allowlist secret
    write(rows, f"other/balcony={nothing}/heating=coal")
    assert [line["value"] for line in score_one(model, "other").rejected] == ["'coal'"] * 3


def test_a_file_without_rows_becomes_a_part_without_rows(model: LoadedModel, write: Write) -> None:
    path = write()
    if path.suffix == ".csv":
        path.write_text("area,rooms,heating,balcony\n")
    else:
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert score_one(model, path).counts["rows"]["read"] == 0
    assert pq.read_schema("out/in.parquet").names == [*ROWS[0], *ADDED.names]


ROW = ROWS[0]


@pytest.mark.parametrize(
    ("row", "key", "problem"),
    [
        ({"area": 1.0, "rooms": 1}, None, "lacks 'heating', 'balcony'; it has: 'area', 'rooms'"),
        (ROW, "id", "lacks 'id'; it has: 'area'"),
        (ROW | {"id": [1]}, "id", "the column 'id' of type list.* cannot name a row"),
        (ROW | {"warnings": 1}, None, "the column 'warnings' is there twice"),
        (ROW | {"model_version": 1}, None, "the column 'model_version' is there twice"),
    ],
)
def test_columns_that_are_missing_or_in_the_way_are_refused(
    model: LoadedModel, row: dict[str, Any], key: str | None, problem: str
) -> None:
    path = write_parquet("in.parquet", [row])
    with pytest.raises(DataError, match=f"in.parquet: {problem}"):
        score_file(job(path, key=key), model)
    assert not Path("out/in.parquet").exists()


def test_a_full_disk_leaves_nothing_half_written(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_csv("in.csv", [{**ROWS[0], "area": 1}, *ROWS])
    before = everything(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(EnvironmentFault, match=r"in\.parquet\S* cannot be written: No space left"):
        score_file(job(path), model)
    assert everything(tmp_path) == before


def typed(predictor: Any) -> Any:
    """A model of every type of column, which only uses the numbers."""

    class Typed:
        contract, digest = EVERY_TYPE, "typed"

        def predict(self, rows: Any) -> Any:
            return predictor.predict(np.nan_to_num(np.ascontiguousarray(rows[:, :4])))

    return Typed()


DAYS = ["2020-05-31", "2020-06-01T23:30:00-02:00", "soon", None]


@pytest.mark.parametrize("kind", ["text", "types", "times"])
def test_dates_and_booleans_are_scored_from_text_and_from_their_own_types(
    model: LoadedModel, kind: str
) -> None:
    """A part holds them as what they are."""
    lifts: list[Any] = ["TRUE", "0", "1", "maybe"]
    days: list[Any] = DAYS
    if kind != "text":
        lifts = [True, False, None, True]
        days = [datetime(2020, 5, 31), datetime(2020, 6, 2), None, None]
    rows = [ROWS[0] | {"sold": day, "lift": lift} for day, lift in zip(days, lifts, strict=True)]
    kinds = {"types": {"sold": pa.date32()}, "times": {"sold": pa.timestamp("ns", "UTC")}}
    path = (
        write_csv("in.csv", rows)
        if kind == "text"
        else write_parquet("in.parquet", rows, **kinds[kind])
    )
    found, rejected, _ = score_one(model._replace(predictor=typed(model.predictor)), path)
    wanted = [(date(2020, 5, 31), True), (date(2020, 6, 2), False)]
    if kind != "text":
        wanted.append((None, True))
    assert [(row["sold"], row["lift"]) for row in found] == wanted
    places = {"text": [("2", "sold"), ("3", "lift")]}.get(kind, [("2", "lift")])
    assert [(line["row"], line["column"]) for line in rejected] == places


def test_numbers_and_booleans_are_words_where_the_contract_has_words(model: LoadedModel) -> None:
    """Training reads them as text from data/raw/, so scoring does too."""
    words = CONTRACT.features[2].model_copy(update={"allowed": ("1", "True")})
    found = cells(words, pa.array([1, 2]))
    assert [found[row] for row in (0, 1)] == ["1", "2"]
    assert cells(words, pa.array([True]))[0] == "True"
