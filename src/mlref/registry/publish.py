"""Send a new model to MLflow, with its pictures, its card and all figures."""

import getpass
from typing import Any

import skops.io

from mlref import tracking
from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.contract import load as load_contract
from mlref.core.rows import validate_records
from mlref.core.storage import Project, digest, read_json
from mlref.data.tables import read_parquet
from mlref.registry.cards import brief, write


def publish(
    project: Project, fingerprint: str, gate: dict[str, Any], commit: str | None
) -> tuple[str, str]:
    """Send the model and everything about it to MLflow; returns run id and version."""
    contract, tuning = load_contract(project.contract), read_json(project.tuning)
    metrics = read_json(project.metrics)
    pictures = sorted(project.pictures.glob("*.png"))
    name = digest(project.bundle / "MANIFEST.json")
    made = {"digest": name, "commit": commit, "gate": gate, "libraries": tracking.libraries()}
    write(project, made)
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
            example=validate_records(contract, [contract.example]).array,
            parameters={"model": tuning["model"], **tuning["parameters"], **_flat(knobs)},
            metrics=read_json(project.summary),
            tags={
                "model": tuning["model"],
                "digest": name,
                "verdict": gate["verdict"],
                "commit": commit or "none",
                "data": read_json(project.profile)["data"],
                "contract": digest(project.contract),
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
                project.predictions,
                project.contract,
                project.params,
                project.cards,
                *pictures,
            ],
            card=brief((project.cards / "model-card.md").read_text(encoding="utf-8")),
        ),
    )


def _flat(knobs: settings.Settings) -> dict[str, Any]:
    """The knobs that shaped the model, as ``stage.knob``."""
    return {
        f"{stage}.{name}": value
        for stage in ("split", "tune", "train")
        for name, value in getattr(knobs, stage).model_dump(exclude={"candidates"}).items()
    }
