"""Cards say only what a file says, leave nothing empty, and name what is missing."""

import re
from pathlib import Path
from typing import Any

import pytest

from mlref.bundle.store import Store
from mlref.core.digits import interval
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, read_json, write_json
from mlref.registry.cards import LIMIT, brief, cards, write
from tests.fakes import CONTRACT, CONTRACT_TEXT
from tests.projects import NULLABLE_TEXT

EMPTY = re.compile(
    r"\| *\||: *$|\*\*\s*\*\*|``|^- *$|\bNone\b|\bnan\b|(^#[^\n]*\n+)(?=#|\Z)|\(\)|\n\n\n",
    re.MULTILINE,
)
"""A cell, a field after a colon, bold or code text, a bullet, a section without content; a gap."""
FOUND = {"value": 5.0, "lower": 1.0, "upper": 9.0}
SOURCE = "{kind: file, path: data/source/rents.csv}"


def empty(card: str) -> list[str]:
    """Places of a card where something is missing; a line that ends in a colon announces what follows."""
    return [match[0] for match in EMPTY.finditer(re.sub(r":\n\n(?=[|-])", ".\n\n", card))]


def card_with(project: Project, **metrics: Any) -> str:
    """The model card after parts of metrics.json were replaced."""
    write_json(project.metrics, read_json(project.metrics) | metrics)
    return cards(project)["model-card.md"]


def test_no_card_has_an_empty_field(registered: Project) -> None:
    for text in ("| a |  |", "Licence: \n", "- \n", "**Users.** None", "## A\n\n## B\n\nx", "``"):
        assert empty(f"# Card\n\nText.\n\n{text}"), text
    for name, card in cards(registered).items():
        written = (registered.cards / name).read_text(encoding="utf-8")
        assert empty(written) == empty(card) == []
        assert "Monthly rents" in written


def test_a_contract_that_declares_little_has_no_empty_field_either(project: Project) -> None:
    lines = CONTRACT_TEXT.splitlines()
    plain = [line for line in lines if not re.match(r" +(unit|expected):", line)]
    project.contract.write_text("\n".join(plain))
    nothing = {key: {} for key in ("slices", "promises", "fairness", "features", "ladder")}
    write_json(project.metrics, read_json(project.metrics) | nothing)
    write_json(project.tuning, read_json(project.tuning) | {"parameters": {}})
    assert not any(map(empty, [*cards(project).values(), brief(project, 10.0)]))


def test_the_model_card_says_what_the_files_say(registered: Project) -> None:
    card = (registered.cards / "model-card.md").read_text(encoding="utf-8")
    (record,) = Store(registered.store).records()
    for text in (
        "Examples in tests.", "Readers of the tests.", "- Real rents.", "- No home is real.",
        "`elastic_net` with alpha 0.01, l1_ratio 0.5: the best of those that beat every simpler candidate",
        "On the 30 rows of the test set", f"| elastic_net | {interval(record['metrics']['rmse'])} |",
        "| single_feature |", "promise to hold 90%", "**promote**", record["gate"]["reasons"][0],
        record["data"], record["contract"], record["digest"], "Commit: *not recorded*", "**Warning.**",
        f"scikit-learn {record['libraries']['scikit-learn']}",
    ):  # fmt: skip
        assert text in card, text
    plain = cards(registered)["model-card.md"]
    for text in ("Verdict of the gate", "Commit:", "Packages:", record["digest"]):
        assert text not in plain, "nothing that changes between equal runs"


def test_what_an_older_record_lacks_is_not_recorded(project: Project) -> None:
    write(project, {"digest": "0" * 64, "commit": "a" * 40})
    card = (project.cards / "model-card.md").read_text(encoding="utf-8")
    assert card.count("*not recorded*") == 2
    assert empty(card) == []


@pytest.mark.parametrize(
    ("report", "place"),
    [
        ("metrics", ["rmse", "lower"]), ("metrics", ["promises", 0, "worst"]),
        ("profile", ["columns", "area", "quantiles", "0.5"]), ("tuning", ["rule"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_is_missing_in_a_report_is_named(
    project: Project, report: str, place: list[Any]
) -> None:
    path: Path = getattr(project, report)
    content = part = read_json(path)
    for key in place[:-1]:
        part = part[key]
    del part[place[-1]]
    write_json(path, content)
    with pytest.raises(MlrefError, match=f"a report lacks a value: .*'{place[-1]}'.* `make train`"):
        cards(project)
        brief(project, 10.0)


def test_a_report_that_is_missing_leaves_the_earlier_cards(project: Project) -> None:
    project.cards.mkdir()
    (project.cards / "model-card.md").write_text("before")
    project.profile.unlink()
    with pytest.raises(MlrefError, match=r"profile.json cannot be read .* Run `make train`"):
        write(project, {})
    assert [file.name for file in project.cards.iterdir()] == ["model-card.md"]


@pytest.mark.parametrize("issues", [1, 40])
def test_the_description_of_a_version_is_short_whole_and_without_tables(
    project: Project, issues: int
) -> None:
    more = "".join(f"{'Trouble ' * 30}{number}., " for number in range(issues))
    text = project.contract.read_text()
    project.contract.write_text(text.replace("known_issues: [", f"known_issues: [{more}"))
    card = brief(project, 12.34)
    assert len(card) <= LIMIT and "|" not in card
    for words in ("Examples in tests.", "RMSE", "12.3 euro wide", "sensitive", "30 rows"):
        assert words in card
    assert ("more known issues are in the model card" in card) == (issues == 40)
    assert card.endswith("`cards/model-card.md` among the artefacts of the run.\n")


def test_the_model_card_shows_what_was_measured(project: Project) -> None:
    promise = {"promise": "a | b", "passed": False, "broken": 4, "worst": None, "tolerance": 0.0}
    held = {"value": 0.875, "lower": 0.5, "upper": 0.975}
    card = card_with(
        project, slices={"heating = wood": {"rows": 3, "judged": False}}, promises=[promise],
        thirds={"low": held | {"rows": 8, "width": 123.4}}, reliability={"0.5": held},
        cross_validated=FOUND | {"rows": 90, "difference": -2.0, "by_chance": 4.5},
        features=dict.fromkeys(CONTRACT.names, FOUND),
    )  # fmt: skip
    assert f"| heating = wood | 3 |{' too few to judge |' * 3}" in card
    assert r"| a \| b | **no** | 4 | not a number | 0 |" in card
    assert "| low third | 8 | 123 | 87.5% [50.0%, 97.5%] |" in card
    assert "| 50% | 87.5% [50.0%, 97.5%] |" in card
    assert "RMSE is 5.00 [1.00, 9.00]. The test set differs from it by -2, where chance" in card
    assert "| area | 5.00 [1.00, 9.00] |" in card
    assert "What each feature is worth" not in card_with(project, features={})


def test_groups_of_a_sensitive_feature_are_compared(project: Project) -> None:
    text = project.contract.read_text()
    sensitive = "    example: oil\n    sensitive: true\n"
    project.contract.write_text(text.replace("    example: oil\n", sensitive))
    judged: dict[str, Any] = {
        "judged": True, "groups": {"heating = gas": 12, "heating = oil": 11},
        "differences": {"rmse": FOUND | {"by_chance": 4.5, "visible": 9.25}},
    }  # fmt: skip
    unjudged = {"judged": False, "reason": "The contract has no slice of it."}
    card = card_with(project, fairness={"heating": judged, "area": unjudged})
    assert "The model is given sensitive features: Heating." in card
    assert "heating (heating = gas: 12 rows, heating = oil: 11 rows):" in card
    assert "| RMSE | 5.00 [1.00, 9.00] | 4.5 |" in card
    assert "area is not judged. The contract has no slice of it." in card
    assert "RMSE differs between the groups of heating." in brief(project, 10.0)
    judged["differences"] = {"rmse": FOUND | {"by_chance": 7, "visible": 9}}
    card_with(project, fairness={"heating": judged})
    assert "differs by no more than chance explains" in brief(project, 10.0)


@pytest.mark.parametrize(
    ("text", "becomes", "words"),
    [
        (SOURCE, SOURCE, "Source: the file `data/source/rents.csv`"),
        (SOURCE, "{kind: scikit-learn, loader: load_diabetes, options: {scaled: false}}",
         "Source: `sklearn.datasets.load_diabetes(scaled=False)`"),
        (SOURCE, '{kind: sql, url_from: RENTS_URL, query: "select *\\nfrom rents"}',
         "Source: the database that `RENTS_URL` names: `select * from rents`"),
        ("slices:", "split: {by: group, column: house}\nslices:",
         "A hash of `house` and of the seed 4 decides the side."),
        ("slices:", "split: {by: time, column: house}\nslices:",
         "The test set is the last rows by `house`."),
    ],
    ids=["file", "scikit-learn", "database without its address", "group", "time"],
)  # fmt: skip
def test_the_datasheet_names_the_source_and_by_what_rows_are_divided(
    project: Project, text: str, becomes: str, words: str
) -> None:
    project.contract.write_text(project.contract.read_text().replace(text, becomes))
    assert words in cards(project)["datasheet.md"]


def test_the_datasheet_declares_and_measures_every_column(project: Project) -> None:
    text = NULLABLE_TEXT.replace("target:\n", "identity: [flat, house]\ntarget:\n")
    text = text.replace("example: 70.5", "example: 70.5\n    error: 0.25")
    project.contract.write_text(text.replace("example: oil", "example: oil\n    sensitive: true"))
    profile = read_json(project.profile)
    profile["columns"]["balcony"] = {"null_share": 1.0}
    write_json(project.profile, profile)
    write_json(project.metrics, read_json(project.metrics) | {"slices": {}, "promises": []})
    sheet = cards(project)["datasheet.md"]
    shares = profile["columns"]["heating"]["shares"]
    for words in (
        "120 rows: 90 to train on, 30 in the test set.", "A row is named by flat, house, and copies",
        "A hash of that name and of the seed 4 decides the side. The share of the test set is 25.0%;",
        "Sensitive: Heating.", profile["data"],
        "| `area` | Area | Living area. | number | a number from 5 to 1000 (m²) | 20 to 300 | 0.25 | no |",
        f"gas: {shares['gas']:.1%}, oil: {shares['oil']:.1%}", "| `balcony` | 100.0% | no value |",
    ):  # fmt: skip
        assert words in sheet, words
