"""Judge a model: what the files and the champion say about it, put before the gate."""

import datetime
from typing import Any

from pydantic import ValidationError

from mlref.bundle.predictor import Predictor, load
from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.errors import BundleError, DataError, ModelNotFound, RowsRefused
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
    contract, knobs = predictor.contract, settings.load(project.params)
    frame, metrics = read_parquet(project.validated), read_json(project.metrics)
    held_out = split(contract, frame, knobs.split)
    identities = {
        "the bundle": (metrics.get("digest"), predictor.digest),
        "the test set": (
            metrics.get("holdout"),
            fingerprint(*encode(contract, frame[held_out])),
        ),
        "the training rows": (
            predictor.manifest["data"],
            fingerprint(*encode(contract, frame[~held_out])),
        ),
    }
    champion = against(project, store, predictor, knobs.split)
    decision = decide(metrics, identities, BASELINES, champion, knobs.gate)
    return document(decision, predictor.digest, store.alias("champion"))


def judge_again(project: Project, store: Store, reference: str) -> dict[str, Any]:
    """Ask the gate about a registered model, against the present champion; as in gate.json.

    Its evaluation is the recorded one. The comparison is made anew on the validated rows of this clone;
    without them, that of its registration has to do.

    Raises
    ------
    BundleError, ModelNotFound
        When the model cannot be loaded.
    """
    predictor, record = store.open(reference)
    champion, then = store.alias("champion"), record["gate"]
    try:
        found = against(project, store, predictor, _dealt(record))
    except DataError:
        found = Incomparable(
            "keep", "There are no rows here on which to compare it with the champion."
        )
        if then.get("champion") == champion:
            found = Incomparable(then["verdict"], " ".join(then["reasons"]))
    created = datetime.datetime.fromisoformat(record["created"])
    age = (datetime.datetime.now(datetime.UTC) - created) / datetime.timedelta(days=1)
    metrics, limits = record["metrics"], settings.load(project.params).gate
    identities = {"the bundle": (metrics.get("digest"), predictor.digest)}
    decision = decide(metrics, identities, BASELINES, found, limits, age)
    return document(decision, predictor.digest, champion)


def _dealt(record: dict[str, Any]) -> settings.Split:
    """With which seed and share a registered model's rows were split."""
    try:
        return settings.Split(**record["params"]["split"])
    except (KeyError, TypeError, ValidationError) as error:
        raise BundleError(
            f"The record of version {record['version']} does not say which rows it has trained on."
            " `make train` with its settings registers it again."
        ) from error


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
    try:
        learned = _dealt(record)
    except BundleError as error:
        return Incomparable("keep", f"It cannot be compared with the champion. {error}")
    frame, limits = read_parquet(project.validated), settings.load(project.params).gate
    try:
        frame = frame[split(challenger.contract, frame, dealt)]
        features, target = encode(challenger.contract, frame)
    except (KeyError, RowsRefused):
        reason = (
            f"It is of another contract ({challenger.contract.name}) and cannot predict these rows."
        )
        return Incomparable("block", reason)
    try:
        unseen = split(champion.contract, frame, learned)
        rows, _ = encode(champion.contract, frame[unseen])
        same = champion.contract.target.name == challenger.contract.target.name
    except (KeyError, RowsRefused):
        same = False
    if not same:
        reason = (
            f"The champion is of another contract ({champion.contract.name}) and cannot predict these"
            " rows, so this model replaces it."
        )
        return Incomparable("promote", reason)
    if len(rows) < limits.smallest_holdout:
        reason = (
            f"Only {len(rows)} rows have been seen by neither it nor the champion; at least"
            f" {limits.smallest_holdout} are needed to compare them."
        )
        return Incomparable("keep", reason)
    features = features[unseen]
    return compare(
        target[unseen],
        challenger.predict(features).value,
        champion.predict(rows).value,
        dict(slices(challenger.contract, features)),
        limits,
    )
