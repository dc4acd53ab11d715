"""Stage 5: fit the chosen model on all training rows, and calibrate its intervals."""

from sklearn.model_selection import KFold, cross_val_predict

from mlref.core.contract import load
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, read_json, write_bytes, write_json
from mlref.core.task import task_of
from mlref.data.tables import encode, read_parquet
from mlref.training.archive import dumps
from mlref.training.candidates import build


def run(project: Project) -> str:
    """Train on the training set of this clone."""
    contract, settings = load(project.contract), load_settings(project.params).train
    tuning = read_json(project.tuning)
    features, target = encode(contract, read_parquet(project.train))
    model = build(contract, tuning["model"], tuning["parameters"], settings.seed)
    folds = KFold(settings.folds, shuffle=True, random_state=settings.seed)
    out_of_fold = cross_val_predict(model, features, target, cv=folds)
    task = task_of(contract)
    calibration = task.calibrate(target, out_of_fold, settings.coverage)
    write_bytes(project.model, dumps(model.fit(features, target)))
    write_json(project.intervals, calibration)
    reach = task.describe(calibration, contract.target)
    return f"{tuning['model']} on {len(target)} rows; {reach}"
