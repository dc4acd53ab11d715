"""Draw every picture for people; `mlref register` attaches them to the run, `dvc plots` compares them."""

from pathlib import Path

import pandas as pd
from matplotlib import rc_context

from mlref.core.contract import Contract
from mlref.core.storage import Project, read_json, replacing
from mlref.evaluation import model_plots, plots


def draw(project: Project, contract: Contract) -> list[Path]:
    """Draw every picture into reports/pictures/, from the files of the stages; returns the pictures."""
    names = ("predictions", "learning_curve", "regularisation_path", "effects")
    tables = {
        name: pd.read_csv(project.plots / f"{name}.csv", dtype={"row": str}) for name in names
    }
    target = contract.target
    metrics, tuning = read_json(project.metrics), read_json(project.tuning)
    path, profile = tables["regularisation_path"], read_json(project.bundle / "profile.json")
    with rc_context(plots.STYLE):
        figures = {
            "predicted_vs_actual": plots.predicted_vs_actual(
                tables["predictions"], metrics, target
            ),
            "residuals": plots.residuals(tables["predictions"], target),
            "candidates": plots.candidates(tuning, target),
            "slices": plots.slices(metrics, target),
            "features": model_plots.features(metrics["features"], target),
            "effects": model_plots.effects(tables["effects"], contract, profile),
            "learning_curve": model_plots.learning_curve(tables["learning_curve"], target),
        }
        if len(path):
            chosen = tuning["parameters"]["alpha"]
            figures["regularisation_path"] = model_plots.regularisation_path(path, chosen, target)
        with replacing(project.pictures) as fresh:
            fresh.mkdir()
            for name, figure in figures.items():
                figure.savefig(fresh / f"{name}.png", metadata={"Software": None})
    return [project.pictures / f"{name}.png" for name in figures]
