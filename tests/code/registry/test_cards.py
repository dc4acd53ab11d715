"""Cards say only what a file says, leave nothing empty, and name what is missing."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, read_json, write_json
from mlref.registry.cards import LIMIT, REST, brief, cards, write
from tests.fakes import CONTRACT_TEXT

EMPTY = re.compile(
    r"\| *\||: *$|\*\*\s*\*\*|``|^- *$|\bNone\b|\bnan\b|(^#[^\n]*\n+)(?=#|\Z)|\(\)", re.MULTILINE
)
"""A cell, a field after a colon, bold or code text, a bullet or a section without content."""


def empty(card: str) -> list[str]:
    """Places of a card where something is missing; a line that ends in a colon announces what follows."""
    announced = re.sub(r":\n\n(?=[|-])", ".\n\n", card)
    return [match[0] for match in EMPTY.finditer(announced)]


@pytest.mark.parametrize(
    "text",
    ["| a |  |", "Licence: \n", "- \n", "**Users.** None", "## A\n\n## B\n\nx", "# A\n", "``"],
)
def test_an_empty_field_is_seen(text: str) -> None:
    """Or the tests below could not fail."""
    assert empty(f"# Card\n\nText.\n\n{text}")


@pytest.mark.parametrize("name", ["model-card.md", "datasheet.md"])
def test_a_card_of_any_contract_has_no_empty_field(registered: Project, name: str) -> None:
    """Nor does the one that is made without a registration."""
    written = (registered.cards / name).read_text(encoding="utf-8")
    assert empty(written) == empty(cards(registered)[name]) == []
    assert "Monthly rents" in written


@pytest.mark.parametrize("name", ["model-card.md", "datasheet.md"])
def test_a_contract_that_declares_no_more_than_it_must_has_no_empty_field_either(
    project: Project, name: str
) -> None:
    """No slice, promise, identity, unit, usual range or sensitive column."""
    lines = CONTRACT_TEXT.splitlines()
    plain = [line for line in lines if not re.match(r" +(unit|expected):", line)]
    project.contract.write_text("\n".join(plain))
    nothing: dict[str, Any] = {"slices": {}, "promises": [], "fairness": {}, "features": {}}
    write_json(project.metrics, read_json(project.metrics) | nothing)
    assert empty(cards(project)[name]) == []


def test_the_model_card_says_what_the_files_say(registered: Project) -> None:
    """Purpose, figures, verdict, limits and origin."""
    card = (registered.cards / "model-card.md").read_text(encoding="utf-8")
    (record,) = Store(registered.store).records()
    rmse = record["metrics"]["rmse"]
    for text in (
        "Examples in tests.", "Readers of the tests.", "- Real rents.", "- No home is real.",
        "`elastic_net` with alpha 0.01, l1_ratio 0.5: the simplest candidate within one standard error",
        "On 30 held-out rows", "95% bootstrap intervals",
        f"| elastic_net | {rmse['value']:.3g} [{rmse['lower']:.3g}, {rmse['upper']:.3g}] |",
        "| single_feature |", "promise to hold 90%", "**promote**", record["gate"]["reasons"][0],
        record["data"], record["contract"], record["digest"], "Commit: none, outside of git",
        f"scikit-learn {record['libraries']['scikit-learn']}",
    ):  # fmt: skip
        assert text in card, text


def test_without_a_registration_a_card_has_nothing_that_changes_between_equal_runs(
    registered: Project,
) -> None:
    """Neither verdict nor commit nor packages; it says where they are."""
    card = cards(registered)["model-card.md"]
    (record,) = Store(registered.store).records()
    for text in (
        "Verdict of the gate",
        "Commit:",
        "Packages:",
        record["digest"],
        record["created"],
    ):
        assert text not in card, text
    assert "`mlref lineage champion`" in card


def paths(value: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    """The path to every key of nested mappings and lists."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            yield *before, key
        if isinstance(item, dict | list):
            yield from paths(item, *before, key)


ENTRIES = {"slices", "baselines", "ladder", "shares", "parameters"}
"""Mappings of any number of entries, each a line of its own."""


@pytest.mark.parametrize(("report", "used"), [("metrics", 60), ("profile", 20), ("tuning", 3)])
def test_a_figure_that_is_missing_is_named(project: Project, report: str, used: int) -> None:
    """Each key of each report is planted as missing: it is named, or the cards never used it."""
    path: Path = getattr(project, report)
    whole, before, named = read_json(path), cards(project), 0
    for place in paths(whole):
        *parents, last = place
        if parents and parents[-1] in ENTRIES:
            continue
        planted = copy.deepcopy(whole)
        part = planted
        for key in parents:
            part = part[key]
        del part[last]
        write_json(path, planted)
        try:
            assert cards(project) == before, place
        except MlrefError as error:
            assert str(error).startswith(path.name) and f" has no {last!r}. " in str(error), place
            named += 1
    assert named >= used


@pytest.mark.parametrize("report", ["metrics", "profile", "tuning"])
def test_a_report_that_is_missing_is_named(project: Project, report: str) -> None:
    """And no card is written; those that were there stay."""
    project.cards.mkdir()
    (project.cards / "model-card.md").write_text("before")
    path: Path = getattr(project, report)
    path.unlink()
    with pytest.raises(MlrefError, match=rf"{path.name} cannot be read .* Run `make train`"):
        write(project, {})
    assert [file.name for file in project.cards.iterdir()] == ["model-card.md"]


def test_a_registration_without_a_verdict_is_named(project: Project) -> None:
    """No card of a registered model leaves it out."""
    with pytest.raises(MlrefError, match="^The registration record has no 'gate'"):
        write(project, {"digest": "0" * 64, "commit": None, "libraries": {}})


def test_a_long_card_is_cut_between_sections() -> None:
    """A database behind MLflow takes no longer description; it says where the rest is."""
    sections = [f"## Section {number}\n\n{'text ' * 150}" for number in range(10)]
    card = "# Card\n\n" + "\n\n".join(sections)
    short = brief(card)
    assert LIMIT - 1000 < len(short) <= LIMIT
    assert short.endswith(REST)
    assert card.startswith(short.removesuffix(REST))
    assert short.removesuffix(REST).endswith("text ")
    assert brief("# Short card\n") == "# Short card\n"
