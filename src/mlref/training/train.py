"""Stage 5: fit the chosen model on all training rows, and calibrate its intervals."""

import numpy as np
from threadpoolctl import threadpool_limits

from mlref.console import track
from mlref.core.contract import load
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, read_json, write_bytes, write_json
from mlref.core.task import task_of
from mlref.data.folds import deal
from mlref.data.tables import encode, read_stage
from mlref.training import out_of_fold
from mlref.training.archive import dumps
from mlref.training.candidates import build


def run(project: Project) -> str:
    """Train on the training set of this clone."""
    contract, settings = load(project.contract), load_settings(project.params).train
    tuning = read_json(project.tuning)
    frame = read_stage(contract, project.train, "split")
    features, target = encode(contract, frame)
    model = build(contract, tuning["model"], tuning["parameters"], settings.seed)
    folds = deal(contract, frame, settings.folds, settings.seed)
    pairs = track("train", list(folds.pairs()))
    predicted = out_of_fold.predict(model, features, target, pairs)
    left_out, task = ~np.isnan(predicted), task_of(contract)
    calibration = task.calibrate(target[left_out], predicted[left_out], settings.coverage)
    with threadpool_limits(1):
        write_bytes(project.model, dumps(model.fit(features, target)))
    write_json(project.intervals, calibration)
    reach = task.describe(calibration, contract.target)
    return f"{tuning['model']} on {len(target)} rows; {reach}"
