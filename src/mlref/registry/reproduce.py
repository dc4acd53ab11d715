"""Reproduce published runs: train them anew by their protocol and compare every printed digit."""

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.model_selection import train_test_split

from mlref import tracking
from mlref.core import config, contract
from mlref.core.config import Frozen
from mlref.core.errors import MlrefError, SettingsError
from mlref.core.storage import Project, digest, to_json
from mlref.data.ingest import ingest
from mlref.data.tables import decode
from mlref.evaluation.metrics import errors
from mlref.registry.runs import Table


class Published(Frozen):
    """Runs as config/published_runs.yaml has them: source of the rows, protocol, printed figures."""

    experiment: contract.Text
    """Name of the experiment in MLflow that holds the reproduced runs."""
    title: contract.Text
    """What they are, for people."""
    source: contract.Source
    """Where the rows come from, as in the contract."""
    restored: dict[str, contract.Text] = {}
    """Column to a formula of `DataFrame.eval`: values as they were when the runs were made."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of `train_test_split` with its own shares."""
    estimator: Annotated[str, Field(pattern=r"^sklearn\.\w+\.\w+$")]
    """A class of scikit-learn."""
    options: dict[str, Any] = {}
    """Its arguments that are equal in all runs."""
    decimals: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(min_length=1)]
    """Metric to the decimals with which it was printed."""
    runs: Annotated[tuple[dict[str, float], ...], Field(min_length=1)]
    """Settings and printed metrics of each run."""


@dataclass(frozen=True)
class Figure:
    """One printed metric of one run, and the same one measured here."""

    run: str
    metric: str
    published: str
    reproduced: str

    @property
    def agrees(self) -> bool:
        """Whether every printed digit is the same."""
        return self.published == self.reproduced


def load(project: Project) -> Published:
    """Read config/published_runs.yaml.

    Raises
    ------
    MlrefError
        When there is no such file.
    SettingsError
        With every mistake in it.
    """
    path, name = project.published_runs, project.show(project.published_runs)
    if not path.is_file():
        raise MlrefError(
            f"There are no published runs to reproduce: {name} is not there. A fork whose data nobody has"
            " published runs on does without."
        )
    published = config.load(Published, path, SettingsError)
    known = errors(np.ones(1), np.ones(1))
    mistakes = [
        f"decimals.{metric}: no such metric; allowed: {', '.join(known)}"
        for metric in published.decimals
        if metric not in known
    ]
    mistakes += [
        f"runs[{place}].{metric}: is missing"
        for metric in published.decimals
        for place, run in enumerate(published.runs)
        if metric not in run
    ]
    if mistakes:
        raise SettingsError(name, mistakes)
    return published


def measure(published: Published, rows: pd.DataFrame, target: str) -> Iterator[dict[str, float]]:
    """Train each run by the protocol; gives its metrics on the test rows.

    The protocol scales every column over all rows to mean 0 and length 1, so the test rows have shaped
    what the models are trained on. That is what was published; the pipeline does not do it.

    Parameters
    ----------
    rows : DataFrame, shape (n, features + 1)
        Unscaled, with the target.

    Raises
    ------
    SettingsError
        For a formula or an estimator that scikit-learn or pandas does not know.
    """
    features = rows.drop(columns=target)
    for name, formula in published.restored.items():
        with _named(f"restored.{name}"):
            features[name] = rows.eval(formula, engine="python")
    centred = features - features.mean()
    scaled = centred / np.sqrt((centred**2).sum())
    train, test, actual, held = train_test_split(
        scaled, rows[target], random_state=published.split_seed
    )
    with _named("estimator"):
        module, _, name = published.estimator.rpartition(".")
        estimator = getattr(importlib.import_module(module), name)
    for place, run in enumerate(published.runs):
        with _named(f"runs[{place}]"):
            model = estimator(**published.options | _settings(published, run)).fit(train, actual)
        yield {
            name: float(value)
            for name, value in errors(held.to_numpy(), model.predict(test)).items()
        }


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Say which key of the file is behind an error of pandas or scikit-learn."""
    try:
        yield
    except Exception as error:  # pandas evaluates formulas with errors of all kinds
        raise SettingsError("config/published_runs.yaml", [f"{key}: {error}"]) from error


def _settings(published: Published, run: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in run.items() if name not in published.decimals}


def run(project: Project) -> list[Figure]:
    """Reproduce the published runs, log them to MLflow, and give every figure beside the printed one."""
    published, about = load(project), contract.load(project.contract)
    source = about.model_copy(update={"source": published.source})
    rows = decode(ingest(source, project.root), about.columns)
    figures, logged = [], []
    for printed, measured in zip(
        published.runs, measure(published, rows, about.target.name), strict=True
    ):
        settings = _settings(published, printed)
        name = ", ".join(f"{key} {value:g}" for key, value in settings.items())
        for metric, decimals in published.decimals.items():
            texts = (f"{value[metric]:.{decimals}f}" for value in (printed, measured))
            figures.append(Figure(name, metric, *texts))
        metrics = measured | {f"published_{key}": printed[key] for key in published.decimals}
        mark = digest(to_json([published.model_dump(exclude={"runs"}), settings, metrics]))
        logged.append(tracking.Figures(name, mark, settings, metrics))
    tracking.publish_runs(project, published.experiment, published.title, logged)
    return figures


def tabulate(figures: list[Figure]) -> Table:
    """A row for each run: every printed figure beside the one that was measured here."""
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    head = ["run", *(word for metric in metrics for word in (metric, "here"))]
    rows: dict[str, list[str]] = {}
    for figure in figures:
        cells = rows.setdefault(figure.run, [figure.run])
        cells += [figure.published, figure.reproduced]
    return head, list(rows.values())


def check(figures: list[Figure]) -> str:
    """How many figures agree.

    Raises
    ------
    MlrefError
        When not all do; it names those that do not.
    """
    wrong = [
        f"\n  {figure.run}: {figure.metric} is {figure.reproduced} here, {figure.published} was published"
        for figure in figures
        if not figure.agrees
    ]
    agree = f"{len(figures) - len(wrong)} of {len(figures)} figures agree"
    if wrong:
        raise MlrefError(f"{agree}:{''.join(wrong)}")
    return agree
