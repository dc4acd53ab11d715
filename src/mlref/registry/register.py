"""Publish the trained model, ask the gate, set the aliases: the one step of training with memory.

It is idempotent: after a crash at any step, run it again. The bundle is written before its registration
record, and the audit trail before the champion's pointer. The challenger's pointer comes last; it means
that the decision was carried out. MLflow's aliases follow the pointers.
"""

import datetime
from collections.abc import Collection
from typing import Any, NamedTuple

from mlref.bundle.store import ALIASES, Store
from mlref.core import config, contract, settings
from mlref.core.errors import GateBlocked, SettingsError
from mlref.core.storage import Project, digest, locked, read_json, to_json, write_json
from mlref.registry import audit, git
from mlref.tracking import run_log
from mlref.tracking import store as tracking

Judged = tuple[dict[str, Any], Collection[str]]
"""A registration record, and the names of the rows that the model was trained on."""


class Since(NamedTuple):
    """A change of concept: when, and how it is known."""

    time: datetime.datetime
    because: str


def run(project: Project, since: Since | None = None) -> tuple[dict[str, Any], bool]:
    """Register the bundle of this clone; returns its record, and whether it is the champion.

    Parameters
    ----------
    since : Since, optional
        Compare with the champion on the rows after a change of concept.

    Raises
    ------
    GateBlocked
        When the gate refused the model. Everything is written before, unless the evaluation is not of
        this model and these rows: then nothing is.
    """
    store = Store(project.store)
    with locked(project.store / ".lock"):
        record = _decided(project, store, since)
        if record is None or not _complete(project, store, record):
            record = _register(project, store, record, since)
    champion = store.alias("champion") == record["digest"]
    if record["gate"]["verdict"] == "block" and not champion:
        raise blocked(store, record)
    return record, champion


def blocked(store: Store, record: dict[str, Any]) -> GateBlocked:
    """The refusal, with what to do where it leaves nothing to serve."""
    champion = store.alias("champion") is not None
    remedy = (
        "There is no champion to serve. `mlref register --explain` lists every check, reports/ has the"
        " evaluation"
    )
    if "version" in record:  # nothing is registered where the evaluation is of another model
        remedy += (
            f"; `mlref serve --model {record['version']}` serves this one all the same, to try it"
        )
    return GateBlocked(record["gate"]["reasons"], "" if champion else f"{remedy}.", champion)


def decision(project: Project, since: Since | None = None) -> dict[str, Any]:
    """What the gate has said about the bundle of this clone, or would say; nothing is changed.

    Returns
    -------
    dict
        The content of gate.json.
    """
    store = Store(project.store)
    record = _decided(project, store, since) or _judge(project, store, since)[0]
    return record["gate"]


def _judge(project: Project, store: Store, since: Since | None) -> Judged:
    from mlref.registry.comparison import judge  # takes seconds to import

    return judge(project, store, since and since.time)


def digest_of(project: Project) -> str:
    """The digest of the bundle that the stages made."""
    read_json(project.bundle / "MANIFEST.json")  # says what to run where there is none
    return digest(project.bundle / "MANIFEST.json")


def fingerprint(project: Project) -> str:
    """Digest of all that decides what is published where: bundle, evaluation, trials, limits, server."""
    limits = settings.load(project.params).gate.model_dump()
    files = (project.bundle / "MANIFEST.json", project.metrics, project.tuning)
    content = [to_json(read_json(file)).decode() for file in files]
    return digest(to_json([limits, content, tracking.server()]))


def sync_aliases(project: Project, store: Store) -> None:
    """Show the store's aliases in MLflow; the pointers in the store stay the truth."""
    aliases = {alias: name for alias in ALIASES if (name := store.alias(alias))}
    run_log.sync_aliases(project, contract.load(project.contract).name, aliases)


def _decided(project: Project, store: Store, since: Since | None) -> dict[str, Any] | None:
    """The record of this model, when the gate has decided about it and the decision was carried out.

    Without a time any decision counts: what was decided with one is not asked again without it. Nor is
    the model that the champion has learned from: on old rows it would win, and `make train` would take
    the champion back.
    """
    name, champion = digest_of(project), store.alias("champion")
    record = store.record(name)
    origin = (store.record(champion or "") or {}).get("learned_from")
    if record is None or name not in (champion, champion and store.alias("challenger"), origin):
        return None
    if since and (record.get("since") or {}).get("time") != since.time.isoformat():
        return None
    return record if name == origin or record["fingerprint"] == fingerprint(project) else None


def _committed(project: Project, record: dict[str, Any]) -> str | None:
    """The commit of files that were not committed when they made the model, and now are.

    The reports, which name the bundle, are among them: that commit made this model.
    """
    made_by = git.commit(project)[0] if str(record["commit"]).endswith(git.DIRTY) else None
    return None if made_by is None or made_by.endswith(git.DIRTY) else made_by


def _complete(project: Project, store: Store, record: dict[str, Any]) -> bool:
    """Whether nothing is left to do: every file is there, and nobody has touched MLflow since."""
    return (
        store.alias("challenger") == record["digest"]
        and store.intact(record["digest"])
        and project.gate.is_file()
        and project.cards.is_dir()
        and tracking.unchanged(project, *(project.store / alias for alias in ALIASES))
        and not _committed(project, record)
    )


def _register(
    project: Project, store: Store, decided: dict[str, Any] | None, since: Since | None
) -> dict[str, Any]:
    # Not needed when nothing is left to do, and it takes seconds to import.
    from mlref.registry.publish import publish

    record, rows = (decided, ()) if decided else _judge(project, store, since)
    gate, name = record["gate"], record["digest"]
    if not gate["checks"][0]["passed"]:
        raise blocked(store, record)  # the metrics are another model's: nothing to publish
    record = _origin(project, since) | record
    record["commit"] = _committed(project, record) or record["commit"]
    record["run_id"], record["version"] = publish(project, record)
    store.add(project.bundle, project.model, record, rows, project.learned)
    write_json(project.gate, gate)
    if not decided:
        said = " ".join([*([f"{since.because}:"] if since else []), *gate["reasons"]])
        audit.note(store, gate["verdict"], record, said, since=gate["since"])
        if gate["verdict"] == "promote":
            store.point("champion", name)
    store.point("challenger", name)
    sync_aliases(project, store)
    tracking.remember(project)
    return record


def _origin(project: Project, since: Since | None) -> dict[str, Any]:
    """What a new record says of the code, the settings and the time that made the model."""
    made_by, unknown = git.commit(project)
    return {
        "commit": made_by,
        "commit_unknown": unknown,
        "params": config.read(project.params, SettingsError),
        "since": since and {"time": since.time.isoformat(), "because": since.because},
        "fingerprint": fingerprint(project),
        "libraries": run_log.libraries(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
