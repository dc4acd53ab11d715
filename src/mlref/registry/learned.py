"""The journal of a model that learned after its training: labelled predictions in their order.

The first line names the model that it began from and its settings; then each line is an event, a JSON list.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mlref.core.errors import MlrefError


class Event(NamedTuple):
    """A label as the learner took it.

    Parameters
    ----------
    seq : int
        Its number in the log.
    id, name : str
        Of the prediction, and of its row (``tables.row_ids``).
    row : list of float or None
        The encoded features.
    champion, label : float
        What was answered, and ground truth, in the unit of the target.
    source : str
        Who sent it.
    received : float
        When, in seconds since 1970.
    why : str
        Why it was not learned; empty where it was.
    again : bool
        Whether it corrects a label that was learned.
    scored : float or None
        The learner's prediction before it learned the row; None where it knew the row.
    """

    seq: int
    id: str
    name: str
    row: list[float | None]
    champion: float
    label: float
    source: str
    received: float
    why: str = ""
    again: bool = False
    scored: float | None = None


def read(journal: Path) -> tuple[dict[str, Any], list[Event]]:
    """Read what a journal began from, and its events; a line that a crash cut off ends it.

    Raises
    ------
    MlrefError
        When it is no journal.
    """
    lines = journal.read_bytes().split(b"\n")[:-1]
    try:
        head = dict(json.loads(lines[0]))
        return head, [Event(*json.loads(line)) for line in lines[1:]]
    except (ValueError, TypeError, IndexError) as error:
        raise MlrefError(f"{journal} is no journal of a learner: {error}") from error


def source(journal: Path) -> str:
    """The digest of the model that the learner began from."""
    return str(read(journal)[0]["champion"])


def scored(journal: Path) -> dict[str, float]:
    """By the names of the rows that were learned, what was predicted before; empty without a journal."""
    events = read(journal)[1] if journal.is_file() else []
    return {e.name: e.scored for e in events if not e.why and e.scored is not None}
