"""Tables for a terminal: versions, the audit trail, a decision, the end of a registration."""

import datetime
import io
from typing import Any

import pytest
from rich.console import Console

from mlref.bundle.store import Store
from mlref.core.digits import interval
from mlref.core.storage import Project
from mlref.registry import audit, tables

NOW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)


def shown(renderable: Any, width: int = 300) -> list[str]:
    """Lines on a terminal of a width."""
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_every_version_is_listed_newest_first(three: Project) -> None:
    store = Store(three.store)
    head, rows = tables.models(store, NOW)
    assert head == ["version", "alias", "model", "RMSE", "verdict", "made", "bundle"]
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["version"] for row in cells] == ["3", "2", "1"]
    assert [row["alias"] for row in cells] == ["challenger", "", "champion"]
    assert [row["verdict"] for row in cells] == ["block", "keep", "promote"]
    first = store.records()[0]
    assert cells[-1]["RMSE"] == interval(first["metrics"]["rmse"])
    assert (cells[-1]["made"], cells[-1]["bundle"]) == ("3 d", first["digest"][:8])


@pytest.mark.parametrize("width", [60, 80, 160])
def test_trail_and_decision_fit_the_terminal(three: Project, width: int) -> None:
    store = Store(three.store)
    gate = store.records()[-1]["gate"]
    for renderable in (tables.trail(store), tables.explanation(gate)):
        lines = shown(renderable, width)
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)


def test_the_trail_says_when_with_a_zone_who_what_and_why(project_of_three: Project) -> None:
    store = Store(project_of_three.store)
    audit.note(store, "promote", store.records()[1], "planted", forced=True)
    *_, entry, reason = shown(tables.trail(store), 1000)
    assert entry.endswith("  promote (forced)  version 2") and reason == "    planted"
    datetime.datetime.strptime(entry[:20], "%Y-%m-%d %H:%M:%SZ")


def test_a_decision_is_explained_check_by_check(three: Project) -> None:
    gate = Store(three.store).records()[-1]["gate"]
    title, *lines = shown(tables.explanation(gate), 1000)
    assert title == "Verdict: block"
    for check, line in zip(gate["checks"], lines, strict=True):
        mark, name, reason = line.split(maxsplit=2)
        assert (mark, name) == (tables.MARKS[check["verdict"]], check["name"])
        assert reason == check["reason"]


def test_a_registration_ends_with_metrics_verdict_warning_and_the_next_command(
    registered: Project,
) -> None:
    (record,) = Store(registered.store).records()
    assert "version 1 (challenger)" in tables.headline(record, champion=False)
    head, rows = tables.evaluation(record | {"model": "a_name_that_is_longer_than_a_column"})
    assert head == ["30 rows of the test set", "RMSE", "MAE"]
    assert [row[0].strip() for row in rows][1:] == ["mean", "single_feature"]
    said = tables.advice(record, champion=True)
    assert "Verdict: promote" in said and record["gate"]["reasons"][-1] in said
    assert "no champion yet" not in said
    assert "Warning: The commit of this model is not recorded: git refuses to answer" in said
    assert said.endswith("\n\nNext: make serve")
    again = tables.advice(record, champion=True, reasons=False)
    assert "Verdict" not in again
    assert "`mlref audit` says by whom" in tables.advice(record, champion=False)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "now"), (60, "1 min"), (7300, "2 h"), (9e5, "10 d")]
)
def test_an_age_is_said_in_its_largest_unit(seconds: int, said: str) -> None:
    assert tables.age(datetime.timedelta(seconds=seconds)) == said
