"""What `mlref register` does when there is a new model: judge it, draw it, send it to MLflow."""

import getpass
from typing import Any

import skops.io

from mlref import settings, tracking
from mlref.bundle.package import TRUSTED
from mlref.bundle.predictor import Predictor, load
from mlref.bundle.store import Store
from mlref.contract import load as load_contract
from mlref.data.tables import encode, read_parquet
from mlref.errors import BundleError, ModelNotFound, RowsRefused
from mlref.evaluation.compare import rmse_difference
from mlref.evaluation.metrics import Interval
from mlref.evaluation.plots import draw
from mlref.registry.gate import decide
from mlref.rows import judge_records
from mlref.storage import Project, digest, read_json, rounded
from mlref.training.candidates import BASELINES


def judge(project: Project, store: Store) -> dict[str, Any]:
    """Ask the gate about the bundle of this clone; returns the content of gate.json."""
    predictor = load(project.bundle, digest(project.contract))
    champion = store.alias("champion")
    difference = None if champion is None else against(project, store, predictor)
    decision = decide(read_json(project.metrics), BASELINES, difference)
    checks = [
        {"name": check.name, "passed": check.verdict == "promote", "figures": check.figures}
        for check in decision.checks
    ]
    return rounded({  # type: ignore[no-any-return]
        "verdict": decision.verdict, "reasons": decision.reasons, "digest": predictor.digest,
        "champion": champion, "checks": checks,
    })  # fmt: skip


def against(project: Project, store: Store, challenger: Predictor) -> Interval | str:
    """Compare with the champion on the held-out rows; a sentence where that is impossible."""
    try:
        champion, _ = store.open("champion")
    except (BundleError, ModelNotFound) as error:
        return f"The champion cannot be loaded, so this model replaces it: {error}"
    if champion.digest == challenger.digest:
        return {"value": 0.0, "lower": 0.0, "upper": 0.0}
    frame = read_parquet(project.holdout)
    missing = {column.name for column in champion.contract.columns} - set(frame.columns)
    try:
        if missing or champion.contract.target.name != challenger.contract.target.name:
            raise RowsRefused("holdout", [])
        rows, _ = encode(champion.contract, frame)
    except RowsRefused:
        return (
            f"The champion is of another contract ({champion.contract.name}) and cannot predict these"
            " rows, so this model replaces it."
        )
    features, target = encode(challenger.contract, frame)
    knobs = settings.load(project.params).gate
    return rmse_difference(target, challenger.values(features), champion.values(rows), knobs)


def publish(
    project: Project, fingerprint: str, gate: dict[str, Any], commit: str | None
) -> tuple[str, str]:
    """Send the model and everything about it to MLflow; returns run id and version."""
    contract, tuning = load_contract(project.contract), read_json(project.tuning)
    metrics = read_json(project.metrics)
    pictures = draw(project, contract)
    name = digest(project.bundle / "MANIFEST.json")
    rmse = metrics["rmse"]
    found = f"RMSE {rmse['value']:.1f} [{rmse['lower']:.1f}, {rmse['upper']:.1f}]"
    knobs = settings.load(project.params)
    return tracking.publish(
        project,
        contract,
        tracking.Publication(
            fingerprint=fingerprint,
            digest=name,
            model=skops.io.load(project.model, trusted=TRUSTED),
            trusted=TRUSTED,
            example=judge_records(contract, [contract.example]).array,
            parameters={"model": tuning["model"], **tuning["parameters"], **_flat(knobs)},
            metrics=read_json(project.summary),
            tags={
                "model": tuning["model"],
                "digest": name,
                "verdict": gate["verdict"],
                "summary": f"{tuning['model']}: {found} on {metrics['rows']} held-out rows",
                "mlflow.note.content": "\n\n".join(gate["reasons"]),
                "mlflow.source.name": "make train",
                "mlflow.source.type": "PROJECT",
                "mlflow.source.git.commit": commit or "",
                "mlflow.user": getpass.getuser(),
            },
            trials=tuning["trials"],
            datasets={
                context: (path, digest(path), len(read_parquet(path)))
                for context, path in (("training", project.train), ("holdout", project.holdout))
            },
            registered=[(int(r["version"]), r["digest"]) for r in Store(project.store).records()],
            artifacts=[
                project.metrics,
                project.tuning,
                project.contract,
                project.params,
                *pictures,
            ],
        ),
    )


def _flat(knobs: settings.Settings) -> dict[str, Any]:
    """The knobs that shaped the model, as ``stage.knob``."""
    return {
        f"{stage}.{name}": value
        for stage in ("split", "tune", "train")
        for name, value in getattr(knobs, stage).model_dump(exclude={"candidates"}).items()
    }
