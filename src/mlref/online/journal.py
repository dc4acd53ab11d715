"""What the learner keeps: a journal of the events that it took, and a checkpoint of what it made of them.

The journal is the truth. Each run learns it again, so that a crash loses nothing but the batch that was being
written, and a checkpoint that is lost or cut off is written anew.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlref.core.errors import EnvironmentFault, MlrefError, NotReproduced
from mlref.core.storage import to_json, write_bytes
from mlref.registry.learned import Event, read

DIGITS = 17
"""Of a float in a checkpoint: all that it has."""


class Journal:
    """The files of the learner of one champion.

    Parameters
    ----------
    folder : Path
        Of this champion alone.
    head : dict
        ``champion``, the digest of the model that it began from, and ``settings``.

    Raises
    ------
    MlrefError
        When the journal is of another champion, or of other settings.
    """

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.path, self.checkpoint = folder / "journal.jsonl", folder / "checkpoint.json"
        self.head, self.events, content = head, list[Event](), b""
        if self.path.is_file() and b"\n" in (content := self.path.read_bytes()):
            kept, events = read(self.path)
            if kept != head:
                other = ("champion", "settings")[kept["champion"] == head["champion"]]
                raise MlrefError(
                    f"{self.path} is of another {other} ({kept[other]}), so nothing is learned. Go back to"
                    f" {head[other]}'s, or move the folder away to begin again."
                )
            batch = head["settings"]["batch"]
            self.events = events[: len(events) // batch * batch]
        whole = content.splitlines(keepends=True)[: len(self.events) + 1]
        self._bytes, self._hash = len(b"".join(whole)), hashlib.sha256(b"".join(whole))

    def add(self, events: Sequence[Event], state: dict[str, Any]) -> None:
        """Append whole batches, and write the checkpoint.

        Raises
        ------
        EnvironmentFault
            When the disk refuses; the next run goes on after the last whole batch.
        """
        lines = [msgspec.json.encode(tuple(event)) for event in events]
        content = b"".join(
            line + b"\n" for line in [msgspec.json.encode(self.head)] * (not self._bytes) + lines
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(self._bytes)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EnvironmentFault(f"{self.path} cannot be written", error) from error
        self.events += events
        self._bytes += len(content)
        self._hash.update(content)
        self.check(state)

    def check(self, state: dict[str, Any]) -> None:
        """Write the checkpoint of this journal: the state, how far it read, a digest of what was learned.

        Raises
        ------
        NotReproduced
            When there is another one of the same journal.
        """
        about = (
            {"cursor": self.events[-1].seq, "journal": self._hash.hexdigest()}
            if self.events
            else {}
        )
        sealed = to_json(state | self.head | about, DIGITS)
        kept = self.checkpoint.read_bytes() if self.checkpoint.is_file() else b""
        if kept.endswith(b"}\n") and self._hash.hexdigest().encode() in kept and kept != sealed:
            raise NotReproduced(f"{self.checkpoint} says something else than its journal", [])
        if kept != sealed and self.events:
            write_bytes(self.checkpoint, sealed)
