"""The cards of a model: what it is for and how good it is, and what it was made from.

Every statement in them repeats the contract, the settings, a report of the stages or the registration
record. What is missing there is an error, never an empty field.
"""

from typing import Any

from mlref.core import settings
from mlref.core.contract import load
from mlref.core.storage import Project, digest, read_json, replacing
from mlref.registry.datasheet import datasheet
from mlref.registry.model_card import model_card
from mlref.registry.reports import Report

LIMIT = 5000
"""Characters of a description that a database of MLflow 3.17 holds."""
REST = "\n\nThe rest is in `cards/model-card.md` among the artifacts of the run.\n"


def write(project: Project, record: dict[str, Any]) -> None:
    """Write the cards of the bundle of this clone to reports/cards/."""
    texts = cards(project, record)
    with replacing(project.cards) as fresh:
        fresh.mkdir()
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8")


def cards(project: Project, record: dict[str, Any] | None = None) -> dict[str, str]:
    """Text of each card, by the name of its file.

    Parameters
    ----------
    record : dict, optional
        ``digest``, ``commit``, ``gate`` and ``libraries`` of the registration; without it the cards
        follow from the committed files alone.

    Raises
    ------
    MlrefError
        Names the file, or the figure in it, that is missing.
    """
    contract, knobs = load(project.contract), settings.load(project.params)
    metrics, profile, tuning = (
        Report(read_json(path), path.name)
        for path in (project.metrics, project.profile, project.tuning)
    )
    made = None if record is None else Report(record, "The registration record")
    about = digest(project.contract)
    return {
        "model-card.md": model_card(contract, about, knobs, metrics, profile, tuning, made),
        "datasheet.md": datasheet(contract, knobs, profile, metrics["rows"]),
    }


def brief(card: str) -> str:
    """As many whole sections of a card as a description in MLflow holds."""
    if len(card) <= LIMIT:
        return card
    return card[: LIMIT - len(REST)].rpartition("\n\n## ")[0] + REST
