"""What the learner keeps: a journal of the events that it took, and a checkpoint of what it made of them.

The journal is the truth. Each run learns it again, so that a crash loses nothing but the block that was being
learned, and a checkpoint that is lost or cut off is written anew.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlref.core.errors import MlrefError, NotReproduced
from mlref.core.storage import digest, to_json, write_bytes
from mlref.registry.learned import Event, read

DIGITS = 17
"""Of a float in a checkpoint: all that it has."""


def resume(journal: Path, head: dict[str, Any]) -> list[Event]:
    """Read the events that were taken from one champion's predictions, by these settings.

    Raises
    ------
    MlrefError
        When the journal is of another champion, or of other settings.
    """
    kept, events = read(journal) if journal.is_file() else (head, [])
    if kept != head:
        raise MlrefError(
            f"{journal} is of another champion or of other settings ({kept}), so nothing is learned. Go back"
            " to them, or move the folder away to begin again."
        )
    return events


def seal(journal: Path, state: dict[str, Any], events: Sequence[Event]) -> None:
    """Write the checkpoint of a journal: the state of the learner, and a digest of what was learned.

    Raises
    ------
    NotReproduced
        When there is another one of the same journal.
    """
    file, name = journal.with_name("checkpoint.json"), digest(journal)
    sealed = to_json(state | {"journal": name, "cursor": events[-1].seq}, DIGITS)
    kept = file.read_bytes() if file.is_file() else b""
    if kept.endswith(b"}\n") and name.encode() in kept and kept != sealed:
        raise NotReproduced(f"{file} says something else than its journal", [])
    write_bytes(file, sealed)
