"""Draw every picture for people; `mlref register` attaches them to the run, `dvc plots` compares them."""

from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from threadpoolctl import threadpool_limits

from mlref.core import settings
from mlref.core.contract import load
from mlref.core.storage import Project, read_json, replacing
from mlref.data.folds import deal, sample
from mlref.data.tables import encode, read_parquet
from mlref.evaluation import model_plots, plots
from mlref.training.candidates import build


def draw(project: Project) -> list[Path]:
    """Draw every picture into reports/pictures/, from the files of the stages; returns the pictures."""
    contract, given = load(project.contract), settings.load(project.params).evaluate
    metrics, tuning = read_json(project.metrics), read_json(project.tuning)
    predictions, target = pd.read_csv(project.predictions, dtype={"row": str}), contract.target
    train = read_parquet(project.train)
    model = build(contract, tuning["model"], tuning["parameters"], given.seed)
    some = sample(train, given.rows, given.seed)
    known, folds = encode(contract, some), deal(contract, some, given.folds, given.seed)
    with threadpool_limits(1), rc_context(plots.STYLE):
        model.fit(*encode(contract, train))
        figures = {
            "predicted_vs_actual": plots.predicted_vs_actual(predictions, metrics, target),
            "residuals": plots.residuals(predictions, target),
            "candidates": plots.candidates(tuning, target),
            "slices": plots.slices(metrics, target),
            "features": model_plots.features(metrics["features"], contract),
            "effects": model_plots.effects(contract, model, known[0], metrics["features"]),
            "learning_curve": model_plots.learning_curve(contract, model, *known, folds, given),
            "validation_curve": model_plots.validation_curve(contract, model, *known, folds),
        }
        drawn = {name: figure for name, figure in figures.items() if figure}
        with replacing(project.pictures) as fresh:
            fresh.mkdir()
            for name, figure in drawn.items():
                figure.savefig(fresh / f"{name}.png", metadata={"Software": None})
    return [project.pictures / f"{name}.png" for name in drawn]
