"""The one door to state: publish the trained model, ask the gate, and point the aliases.

Idempotent. The steps are ordered so that a crash after any of them is mended by running it again: the
registration record is written after the bundle, the line of the audit trail before the champion's
pointer, and the challenger's pointer, which says that all is done, last.
"""

import datetime
from typing import Any

from mlref.bundle.store import Store
from mlref.core import config, contract, settings
from mlref.core.errors import GateBlocked, SettingsError
from mlref.core.storage import Project, digest, locked, read_json, to_json, write_json
from mlref.registry import audit, git
from mlref.tracking import run_log, runs
from mlref.tracking import store as tracking


def run(project: Project) -> tuple[dict[str, Any], bool]:
    """Register the bundle of this clone; returns its record, and whether it is the champion.

    Raises
    ------
    GateBlocked
        When the gate refused the model. Everything is written before, unless the evaluation is not of
        this model and these rows: then nothing is.
    """
    with locked(project.store / ".lock"):
        record = _with_commit(project, _current(project) or _register(project))
        _restore(project, record)
    store = Store(project.store)
    champion = store.alias("champion") == record["digest"]
    if record["gate"]["verdict"] == "block" and not champion:
        raise blocked(store, record["gate"])
    return record, champion


def blocked(store: Store, gate: dict[str, Any]) -> GateBlocked:
    """The refusal, with what to do where it leaves nothing to serve."""
    if store.alias("champion"):
        return GateBlocked(gate["reasons"])
    remedy = (
        "There is no champion to serve. `mlref register --explain` lists every check, reports/ has the"
        " evaluation; `mlref serve --model 1` serves version 1 all the same, to try it."
    )
    return GateBlocked(gate["reasons"], remedy, champion=False)


def decision(project: Project) -> dict[str, Any]:
    """What the gate has said about the bundle of this clone, or would say; nothing is changed.

    Returns
    -------
    dict
        The content of gate.json.
    """
    record = _current(project)
    return record["gate"] if record else _judged(project)


def digest_of(project: Project) -> str:
    """The digest of the bundle that the stages made."""
    read_json(project.bundle / "MANIFEST.json")  # says what to run where there is none
    return digest(project.bundle / "MANIFEST.json")


def fingerprint(project: Project) -> str:
    """Digest of all that decides what is published where: bundle, evaluation, trials, limits, server."""
    limits = settings.load(project.params).gate.model_dump()
    files = (project.bundle / "MANIFEST.json", project.metrics, project.tuning)
    content = [to_json(read_json(file)).decode() for file in files]
    return digest(to_json([limits, content, tracking.server(project)]))


def sync_aliases(project: Project, store: Store, challenger: str | None) -> None:
    """Show the store's aliases in MLflow; the pointers in the store stay the truth."""
    name = contract.load(project.contract).name
    run_log.sync_aliases(project, name, _aliases(store, challenger))


def _aliases(store: Store, challenger: str | None) -> dict[str, str]:
    aliases = {"challenger": challenger, "champion": store.alias("champion")}
    return {alias: name for alias, name in aliases.items() if name}


def _current(project: Project) -> dict[str, Any] | None:
    """The record of this very model, when nothing is left to do."""
    name, store = digest_of(project), Store(project.store)
    record = store.record(name)
    if (
        record is None
        or record["fingerprint"] != fingerprint(project)
        or store.alias("challenger") != name
        or store.alias("champion") is None
        or not store.intact(name)
        or not (_unchanged(project, record) or runs.is_finished(project, record["run_id"]))
    ):
        return None
    return record


def _unchanged(project: Project, record: dict[str, Any]) -> bool:
    aliases = _aliases(Store(project.store), record["digest"])
    return tracking.unchanged(project, run=record["run_id"], aliases=aliases)


def _judged(project: Project) -> dict[str, Any]:
    """The gate's decision: that which a crash has cut short, else a new one."""
    from mlref.registry.comparison import judge

    store, name = Store(project.store), digest_of(project)
    record = store.record(name)
    last = [(entry["action"], entry["digest"]) for entry in audit.read(store)[-1:]]
    crowned = last == [("promote", name)] and store.alias("champion") == name
    if crowned and record and record["fingerprint"] == fingerprint(project):
        return record["gate"]  # type: ignore[no-any-return]
    return judge(project, store)


def _register(project: Project) -> dict[str, Any]:
    # Nothing here is needed when the model is registered already, and it takes seconds to import.
    from mlref.registry.publish import publish

    store, name = Store(project.store), digest_of(project)
    gate, mark = _judged(project), fingerprint(project)
    if not all(check["passed"] for check in gate["checks"] if check["name"] == "evaluated"):
        raise blocked(store, gate)  # the metrics are another model's: nothing to publish
    made_by, unknown = git.commit(project)
    tuning, manifest = read_json(project.tuning), read_json(project.bundle / "MANIFEST.json")
    record = {
        "digest": name,
        "commit": made_by,
        "commit_unknown": unknown,
        "contract": manifest["contract"],
        "data": manifest["data"],
        "model": tuning["model"],
        "parameters": tuning["parameters"],
        "params": config.read(project.params, SettingsError),
        "metrics": read_json(project.metrics),
        "gate": gate,
        "fingerprint": mark,
        "libraries": run_log.libraries(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    record["run_id"], record["version"] = publish(project, record)
    store.add(project.bundle, project.model, record)
    write_json(project.gate, gate)
    if gate["verdict"] != "promote" or store.alias("champion") != name:
        audit.note(store, gate["verdict"], record, " ".join(gate["reasons"]))
    if gate["verdict"] == "promote":
        store.point("champion", name)
    sync_aliases(project, store, name)
    store.point("challenger", name)
    return record


def _with_commit(project: Project, record: dict[str, Any]) -> dict[str, Any]:
    """Record the commit of files that were not committed when they made the model, and now are.

    The reports, which name the bundle, are among them: that commit made this model.
    """
    if not str(record["commit"]).endswith(git.DIRTY):
        return record
    made_by, _ = git.commit(project)
    if made_by is None or made_by.endswith(git.DIRTY):
        return record
    from mlref.registry.publish import publish

    record = record | {"commit": made_by}
    publish(project, record)
    Store(project.store).add(project.bundle, project.model, record)
    return record


def _restore(project: Project, record: dict[str, Any]) -> None:
    """Write again what was deleted of the reports, and put back an alias that was moved in MLflow."""
    if not project.gate.is_file():
        write_json(project.gate, record["gate"])
    if not project.cards.is_dir():
        from mlref.registry import cards

        cards.write(project, record)
    if not _unchanged(project, record):
        store = Store(project.store)
        sync_aliases(project, store, record["digest"])
        aliases = _aliases(store, record["digest"])
        tracking.remember(project, run=record["run_id"], aliases=aliases)
