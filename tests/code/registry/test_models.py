"""Tables for a terminal: versions, the audit trail, a decision."""

import datetime
import io
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from mlref.bundle.store import Store
from mlref.core.errors import GateBlocked
from mlref.core.storage import Project
from mlref.registry import audit, register
from mlref.registry.models import age, explanation, models, trail
from tests.projects import Rivals, adopt

NOW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)


def shown(table: Table, width: int = 300) -> list[str]:
    """Lines of a table on a terminal of a width."""
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.fixture
def two(published: Project, rivals: Rivals, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A champion, and a worse challenger."""
    monkeypatch.setattr("mlref.registry.publish.draw", lambda *_: [])
    adopt(published, rivals["worse"])
    with pytest.raises(GateBlocked):
        register.run(published)
    return Store(published.store)


def test_every_version_is_listed_newest_first(two: Store) -> None:
    """With aliases, figures and their intervals, verdict, age and digest."""
    header, second, first = shown(models(two, NOW))
    assert header.split() == [
        "version", "alias", "model", "RMSE", "verdict", "made", "bundle",
    ]  # fmt: skip
    assert second.split()[:3] == ["2", "challenger", "ridge"] and "block" in second
    assert first.split()[:3] == ["1", "champion", "elastic_net"] and "promote" in first
    found = two.records()[0]["metrics"]["rmse"]
    assert "{value:.1f} [{lower:.1f}, {upper:.1f}]".format(**found) in first
    assert first.split()[-3:] == ["3", "d", two.records()[0]["digest"][:8]]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_tables_fit_the_terminal(two: Store, width: int) -> None:
    """No line is longer, and no word is cut off."""
    (gate,) = [record["gate"] for record in two.records() if record["version"] == "2"]
    for table in (models(two, NOW), trail(two), explanation(gate)):
        lines = shown(table, width)
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)
    said = " ".join(shown(models(two, NOW), width))
    assert all(
        word in said
        for word in ("champion", "challenger", "elastic_net", two.records()[0]["digest"][:8])
    )


def test_the_trail_is_listed_oldest_first(two: Store) -> None:
    """With who, what and why; what overruled the gate is marked."""
    audit.note(two, "promote", two.records()[1], "planted", forced=True)
    _, first, *rest = shown(trail(two), 1000)
    assert " promote " in first and "There is no champion yet." in first
    assert "promote (forced)" in rest[-1] and rest[-1].endswith("planted")


def test_a_decision_is_explained_check_by_check(two: Store) -> None:
    """Each with what it asks for, and its sentence."""
    gate: dict[str, Any] = two.records()[1]["gate"]
    title, _, *lines = shown(explanation(gate))
    assert title == "Verdict: block"
    marks = dict(zip(("✔", "–", "✘"), ("promote", "keep", "block"), strict=True))
    seen = [(line.split()[0], marks[line.split()[1]]) for line in lines]
    assert seen == [(check["name"], check["verdict"]) for check in gate["checks"]]
    assert all(check["reason"] in line for check, line in zip(gate["checks"], lines, strict=True))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (60, "1 min"), (7300, "2 h"), (9e5, "10 d")],
)
def test_an_age_is_said_in_its_largest_unit(seconds: int, said: str) -> None:
    """Rounded down."""
    assert age(datetime.timedelta(seconds=seconds)) == said
