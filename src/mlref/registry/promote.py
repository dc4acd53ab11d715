"""Make another registered model the champion: a later one by promotion, the one before by rollback.

The order is: a line in the audit trail, the pointer in the store, MLflow's alias. After a crash the same
command again does what is left.
"""

from typing import Any

from mlref.bundle.store import Store
from mlref.core.errors import EnvironmentFault, GateBlocked, MlrefError
from mlref.core.storage import Project, locked
from mlref.registry import audit
from mlref.registry.register import sync_aliases


def promote(
    project: Project, reference: str, reason: str = "", force: bool = False, dry_run: bool = False
) -> str:
    """Make a registered model the champion, if its evaluation passes the gate; returns a summary.

    Parameters
    ----------
    reference : str
        Version, alias or digest.
    reason : str
        Why; needed where the gate would keep the champion, or is overruled.
    force : bool
        Overrule a gate that blocks.
    dry_run : bool
        Change nothing; say what would happen.

    Raises
    ------
    GateBlocked
        When the gate blocks the model, and it is not overruled.
    MlrefError
        When the reason is missing.
    """
    from mlref.registry.comparison import judge_again  # takes a second to import

    with locked(project.store / ".lock"):
        store = Store(project.store)
        _, record = store.open(reference)
        if store.alias("champion") == record["digest"]:
            return _pointed(project, store, record, dry_run)
        gate = judge_again(project, store, record["digest"])
        if gate["verdict"] == "block" and not force:
            remedy = "To promote it all the same: --force --reason TEXT, for the audit trail."
            raise GateBlocked(gate["reasons"], remedy)
        if force and not reason.strip():
            raise MlrefError("--force needs --reason TEXT, for the audit trail.")
        if gate["verdict"] == "keep" and not reason.strip():
            said = "\n".join(f"  {line}" for line in gate["reasons"])
            raise MlrefError(
                f"The gate would keep the champion:\n{said}\n"
                f"To promote version {record['version']} all the same: --reason TEXT."
            )
        if not dry_run:
            why, forced = reason.strip() or " ".join(gate["reasons"]), gate["verdict"] == "block"
            audit.note(store, "promote", record, why, forced)
        return _pointed(project, store, record, dry_run)


def rollback(project: Project, reason: str = "", dry_run: bool = False) -> str:
    """Make the champion before the present one champion again; returns a summary.

    The gate is not asked: it has judged that model, and there may be no time.

    Raises
    ------
    MlrefError
        When the audit trail knows no earlier champion.
    BundleError
        When its bundle is not whole any more.
    """
    with locked(project.store / ".lock"):
        store = Store(project.store)
        earlier = audit.earlier_champion(store)
        if earlier is None:
            raise MlrefError(
                "The audit trail knows no champion before this one. `mlref models` lists what"
                " `mlref promote VERSION` can make champion."
            )
        _, record = store.open(earlier)
        if not dry_run:
            audit.note(store, "rollback", record, reason.strip())
        return _pointed(project, store, record, dry_run)


def _pointed(project: Project, store: Store, record: dict[str, Any], dry_run: bool) -> str:
    """Point the champion to a model, in the store and then in MLflow."""
    name = "Version {version} ({model})".format(**record)
    if dry_run:
        return f"{name} would be the champion. Dry run: nothing is changed."
    store.point("champion", record["digest"])
    try:
        sync_aliases(project, store)
    except EnvironmentFault as error:  # the pointer is what counts: a rollback must not wait for it
        return f"{name} is the champion. MLflow does not show it yet: {error}"
    return f"{name} is the champion. A service that runs takes it on within a second."
