"""The audit trail: who changed what when, and why; lines of JSON that are added and never changed."""

import datetime
import getpass
import json
import os
from typing import Any

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault

FILE = "audit.jsonl"
"""In the bundle store."""


def note(
    store: Store, action: str, record: dict[str, Any], reason: str, forced: bool = False,
    since: str | None = None,
) -> None:  # fmt: skip
    """Add a line; it is on the disk before the change that it tells of.

    After a crash between the two, the same command again leaves one line: an entry that repeats the last
    one is not written.

    Parameters
    ----------
    action : str
        The verdict about a model (``promote``, ``keep``, ``block``), ``rollback``, or ``retrain``.
    record : dict
        The model's registration record, of which ``version`` and ``digest`` are noted.
    reason : str
        For people.
    forced : bool
        Whether a person overruled the gate.
    since : str, optional
        The time of a change of concept after which the rows were compared.
    """
    entry = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "who": getpass.getuser(), "action": action, "version": record["version"],
        "digest": record["digest"], "from": store.alias("champion"), "reason": reason,
        "forced": forced, "since": since,
    }  # fmt: skip
    last = read(store)[-1:]
    if last and all(
        last[0].get(key) == entry[key] for key in ("action", "digest", "from", "since")
    ):
        return
    path = store.folder / FILE
    try:
        torn = path.is_file() and not path.read_bytes().endswith(b"\n")
        with path.open("ab", buffering=0) as file:
            file.write(b"\n" * torn + json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            os.fsync(file.fileno())
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written", error) from error


def read(store: Store) -> list[dict[str, Any]]:
    """All entries, oldest first, without lines that a crash has cut off: their change was not made."""
    path = store.folder / FILE
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def looks(store: Store, digest: str, since: str | None = None) -> int:
    """How often somebody has looked at the test set, with this look: each model and TIME counts once.

    The more models were tried on the same rows, the luckier the best of them.
    """
    verdicts = ("promote", "keep", "block")
    entries = [entry for entry in read(store) if entry["action"] in verdicts]
    return len({(entry["digest"], entry.get("since")) for entry in entries} | {(digest, since)})


def earlier_champion(store: Store) -> str | None:
    """The digest of the champion before the present one; None where the trail knows none.

    A rollback takes back a promotion, so that the one after it goes back a step further.
    """
    reigns: list[str] = []
    for move in _moves(store):
        if move["action"] == "rollback":
            del reigns[-1:]
        elif move["digest"] not in reigns[-1:]:
            reigns.append(move["digest"])
    return reigns[-2] if len(reigns) > 1 else None


def reign(store: Store) -> dict[str, Any] | None:
    """The entry that made the present champion what it is; None where the trail knows none."""
    return next(reversed(_moves(store)), None)


def _moves(store: Store) -> list[dict[str, Any]]:
    """Promotions and rollbacks that were carried out."""
    moves = [entry for entry in read(store) if entry["action"] in ("promote", "rollback")]
    if moves and moves[-1]["digest"] != store.alias("champion"):  # noted, and then a crash came
        moves.pop()
    return moves
