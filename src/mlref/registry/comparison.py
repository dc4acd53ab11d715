"""Judge a model: what the files and the champion say about it, put before the gate."""

import datetime
from typing import Any

import pandas as pd

from mlref.bundle.predictor import Predictor, load
from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.errors import BundleError, ModelNotFound, RowsRefused
from mlref.core.storage import Project, digest, read_json, rounded
from mlref.data.split import split
from mlref.data.tables import encode, fingerprint, read_parquet
from mlref.evaluation.compare import Comparison, compare
from mlref.evaluation.slices import slices
from mlref.registry.gate import Decision, Incomparable, decide
from mlref.training.candidates import BASELINES


def judge(project: Project, store: Store) -> dict[str, Any]:
    """Ask the gate about the bundle of this clone; returns the content of gate.json."""
    predictor = load(project.bundle, digest(project.contract))
    contract, parameters = predictor.contract, settings.load(project.params)
    frame, metrics = read_parquet(project.validated), read_json(project.metrics)
    test_set = split(contract, frame, parameters.split)
    tested, trained = (
        fingerprint(*encode(contract, frame[rows])) for rows in (test_set, ~test_set)
    )
    identities = {
        "the bundle": (metrics.get("digest"), predictor.digest),
        "the test set": (metrics.get("holdout"), tested),
        "the training rows": (predictor.manifest["data"], trained),
    }
    champion = against(project, store, predictor, parameters.split)
    decision = decide(metrics, identities, BASELINES, champion, parameters.gate)
    return document(decision, predictor.digest, store.alias("champion"))


def judge_again(project: Project, store: Store, reference: str) -> dict[str, Any]:
    """Ask the gate about a registered model, against the present champion; as in gate.json.

    Its evaluation is the recorded one. The comparison is made anew on the validated rows of this clone.

    Raises
    ------
    BundleError, ModelNotFound
        When the model cannot be loaded.
    DataError
        When there are no validated rows.
    """
    predictor, record = store.open(reference)
    champion = against(project, store, predictor, _dealt(record))
    created = datetime.datetime.fromisoformat(record["created"])
    age = (datetime.datetime.now(datetime.UTC) - created) / datetime.timedelta(days=1)
    metrics, limits = record["metrics"], settings.load(project.params).gate
    identities = {"the bundle": (metrics.get("digest"), predictor.digest)}
    decision = decide(metrics, identities, BASELINES, champion, limits, age)
    return document(decision, predictor.digest, store.alias("champion"))


def document(decision: Decision, name: str, champion: str | None) -> dict[str, Any]:
    """The content of gate.json about the bundle of a digest, judged against the champion's."""
    checks = [check._asdict() | {"passed": check.verdict == "promote"} for check in decision.checks]
    return rounded({  # type: ignore[no-any-return]
        "verdict": decision.verdict, "reasons": decision.reasons, "digest": name,
        "champion": champion, "checks": checks,
    })  # fmt: skip


def against(
    project: Project, store: Store, challenger: Predictor, dealt: settings.Split
) -> Comparison | Incomparable | None:
    """Compare with the champion on the validated rows that neither has trained on.

    A row that only one of them has learned would flatter that one. The hash that dealt the rows tells
    which rows those are, also after other rows or another seed (``mlref.data.split``).

    Parameters
    ----------
    dealt : settings.Split
        With which the challenger's rows were split; the champion's are in its registration record.

    Returns
    -------
    Comparison, Incomparable or None
        None where there is no champion.
    """
    if store.alias("champion") is None:
        return None
    try:
        champion, record = store.open("champion")
    except (BundleError, ModelNotFound) as error:
        reason = f"The champion cannot be loaded, so this model replaces it: {error}"
        return Incomparable("promote", reason)
    limits = settings.load(project.params).gate
    rows = _unseen(challenger, dealt, read_parquet(project.validated))
    if rows is None:
        return Incomparable(
            "block",
            f"It is of another contract ({challenger.contract.name}) and cannot predict these rows.",
        )
    rows = _unseen(champion, _dealt(record), rows)
    if rows is None or champion.contract.target.name != challenger.contract.target.name:
        return Incomparable(
            "promote",
            f"The champion is of another contract ({champion.contract.name}) and cannot predict these"
            " rows, so this model replaces it.",
        )
    if len(rows) < limits.smallest_holdout:
        return Incomparable(
            "keep",
            f"Only {len(rows)} rows have been seen by neither it nor the champion; at least"
            f" {limits.smallest_holdout} are needed to compare them.",
        )
    features, target = encode(challenger.contract, rows)
    theirs, _ = encode(champion.contract, rows)
    return compare(
        target,
        challenger.predict(features).value,
        champion.predict(theirs).value,
        dict(slices(challenger.contract, features)),
        limits,
    )


def _dealt(record: dict[str, Any]) -> settings.Split:
    """With which seed and share a registered model's rows were split."""
    return settings.Split(**record["params"]["split"])


def _unseen(model: Predictor, dealt: settings.Split, frame: pd.DataFrame) -> pd.DataFrame | None:
    """The rows that a model has not trained on; None where its contract does not accept them."""
    try:
        rows = frame[split(model.contract, frame, dealt)]
        encode(model.contract, rows)
    except (KeyError, RowsRefused):
        return None
    return rows
