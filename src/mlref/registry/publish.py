"""Send a new model to MLflow, with its pictures, its cards and all metrics."""

import getpass
from typing import Any

import skops.io

from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.contract import load as load_contract
from mlref.core.digits import interval
from mlref.core.rows import validate_records
from mlref.core.storage import Project, digest, read_json
from mlref.data.tables import read_csv, read_parquet
from mlref.registry import cards
from mlref.tracking.run_log import RunLog
from mlref.tracking.run_log import publish as publish_log


def publish(project: Project, record: dict[str, Any]) -> tuple[str, str]:
    """Send a model to MLflow by its registration record; returns run id and version."""
    contract, tuning = load_contract(project.contract), read_json(project.tuning)
    cards.write(project, record)
    pictures = sorted(project.pictures.glob("*.png"))
    predicted = read_csv(project.predictions).astype({"lower": float, "upper": float})
    gate, chosen, rmse = (
        record["gate"],
        tuning["candidates"][tuning["model"]],
        record["metrics"]["rmse"],
    )
    rows = record["metrics"]["rows"]
    log = RunLog(
        fingerprint=record["fingerprint"],
        digest=record["digest"],
        model=skops.io.load(project.model, trusted=TRUSTED),
        trusted=TRUSTED,
        example=validate_records(contract, [contract.example]).array,
        parameters={"model": tuning["model"], **tuning["parameters"], **_settings(project)},
        metrics=read_json(project.summary)
        | {"cv_rmse": chosen["rmse"], "cv_rmse_std": chosen["rmse_std"]},
        tags={
            "model": tuning["model"],
            "digest": record["digest"],
            "verdict": gate["verdict"],
            "commit": record["commit"] or "none",
            "data": record["data"],
            "contract": record["contract"],
            "summary": f"{tuning['model']}: RMSE {interval(rmse)} on {rows} rows of the test set",
            "mlflow.note.content": "\n\n".join(gate["reasons"]),
            "mlflow.source.name": "make train",
            "mlflow.source.type": "PROJECT",
            "mlflow.source.git.commit": record["commit"] or "",
            "mlflow.user": getpass.getuser(),
        },
        trials=tuning["trials"],
        datasets={
            context: (path, read_parquet(path), digest(path))
            for context, path in (("training", project.train), ("test", project.holdout))
        },
        artifacts={
            "": [
                project.metrics,
                project.tuning,
                project.predictions,
                project.contract,
                project.params,
                project.cards,
            ],
            "pictures": pictures,
        },
        card=cards.brief(project, float((predicted["upper"] - predicted["lower"]).mean())),
        registered=[(int(r["version"]), r["digest"]) for r in Store(project.store).records()],
    )
    return publish_log(project, contract, log)


def _settings(project: Project) -> dict[str, Any]:
    """The settings that shaped the model, as ``stage.name``."""
    found = settings.load(project.params)
    return {
        f"{stage}.{name}": value
        for stage in ("split", "tune", "train")
        for name, value in getattr(found, stage).model_dump(exclude={"candidates"}).items()
    }
