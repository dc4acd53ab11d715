"""The one door to state: publish the trained model, judge it, and point the aliases.

Idempotent. The steps are ordered so that a crash after any of them is mended by running it again: the
registration record is written after the bundle, the line of the audit trail before the champion's
pointer, and the challenger's pointer, which says that all is done, last.
"""

import datetime
import subprocess
from typing import Any

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core import config, settings
from mlref.core.errors import GateBlocked, SettingsError
from mlref.core.storage import Project, digest, locked, read_json, to_json, write_json
from mlref.registry import audit, cards

DIRTY = "-dirty"
"""What ``git describe`` adds to a commit from which files differ."""


def run(project: Project) -> str:
    """Register the bundle of this clone; returns the summary.

    Raises
    ------
    GateBlocked
        When the gate refused the model. Everything is written before, unless the evaluation is not of
        this model and these rows: then nothing is.
    """
    with locked(project.store / ".lock"):
        record = _committed(project, _current(project) or _register(project))
        _restore(project, record)
    champion = Store(project.store).alias("champion") == record["digest"]
    if record["gate"]["verdict"] == "block" and not champion:
        raise GateBlocked(record["gate"]["reasons"])
    return summary(record, champion)


def _restore(project: Project, record: dict[str, Any]) -> None:
    """Write again what was deleted of the reports, and put back an alias that was moved in MLflow."""
    store = Store(project.store)
    if not project.gate.is_file():
        write_json(project.gate, record["gate"])
    if not project.cards.is_dir():
        cards.write(project, record)
    if not tracking.mirrors(project, _aliases(store, record["digest"])):
        mirror(project, store, record["digest"])


def _committed(project: Project, record: dict[str, Any]) -> dict[str, Any]:
    """Record the commit of files that were not committed when they made the model, and now are.

    The reports, which name the bundle, are among them: that commit made this model.
    """
    if not str(record["commit"]).endswith(DIRTY):
        return record
    made_by = commit(project)
    if made_by is None or made_by.endswith(DIRTY):
        return record
    from mlref.registry.publish import publish

    publish(project, record["fingerprint"], record["gate"], made_by)
    record = record | {"commit": made_by}
    Store(project.store).add(project.bundle, project.model, record)
    return record


def decision(project: Project) -> dict[str, Any]:
    """What the gate has said about the bundle of this clone, or would say; nothing is changed.

    Returns
    -------
    dict
        The content of gate.json.
    """
    record = _current(project)
    return record["gate"] if record else _judged(project)


def rehearse(project: Project) -> str:
    """Say what ``run`` would; nothing is changed.

    Raises
    ------
    GateBlocked
        When the gate refuses the model.
    """
    gate = decision(project)
    if gate["verdict"] == "block":
        raise GateBlocked(gate["reasons"])
    reasons = [f"  {reason}" for reason in gate["reasons"]]
    return "\n".join([f"Verdict: {gate['verdict']}", *reasons, "Dry run: nothing is changed."])


def warm_up(project: Project) -> None:
    """Import and open what registering a new model needs, ahead of time."""
    from mlref.core import contract
    from mlref.registry import publish  # noqa: F401 - importing is the purpose

    with locked(project.store / ".lock"):
        tracking.warm_up(project, contract.load(project.contract))


def fingerprint(project: Project) -> str:
    """Digest of all that decides what is published where: bundle, evaluation, trials, knobs, server."""
    knobs = settings.load(project.params).gate.model_dump()
    files = (project.bundle / "MANIFEST.json", project.metrics, project.tuning)
    content = [to_json(read_json(file)).decode() for file in files]
    return digest(to_json([knobs, content, tracking.server(project)]))


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
        or not tracking.holds(project, record["run_id"])
    ):
        return None
    return record


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


def digest_of(project: Project) -> str:
    """The digest of the bundle that the stages made."""
    read_json(project.bundle / "MANIFEST.json")  # says what to run where there is none
    return digest(project.bundle / "MANIFEST.json")


def _register(project: Project) -> dict[str, Any]:
    # Nothing here is needed when the model is registered already, and it takes seconds to import.
    from mlref.registry.publish import publish

    store, name = Store(project.store), digest_of(project)
    gate, mark = _judged(project), fingerprint(project)
    if not all(check["passed"] for check in gate["checks"] if check["name"] == "evaluated"):
        raise GateBlocked(gate["reasons"])  # the figures are another model's: nothing to publish
    made_by = commit(project)
    run_id, version = publish(project, mark, gate, made_by)
    metrics = read_json(project.metrics)
    tuning = read_json(project.tuning)
    manifest = read_json(project.bundle / "MANIFEST.json")
    record = {
        "version": version,
        "digest": name,
        "run_id": run_id,
        "commit": made_by,
        "contract": manifest["contract"],
        "data": manifest["data"],
        "model": tuning["model"],
        "parameters": tuning["parameters"],
        "params": config.read(project.params, SettingsError),
        "metrics": metrics,
        "gate": gate,
        "fingerprint": mark,
        "libraries": tracking.libraries(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    store.add(project.bundle, project.model, record)
    write_json(project.gate, gate)
    if gate["verdict"] != "promote" or store.alias("champion") != name:
        audit.note(store, gate["verdict"], record, " ".join(gate["reasons"]))
    if gate["verdict"] == "promote":
        store.point("champion", name)
    mirror(project, store, name)
    store.point("challenger", name)
    return record


def mirror(project: Project, store: Store, challenger: str | None) -> None:
    """Show the store's aliases in MLflow; the pointers in the store stay the truth."""
    from mlref.core import contract

    tracking.mirror(project, contract.load(project.contract), _aliases(store, challenger))


def _aliases(store: Store, challenger: str | None) -> dict[str, str]:
    aliases = {"challenger": challenger, "champion": store.alias("champion")}
    return {alias: name for alias, name in aliases.items() if name}


def commit(project: Project) -> str | None:
    """The commit of the clone, with ``-dirty`` when files differ from it; None outside git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def summary(record: dict[str, Any], champion: bool) -> str:
    """The end of `make train`: what was made, how good it is, what was decided, what to do next."""
    metrics, gate = record["metrics"], record["gate"]
    role = "champion" if champion else "challenger"
    lines = [
        f"Model version {record['version']} ({role}) · {record['model']} · bundle {record['digest'][:12]}",
        "",
        f"{metrics['rows']} held-out rows".ljust(24) + "RMSE".ljust(24) + "MAE",
    ]
    scored = {record["model"]: metrics} | metrics["baselines"]
    for name, figures in scored.items():
        cells = [
            "{value:.1f} [{lower:.1f}, {upper:.1f}]".format(**figures[metric]).ljust(24)
            for metric in ("rmse", "mae")
        ]
        lines.append(("  " + name).ljust(24) + "".join(cells).rstrip())
    lines += ["", f"Verdict: {gate['verdict']}", *(f"  {reason}" for reason in gate["reasons"])]
    if champion != (gate["verdict"] == "promote") and gate["champion"] != record["digest"]:
        lines.append("  Since then the champion was changed: `mlref audit` says by whom and why.")
    return "\n".join([*lines, "", "Next: make serve"])
