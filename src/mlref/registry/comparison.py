"""Judge a model: what the files and the champion say about it, put before the gate."""

import datetime
from typing import Any

import numpy as np

from mlref.bundle.predictor import Predictor, load
from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.errors import BundleError, ModelNotFound
from mlref.core.storage import Project, digest, read_json, rounded
from mlref.data.labelled import recent, times
from mlref.data.leakage import partial_correlations
from mlref.data.split import split
from mlref.data.tables import encode, fingerprint, read_parquet, row_ids
from mlref.registry import audit, duel
from mlref.registry.duel import Check, Duel, Incomparable
from mlref.registry.evidence import Side, meet
from mlref.registry.gate import Decision, decide
from mlref.training.candidates import BASELINES

Moment = datetime.datetime


def judge(project: Project, store: Store, since: Moment | None = None) -> dict[str, Any]:
    """Ask the gate about the bundle of this clone; returns the content of gate.json.

    Parameters
    ----------
    since : datetime, optional
        Compare on the rows after it, since the concept changed then.
    """
    predictor = load(project.bundle, digest(project.contract))
    contract, parameters = predictor.contract, settings.load(project.params)
    frame, metrics = read_parquet(project.validated), read_json(project.metrics)
    test_set, train = split(contract, frame, parameters.split), read_parquet(project.train)
    learned = ~test_set & recent(contract, project.root, frame)
    tested, trained = (fingerprint(*encode(contract, frame[rows])) for rows in (test_set, learned))
    identities = {
        "the bundle": (metrics.get("digest"), predictor.digest),
        "the test set": (metrics.get("holdout"), tested),
        "the training rows": (predictor.manifest["data"], trained),
    }
    tuning, rows = read_json(project.tuning), frozenset(row_ids(contract, train))
    side = Side(predictor, tuning["model"], tuning["parameters"], rows)
    champion = against(project, store, side, since)
    leak = _leak(store, partial_correlations(contract, *encode(contract, train)), parameters.gate)
    decision = decide(metrics, identities, BASELINES, champion, parameters.gate, leak=leak)
    return document(decision, predictor.digest, store, since)


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
    since = Moment.fromisoformat(record["since"]["time"]) if record.get("since") else None
    champion = against(project, store, _side(store, predictor, record), since)
    age = (Moment.now(datetime.UTC) - Moment.fromisoformat(record["created"])).total_seconds()
    metrics, limits = record["metrics"], settings.load(project.params).gate
    identities = {"the bundle": (metrics.get("digest"), predictor.digest)}
    now = record.get("partial_correlations")
    leak = _leak(store, now, limits) if now else None
    decision = decide(metrics, identities, BASELINES, champion, limits, age / 86_400, leak)
    return document(decision, predictor.digest, store, since)


def document(
    decision: Decision, name: str, store: Store, since: Moment | None = None
) -> dict[str, Any]:
    """The content of gate.json about the bundle of a digest, judged against the champion's."""
    checks = [check._asdict() | {"passed": check.verdict == "promote"} for check in decision.checks]
    time = since.isoformat() if since else None
    return rounded({  # type: ignore[no-any-return]
        "verdict": decision.verdict, "reasons": decision.reasons, "digest": name,
        "champion": store.alias("champion"), "checks": checks, "since": time,
        "look": audit.looks(store, name, time),
    })  # fmt: skip


def against(
    project: Project, store: Store, challenger: Side, since: Moment | None = None
) -> Duel | Incomparable | None:
    """Compare a model with the champion on the validated rows of this clone.

    Returns
    -------
    Duel, Incomparable or None
        None where there is no champion.
    """
    if store.alias("champion") is None:
        return None
    try:
        champion, record = store.open("champion")
    except (BundleError, ModelNotFound) as error:
        reason = f"The champion cannot be loaded, so this model replaces it: {error}"
        return Incomparable("promote", reason)
    frame, parameters = read_parquet(project.validated), settings.load(project.params)
    after = None
    if since is not None:
        moment = np.datetime64(since.astimezone(datetime.UTC).replace(tzinfo=None))
        after = times(challenger.contract, project.root, frame) > moment
    return meet(challenger, _side(store, champion, record), frame, parameters, after)


def _side(store: Store, predictor: Predictor, record: dict[str, Any]) -> Side:
    """A registered model."""
    recipe = record.get("model", ""), record.get("parameters", {})
    return Side(predictor, *recipe, store.rows(record["digest"]))


def _leak(store: Store, now: dict[str, Any], limits: settings.Gate) -> Check | None:
    """The leak check; None where there is no champion."""
    name = store.alias("champion")
    if name is None:
        return None
    return duel.leak((store.record(name) or {}).get("partial_correlations"), now, limits)
