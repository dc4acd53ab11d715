"""Send a new model to MLflow, with its pictures, its cards and all metrics."""

import getpass
from typing import Any

import skops.io

from mlref.bundle.package import TRUSTED
from mlref.bundle.store import Store
from mlref.core.contract import load as load_contract
from mlref.core.digits import interval
from mlref.core.rows import validate_records
from mlref.core.storage import Project, digest, read_json
from mlref.core.task import task_of
from mlref.data.tables import read_csv, read_parquet
from mlref.registry import cards
from mlref.tracking.run_log import RunLog
from mlref.tracking.run_log import publish as publish_log


def publish(project: Project, record: dict[str, Any]) -> tuple[str, str]:
    """Send a model to MLflow by its registration record; returns run id and version."""
    contract, tuning = load_contract(project.contract), read_json(project.tuning)
    cards.write(project, record)
    predicted = read_csv(project.predictions).astype({"lower": float, "upper": float})
    chosen, metrics = tuning["candidates"][tuning["model"]], record["metrics"]
    primary = task_of(contract).primary
    cross_validated = {f"cv_{name}": chosen[name] for name in (primary, f"{primary}_std")}
    shaped = {
        f"{stage}.{name}": value
        for stage in ("split", "tune", "train")
        for name, value in record["params"][stage].items()
        if name != "candidates"
    }
    log = RunLog(
        fingerprint=record["fingerprint"],
        model=skops.io.load(project.model, trusted=TRUSTED),
        trusted=TRUSTED,
        example=validate_records(contract, [contract.example]).array,
        parameters={"model": record["model"]} | record["parameters"] | shaped,
        metrics=read_json(project.summary) | cross_validated,
        tags={
            **{key: record[key] for key in ("model", "digest", "data", "contract")},
            "verdict": record["gate"]["verdict"],
            "commit": record["commit"] or "none",
            "summary": "{}: RMSE {} on {} rows of the test set".format(
                record["model"], interval(metrics["rmse"]), metrics["rows"]
            ),
            "mlflow.note.content": "\n\n".join(record["gate"]["reasons"]),
            "mlflow.source.name": "mlref learn" if "learned_from" in record else "make train",
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
                *(project.metrics, project.tuning, project.predictions),
                *(project.contract, project.params, project.cards),
            ],
            "pictures": sorted(project.pictures.glob("*.png")),
        },
        card=cards.brief(project, float((predicted["upper"] - predicted["lower"]).mean())),
        registered=[known["digest"] for known in Store(project.store).records()],
    )
    return publish_log(project, contract, log)
