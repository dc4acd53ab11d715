"""Rejected rows are written down; a row has a name of its own."""

import csv
from pathlib import Path
from typing import Any

import pytest

from mlref.batch.score import LoadedModel, score_file
from mlref.core.errors import DataError
from tests.code.batch.conftest import ROWS, job, read, rejected, write_csv, write_parquet

NAMES = {"text": ["a", "b", "a", None, "a"], "numbers": [1, 2, 1, None, 1]}


@pytest.mark.parametrize("write", [write_csv, write_parquet])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_of_rows_with_one_name_the_first_is_scored(
    model: LoadedModel, write: Any, names: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlref.batch.bounds.ROWS", 2)
    rows = [{**ROWS[0], "id": name} for name in names]
    path = write(f"in.{write.__name__.removeprefix('write_')}", rows)
    counts = score_file(job(path, key="id"), model).counts
    assert [str(row["id"]) for row in read("out.parquet")] == [str(name) for name in names[:2]]
    lines = rejected("out.parquet.rejected")
    assert [(line["row"], line["column"]) for line in lines] == [
        ("2", "id"),
        ("3", "id"),
        ("4", "id"),
    ]
    assert "a name that no row before it in this file has" in lines[0]["reason"]
    assert counts.rows == {"read": 5, "scored": 2, "warned": 0, "rejected": 3}


def test_a_rejected_row_keeps_its_name_taken_only_if_it_was_good(model: LoadedModel) -> None:
    rows = [{**ROWS[0], "id": 1, "area": 0}, {**ROWS[0], "id": 1}]
    score_file(job(write_csv("in.csv", rows), key="id"), model)
    assert [line["column"] for line in rejected("out.parquet.rejected")] == ["area", "id"]


def test_a_list_names_no_row(model: LoadedModel) -> None:
    path = write_parquet("in.parquet", [{**ROWS[0], "id": [1]}])
    with pytest.raises(DataError, match="the column 'id' of type list.* cannot name a row"):
        score_file(job(path, key="id"), model)


FORMULA = '=HYPERLINK("http://example.org")'


def test_no_column_of_the_rejected_rows_holds_a_formula(model: LoadedModel) -> None:
    rows = [
        {**ROWS[0], "heating": cell, "=id": cell} for cell in (FORMULA, "@SUM(1)", "-1+1", "+1")
    ]
    score_file(job(write_csv("=1+1.csv", rows), key="=id"), model)
    with Path("out.parquet.rejected").open(newline="") as file:
        lines = list(csv.reader(file))
    assert len(lines) == 5
    assert (lines[0][-1], lines[1][0], lines[1][-1]) == ("'=id", "'=1+1.csv", f"'{FORMULA}")
    assert not [cell for line in lines for cell in line if cell[:1] in "=@-" and cell]


def test_a_decimal_comma_is_named(model: LoadedModel) -> None:
    score_file(job(write_csv("in.csv", [{**ROWS[0], "area": "70,5"}])), model)
    [line] = rejected("out.parquet.rejected")
    assert (line["value"], line["reason"].partition("; ")[2]) == ("'70,5'", "decimals take a point")


def test_records_that_are_no_rows_are_rejected(model: LoadedModel) -> None:
    path = write_csv("in.csv")
    path.write_text(path.read_text() + "70,3\n70,3,oil,4\n1,3,oil,4\n")
    counts = score_file(job(path), model).counts
    line, last = rejected("out.parquet.rejected")
    assert (last["row"], last["column"]) == ("5", "area")
    assert (line["row"], line["column"], line["value"]) == ("3", "", "'70,3'")
    assert line["reason"] == "allowed: 4 fields"
    assert counts.rows == {"read": 6, "scored": 4, "warned": 1, "rejected": 2}


def test_without_rejected_rows_there_is_no_file_of_them(model: LoadedModel) -> None:
    path = write_csv("in.csv", [{**ROWS[0], "area": 1}])
    score_file(job(path), model)
    assert Path("out.parquet.rejected").exists()
    write_csv(path)
    score_file(job(path), model)
    assert not Path("out.parquet.rejected").exists()
