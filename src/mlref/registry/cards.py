"""The cards of a model: what it is for and how good it is, and what it was made from.

Every statement in them repeats the contract, the settings, a report of the stages or the registration
record. What is missing in a report is an error, never an empty field; what an older record lacks is
printed as *not recorded*.
"""

from pathlib import Path
from typing import Any

import jinja2

from mlref.core import settings
from mlref.core.contract import load
from mlref.core.digits import interval, number
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, digest, read_json, replacing
from mlref.core.task import task_of
from mlref.registry.git import warning
from mlref.registry.tables import TITLES

LIMIT = 5000
"""Characters of a description that a database of MLflow 3.17 holds."""


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
        Names the metric that is missing, or the file that cannot be read.
    """
    known = _known(project) | {"record": record}
    return {name: _render(name, known) for name in ("model-card.md", "datasheet.md")}


def brief(project: Project, width: float) -> str:
    """The description of a registered version: a card that a database of MLflow can hold.

    Parameters
    ----------
    width : float
        Mean width of the prediction intervals on the test set, target units.
    """
    known = _known(project) | {"width": width}
    counts = range(len(known["contract"].known_issues), -1, -1)
    texts = (_render("description.md", known | {"shown": count}) for count in counts)
    return next(text for text in texts if len(text) <= LIMIT)


def _known(project: Project) -> dict[str, Any]:
    contract = load(project.contract)
    return {
        "contract": contract,
        "score": task_of(contract).title,
        "contract_digest": digest(project.contract),
        "settings": settings.load(project.params),
        "metrics": read_json(project.metrics),
        "profile": read_json(project.profile),
        "tuning": read_json(project.tuning),
    }


def _render(name: str, known: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= dict(interval=interval, number=number, percent=_percent, cell=_cell)
    environment.globals |= {"titles": TITLES, "warning": warning}
    try:
        return environment.get_template(f"{name}.jinja").render(known)
    except (jinja2.UndefinedError, KeyError) as error:
        raise MlrefError(
            f"{name} cannot be written, since a report lacks a value: {error}. Run `make train`."
        ) from error


def _percent(share: float, digits: int = 0) -> str:
    return f"{float(share):.{digits}%}"


def _cell(text: str) -> str:
    """Keep a ``|`` inside the cell of a table."""
    return text.replace("|", r"\|")
