"""What the learner keeps for a champion: a journal of events, and a checkpoint after each block of them.

The journal is the truth and the checkpoint a shortcut: events behind the checkpoint were cut off by a
crash and are read from the log again, and a checkpoint that is lost or broken is made again from the
journal.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.storage import to_json, write_bytes
from mlref.registry.learned import Event, read

DIGITS = 17
"""Of a float in a checkpoint: all that it has."""


class Journal:
    """The files of one learner.

    Parameters
    ----------
    folder : Path
        Of this champion alone.
    head : dict
        ``champion``, the digest from whose weights it began, and ``settings``.

    Raises
    ------
    MlrefError
        When the files are of another champion, or of other settings.
    """

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.path, self.checkpoint = folder / "journal.jsonl", folder / "checkpoint.json"
        self._hash, self._bytes = hashlib.sha256(), 0
        self.head, self.state, self.events = head, dict[str, Any](), list[Event]()
        if self.path.is_file() and (content := self.path.read_bytes()).count(b"\n"):
            self._load(content, int(head["settings"]["batch"]))

    def _load(self, content: bytes, batch: int) -> None:
        kept, self.events = read(self.path)
        if kept["champion"] != self.head["champion"]:
            raise MlrefError(
                f"{self.path} is of another champion ({kept['champion']:.12}…), so nothing is learned."
                " Move it away to begin again."
            )
        if changed := [k for k, v in self.head["settings"].items() if kept["settings"].get(k) != v]:
            raise MlrefError(
                f"{self.path} was begun with other settings (online: {', '.join(sorted(changed))}). Set"
                " them back in config/params.yaml, or move the file away to begin again."
            )
        try:
            self.state = json.loads(self.checkpoint.read_bytes())
            length = self.state["bytes"]
            sound = self.state["journal"] == hashlib.sha256(content[:length]).hexdigest()
        except (OSError, ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            self.state, lines = {}, content.splitlines(keepends=True)
            whole = 1 + len(self.events) // batch * batch
            length = len(b"".join(lines[:whole]))
        self.events = self.events[: content[:length].count(b"\n") - 1]
        self._bytes = length
        self._hash.update(content[:length])

    def add(self, events: Sequence[Event], state: dict[str, Any]) -> None:
        """Append events, and then write the checkpoint that makes them count.

        Raises
        ------
        EnvironmentFault
            When the disk refuses; the next run goes on after the last checkpoint.
        """
        lines = b"" if self._bytes else to_json(self.head, DIGITS).replace(b"\n", b"") + b"\n"
        lines += b"".join(msgspec.json.encode(tuple(event)) + b"\n" for event in events)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(self._bytes)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EnvironmentFault(f"{self.path} cannot be written", error) from error
        self._bytes += len(lines)
        self._hash.update(lines)
        write_bytes(self.checkpoint, self.seal(state))

    def seal(self, state: dict[str, Any]) -> bytes:
        """A checkpoint: the state, and which journal it belongs to."""
        of = {
            "champion": self.head["champion"],
            "bytes": self._bytes,
            "journal": self._hash.hexdigest(),
        }
        return to_json(state | of, DIGITS)
