"""Reading the log: predictions with their labels, of a period and a model; refusals by reason."""

import numpy as np
import pytest

from mlref.prediction_log.database import Database
from mlref.prediction_log.feedback import add
from mlref.prediction_log.labels import Label
from mlref.prediction_log.reader import Period, read, refusals
from mlref.prediction_log.records import Model
from tests.code.prediction_log.records import ALWAYS, HOUR, NOON, at, predicted, refused
from tests.code.prediction_log.test_sink import write
from tests.fakes import CONTRACT

OTHER = Model("4", "07he2", CONTRACT)


def test_predictions_come_with_their_features_and_labels(database: Database) -> None:
    """Two frames with the same rows."""
    write(database, predicted(2, ids=[at(NOON, 1), at(NOON, 2)], latency=0.5, subjects=["a", None],
                              unusual=np.eye(2, 4, dtype=bool)))  # fmt: skip
    add(database, [Label(at(NOON, 2), 850, NOON + HOUR)])
    predictions, features = read(database, ALWAYS)
    assert features.to_dict("records") == [
        {"area": 70.5, "rooms": 3, "heating": "oil", "balcony": None}
    ] * 2  # fmt: skip
    assert list(predictions["value"]) == [100, 101]
    assert list(predictions["label"].fillna(-1)) == [-1, 850]
    assert list(predictions["warnings"]) == [["area"], ["rooms"]]
    assert predictions["at"].iloc[0] == NOON and predictions["observed_at"].iloc[1] == NOON + HOUR
    assert predictions.columns.tolist() == [
        "id", "role", "at", "source", "version", "digest", "value", "lower", "upper", "warnings",
        "latency", "request_id", "subject", "label", "observed_at",
    ]  # fmt: skip


def test_a_period_has_its_start_and_not_its_end(database: Database) -> None:
    """So that periods side by side have each row once."""
    for hours in range(4):
        write(database, predicted(ids=[at(NOON + hours * HOUR)]))
    found = read(database, Period(NOON + HOUR, NOON + 3 * HOUR)).predictions
    assert list(found["id"]) == [at(NOON + HOUR), at(NOON + 2 * HOUR)]


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        ({}, [100, 101, 102, 103]),
        ({"version": "4"}, [101]),
        ({"digest": "d1ge57"}, [100, 102, 103]),
        ({"role": "shadow"}, [102]),
        ({"role": "champion", "source": "serve"}, [100, 101]),
        ({"source": "batch"}, [103]),
        ({"subject": "a"}, [100]),
        ({"subject": "' OR '1'='1"}, []),
        ({"version": "4'; DROP TABLE predictions; --"}, []),
    ],
)
def test_only_what_is_wanted_is_read(
    database: Database, wanted: dict[str, str], values: list[float]
) -> None:
    """By model, role, source or subject, whatever text that is."""
    different = [{"subjects": ["a"]}, {"model": OTHER}, {"role": "shadow"}, {"source": "batch"}]
    for number, fields in enumerate(different):
        value = np.array([100.0 + number])
        write(database, predicted(ids=[at(NOON, number)], value=value, **fields))
    assert list(read(database, ALWAYS, **wanted).predictions["value"]) == values  # type: ignore[arg-type]


def test_a_label_judges_the_champion_and_its_shadow(database: Database) -> None:
    """They have one id."""
    champion = predicted()
    write(database, champion, champion._replace(role="shadow"))
    add(database, [Label(champion.ids[0], 850)])
    found = read(database, ALWAYS).predictions
    assert list(zip(found["role"], found["label"], strict=True)) == [
        ("champion", 850), ("shadow", 850),
    ]  # fmt: skip


def test_a_period_without_predictions_is_an_empty_table(database: Database) -> None:
    """With its columns, and their types."""
    predictions, features = read(database, ALWAYS)
    assert (len(predictions), len(features), len(predictions.columns)) == (0, 0, 15)
    assert str(predictions["label"].dtype) == "float64"
    assert "UTC" in str(predictions["at"].dtype)


def test_refusals_are_counted_by_column_and_reason(database: Database) -> None:
    """The most frequent first, over all batches of the period."""
    write(database, refused("area", "area", "rooms"), predicted())
    write(database, refused("area", None))
    found = refusals(database, ALWAYS)
    counted = zip(found["column"].fillna("-"), found["reason"], found["count"], strict=True)
    first, *others = counted
    assert first == ("area", "allowed: something else", 3)
    assert sorted(others) == [
        ("-", "allowed: something else", 1), ("rooms", "allowed: something else", 1),
    ]  # fmt: skip
    assert refusals(database, Period(NOON - HOUR, NOON)).empty
