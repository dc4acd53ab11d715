"""Reading the log: by arrival in chunks, and as a table with the latest labels."""

from typing import Any

import numpy as np
import pytest

from mlref.core.storage import Project
from mlref.prediction_log import reader
from mlref.prediction_log.database import Database
from mlref.prediction_log.ground_truth import Label, add
from mlref.prediction_log.ids import to_text
from mlref.prediction_log.reader import Period, labelled_share, read, stream
from tests.code.prediction_log.records import (
    ALWAYS,
    HOUR,
    MODEL,
    NOON,
    OTHER,
    at,
    predicted,
    write,
)
from tests.fakes import CONTRACT, TYPES


def streamed(database: Database, **wanted: Any) -> list[str]:
    """The ids of a stream."""
    return [name for chunk in stream(database, CONTRACT, **wanted) for name in chunk.ids]


def test_a_stream_comes_in_chunks_of_arrays(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "CHUNK", 2)
    given = np.array([[70.5, 3, 1, np.nan], [400, 2, 0, 4], [20, 9, 2, 0]])
    write(project, record := predicted(3, rows=given, lower=np.array([20, np.nan, 22])))
    first, second = stream(database, CONTRACT)
    assert [*first.ids, *second.ids] == record.ids and (first.last, second.last) == (2, 3)
    np.testing.assert_array_equal(np.vstack([first.rows, second.rows]), given)
    np.testing.assert_array_equal(first.lower, [20, np.nan])
    np.testing.assert_array_equal(second.upper, [182])
    assert np.argwhere(np.vstack([first.unusual, second.unusual])).tolist() == [[1, 0], [2, 1]]


def test_every_type_of_column_comes_back_as_it_was_encoded(
    project: Project, database: Database
) -> None:
    rows = np.array([[70.5, 3, 1, np.nan, 151, 1], [50, 2, 0, 4, np.nan, 0]])
    write(project, predicted(2, model=MODEL._replace(contract=TYPES), rows=rows))
    [chunk] = stream(database, TYPES)
    np.testing.assert_array_equal(chunk.rows, rows)
    assert read(database, ALWAYS)["features"][0]["sold"] == "2020-05-31"


def test_a_column_that_was_not_logged_is_null(project: Project, database: Database) -> None:
    write(project, predicted(1))
    [chunk] = stream(database, TYPES)
    assert np.isnan(chunk.rows[0]).tolist() == [False, False, False, True, True, True]


def test_whoever_has_read_gets_what_came_since_though_it_is_older(
    project: Project, database: Database
) -> None:
    write(project, predicted(2, ids=[at(NOON), at(NOON, 1)]))
    [chunk] = stream(database, CONTRACT)
    write(project, predicted(ids=[at(NOON - HOUR)]), predicted(ids=[at(NOON + HOUR)]))
    assert streamed(database, after=chunk.last) == [at(NOON - HOUR), at(NOON + HOUR)]
    assert streamed(database, after=chunk.last + 2) == []


def test_a_number_of_arrival_is_not_used_again(project: Project, database: Database) -> None:
    write(project, predicted(3))
    [chunk] = stream(database, CONTRACT)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM predictions")
    write(project, record := predicted())
    assert streamed(database, after=chunk.last) == record.ids


def test_a_period_has_its_start_and_not_its_end(project: Project, database: Database) -> None:
    names = [at(NOON + hours * HOUR) for hours in range(4)]
    write(project, predicted(4, ids=names))
    period = Period(NOON + HOUR, NOON + 3 * HOUR)
    assert streamed(database, period=period) == list(read(database, period)["id"]) == names[1:3]


WANTED: list[tuple[dict[str, str], list[float]]] = [
    ({}, [100, 101, 102, 103]),
    ({"version": "4"}, [101]),
    ({"digest": "d1ge57"}, [100, 102, 103]),
    ({"role": "shadow"}, [102]),
    ({"role": "champion", "source": "serve"}, [100, 101]),
    ({"source": "batch"}, [103]),
    ({"subject": "a"}, [100]),
    ({"subject": "' OR '1'='1"}, []),
    ({"version": "4'; DROP TABLE predictions; --"}, []),
]


def test_only_wanted_rows_are_read(project: Project, database: Database) -> None:
    different = [{"subject": "a"}, {"model": OTHER}, {"role": "shadow"}, {"source": "batch"}]
    write(project, *(
        predicted(ids=[at(NOON, number)], value=np.array([100.0 + number]), **fields)
        for number, fields in enumerate(different)
    ))  # fmt: skip
    for wanted, values in WANTED:
        found = read(database, ALWAYS, False, **wanted)
        assert list(found["value"]) == values, wanted
        assert streamed(database, **wanted) == list(found["id"])


def test_the_latest_label_is_the_ground_truth_of_champion_and_shadow(
    project: Project, database: Database
) -> None:
    champion, other = predicted(), predicted()
    write(project, champion, champion._replace(role="shadow"), other)
    for value in (850, 840):
        add(database, [Label(champion.ids[0], value, to_text(NOON))])
    found = read(database, ALWAYS, labelled=True)
    assert found[["role", "label"]].to_numpy().tolist() == [["champion", 840], ["shadow", 840]]
    assert found["observed_at"][0] == NOON
    assert list(read(database, ALWAYS)["label"].isna()) == [False, False, True]


def test_nothing_is_an_empty_table(database: Database) -> None:
    found = read(database, ALWAYS)
    assert found.empty and found["label"].dtype == "float64" and len(found.columns) == 20
    assert streamed(database) == []


def test_the_share_of_labels_is_that_of_the_newest_and_of_those_before(
    project: Project, database: Database
) -> None:
    assert labelled_share(database, MODEL.digest, at(NOON), 1) == (1, 0)
    write(project, predicted(4, ids=[at(NOON, number) for number in range(4)]))
    add(database, [Label(at(NOON, number), 1) for number in (0, 2)])
    assert labelled_share(database, MODEL.digest, at(NOON, 2), 1) == (1, 0.5)
