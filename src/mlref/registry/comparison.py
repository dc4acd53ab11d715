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
from mlref.registry import audit
from mlref.registry.duel import leak, settled
from mlref.registry.evidence import Side, meet
from mlref.registry.gate import Check, decide
from mlref.registry.learned import scored, source

Moment = datetime.datetime


def judge(
    project: Project, store: Store, since: Moment | None = None
) -> tuple[dict[str, Any], frozenset[str]]:
    """Ask the gate about the bundle of this clone.

    Parameters
    ----------
    since : datetime, optional
        Compare on the rows after it, since the concept changed then.

    Returns
    -------
    record : dict
        What the registration record says of the model; its ``gate`` is the content of gate.json.
    rows : frozenset of str
        The names of the rows that it was trained on.
    """
    predictor = load(project.bundle, digest(project.contract))
    contract, metrics = predictor.contract, read_json(project.metrics)
    frame, train = read_parquet(project.validated), read_parquet(project.train)
    test_set = split(contract, frame, settings.load(project.params).split)
    learned = ~test_set & recent(contract, project.work, frame)
    tested, trained = (fingerprint(*encode(contract, frame[rows])) for rows in (test_set, learned))
    manifest, tuning = predictor.manifest, read_json(project.tuning)
    identities = {
        "the bundle": (metrics.get("digest"), predictor.digest),
        "the test set": (metrics.get("holdout"), tested),
        "the training rows": (manifest["data"], trained),
    }
    record = {
        "digest": predictor.digest, "contract": manifest["contract"], "data": manifest["data"],
        "model": tuning["model"], "parameters": tuning["parameters"], "metrics": metrics,
        "partial_correlations": partial_correlations(contract, *encode(contract, train)),
    }  # fmt: skip
    if project.learned.is_file():
        record["learned_from"] = source(project.learned)
    recipe, rows = (record["model"], record["parameters"]), frozenset(row_ids(contract, train))
    side = Side(predictor, *recipe, rows, scored(project.learned))
    record["gate"] = _asked(project, store, side, record, identities, since)
    return record, rows


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
    age = (Moment.now(datetime.UTC) - Moment.fromisoformat(record["created"])).total_seconds()
    identities = {"the bundle": (record["metrics"].get("digest"), predictor.digest)}
    side = _side(store, predictor, record)
    return _asked(project, store, side, record, identities, since, age / 86_400)


def _asked(
    project: Project, store: Store, side: Side, record: dict[str, Any], identities: dict[str, Any],
    since: Moment | None, age: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the gate says, as in gate.json."""
    limits, time = settings.load(project.params).gate, since.isoformat() if since else None
    champion = against(project, store, side, record, since)
    decision = decide(record["metrics"], identities, champion, limits, age)
    checks = [check._asdict() | {"passed": check.verdict == "promote"} for check in decision.checks]
    return rounded({
        "verdict": decision.verdict, "reasons": decision.reasons, "digest": side.predictor.digest,
        "champion": store.alias("champion"), "checks": checks, "since": time,
        "look": audit.looks(store, side.predictor.digest, time),
    })  # fmt: skip


def against(
    project: Project, store: Store, side: Side, record: dict[str, Any], since: Moment | None = None
) -> list[Check]:
    """What the champion says of a model, on the validated rows of this clone.

    Leaks count also where the two cannot be compared.
    """
    if (name := store.alias("champion")) is None:
        return [settled("promote", "There was no champion to compare it with.")]
    known, parameters = store.record(name) or {}, settings.load(project.params)
    before, now = known.get("partial_correlations"), record.get("partial_correlations")
    leaks = [leak(before, now, parameters.gate)] if now else []
    try:
        champion, _ = store.open("champion")
    except (BundleError, ModelNotFound) as error:
        reason = f"The champion cannot be loaded, so this model replaces it: {error}"
        return [settled("promote", reason), *leaks]
    frame, after = read_parquet(project.validated), None
    if since is not None:
        moment = np.datetime64(since.astimezone(datetime.UTC).replace(tzinfo=None))
        after = times(side.contract, project.work, frame) > moment
    return [*meet(side, _side(store, champion, known), frame, parameters, after), *leaks]


def _side(store: Store, predictor: Predictor, record: dict[str, Any]) -> Side:
    """A registered model."""
    recipe = record.get("model", ""), record.get("parameters", {})
    name = record["digest"]
    return Side(predictor, *recipe, store.rows(name), scored(store.journal(name)))
