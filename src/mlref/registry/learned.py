"""The journal of a model that learned after its training: labelled predictions in their order.

The first line names the model that it began from and its settings; then each line is an event, a JSON list.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlref.core.errors import MlrefError
from mlref.core.storage import write_bytes


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
    scored: float | None = None


def write(journal: Path, head: dict[str, Any], events: Sequence[Event]) -> None:
    """Replace a journal.

    Raises
    ------
    EnvironmentFault
        When the disk refuses; the journal is then as it was.
    """
    encode = msgspec.json.Encoder().encode
    write_bytes(journal, b"".join(encode(line) + b"\n" for line in (head, *events)))


def read(journal: Path) -> tuple[dict[str, Any], list[Event]]:
    """Read what a journal began from, and its events.

    Raises
    ------
    MlrefError
        When it is no journal.
    """
    head, _, lines = journal.read_bytes().partition(b"\n")
    try:
        events = msgspec.json.Decoder(Event).decode_lines(lines)
        return msgspec.json.decode(head, type=dict[str, Any]), events
    except msgspec.DecodeError as error:
        raise MlrefError(f"{journal} is no journal of a learner: {error}") from error


def source(journal: Path) -> str:
    """The digest of the model that the learner began from."""
    return str(read(journal)[0]["champion"])


def scored(journal: Path) -> dict[str, float]:
    """By the names of the rows that were learned, what was predicted before; empty without a journal."""
    events = read(journal)[1] if journal.is_file() else []
    return {e.name: e.scored for e in events if not e.why and e.scored is not None}
