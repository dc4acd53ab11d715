"""Draw every picture for people, from the stages' files; `mlref register` attaches them to the run."""

from pathlib import Path

import pandas as pd
from matplotlib import rc_context

from mlref.core.contract import Contract
from mlref.core.storage import Project, read_json, replacing
from mlref.evaluation import model_plots, plots


def draw(project: Project, contract: Contract) -> list[Path]:
    """Draw every picture into reports/pictures/ and return the files."""
    names = ("predictions", "learning_curve", "regularisation_path", "effects")
    tables = {
        name: pd.read_csv(project.plots / f"{name}.csv", dtype={"row": str}) for name in names
    }
    unit = contract.target.title + (f" ({contract.target.unit})" if contract.target.unit else "")
    metrics, tuning = read_json(project.metrics), read_json(project.tuning)
    path, profile = tables["regularisation_path"], read_json(project.profile)
    with rc_context(plots.STYLE):
        figures = {
            "predicted_vs_actual": plots.predicted_vs_actual(tables["predictions"], metrics, unit),
            "residuals": plots.residuals(tables["predictions"], unit),
            "candidates": plots.candidates(tuning, unit),
            "slices": plots.slices(metrics, unit),
            "features": model_plots.features(metrics["features"], unit),
            "effects": model_plots.effects(tables["effects"], contract, profile, unit),
            "learning_curve": model_plots.learning_curve(tables["learning_curve"], unit),
        }
        if len(path):
            chosen = tuning["parameters"]["alpha"]
            figures["regularisation_path"] = model_plots.regularisation_path(path, chosen, unit)
    paths = []
    for name, figure in figures.items():
        paths.append(project.pictures / f"{name}.png")
        with replacing(paths[-1]) as fresh:
            figure.savefig(fresh, metadata={"Software": None})
    return paths
