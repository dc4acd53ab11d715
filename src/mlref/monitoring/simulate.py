"""Traffic for a live service, with or without a fault: to see the monitor quiet, and to see it find things.

Rows are whole training rows with a little jitter, since columns drawn one by one would change the spread of
the predictions. The truth is the prediction plus an out-of-fold error of its third.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mlref.bundle.store import Store
from mlref.console import track
from mlref.core.contract import Column, Contract
from mlref.core.errors import EnvironmentFault, MlrefError
from mlref.core.rows import Array
from mlref.core.storage import Project
from mlref.data.tables import encode, read_parquet
from mlref.monitoring.reference import Reference, reference
from mlref.prediction_log.encode import decoder

SCENARIOS = {
    "none": "nothing happens",
    "shift": "a feature is half a standard deviation higher",
    "unit": "a feature comes in another unit in one row of five",
    "gradual": "a feature rises by one and a half standard deviations in the course of the run",
    "level": "the truth is higher by 0.8 of the error",
    "slopes": "the truth follows the prediction less",
    "noise": "the errors are 30 % larger",
    "late-labels": "only the first half of the labels has arrived",
    "noisy-labels": "one label in five belongs to another row",
    "schema": "a client renames a feature: its rows are rejected",
    "burst": "all rows come in a few large requests",
}
"""What each scenario does. Those that change what is true cost the model at least a fifth of its error."""

REQUEST = 25
"""Rows of a request, and of a burst ten times as many."""

LABELS = 1000
"""Labels of a request."""

JITTER = 0.05
"""Of a feature, in its standard deviations."""

UNIT = 2.2046
"""Pounds in a kilogram; values that would be impossible are divided instead."""

Send = Callable[[str, Any], Any]
"""Posts a document to a path of the service and returns its answer."""


class Sent(NamedTuple):
    """How many rows were answered and rejected, and how many labels were accepted."""

    answered: int
    rejected: int
    labels: int


def simulate(
    project: Project, scenario: str, send: Send, rows: int, seed: int, world: str | None = None
) -> Sent:
    """Send rows to a service, then their ground truth.

    Parameters
    ----------
    project : Project
        Whose training rows and bundle store are used.
    scenario : str
        One of ``SCENARIOS``.
    send : callable
        Posts to the service.
    rows : int
        How many.
    seed : int
        Decides rows, jitter and errors.
    world : str, optional
        The model, by version, alias or digest, whose prediction and errors make the truth; without one
        that which answers, so that a new champion would never be wrong.

    Raises
    ------
    MlrefError
        When the bundle that answers has no out-of-fold errors, or is not in this store.
    EnvironmentFault
        When the service cannot be reached.
    """
    draw = np.random.default_rng(seed)
    origin, _ = Store(project.store).open(world or send("/v1/model", None)["model"]["digest"])
    known = reference(origin)
    if known.residuals is None:
        raise MlrefError(
            "The bundle has no out-of-fold errors to draw from: `make train` makes one."
        )
    training, _ = encode(known.contract, read_parquet(project.train))
    made = _changed(scenario, known, jittered(draw, known, training, rows), draw)
    records = _records(scenario, known.contract, made)
    size = 10 * REQUEST if scenario == "burst" else REQUEST
    answered = list[dict[str, Any]]()
    for start in track(scenario, range(0, rows, size)):
        answer = send("/v1/predict", {"instances": records[start : start + size]})
        answered += answer.get("predictions", ())
    values = origin.values(made)[: len(answered)]  # all are answered, or none
    truth = _truth(scenario, known, values, draw)
    labels = [{"id": one["id"], "value": it} for one, it in zip(answered, truth, strict=False)]
    accepted = 0
    for start in range(0, len(labels), LABELS):
        answer = send("/v1/feedback", {"labels": labels[start : start + LABELS]})
        accepted += answer.get("accepted", 0)
    return Sent(len(answered), rows - len(answered), accepted)


def jittered(draw: np.random.Generator, known: Reference, training: Array, rows: int) -> Array:
    """Training rows, drawn with replacement, with a little noise on what is a number.

    Returns
    -------
    ndarray of float64, shape (rows, features)
        Encoded, and possible by the contract.
    """
    made = training[draw.integers(len(training), size=rows)]
    for place, column in enumerate(known.contract.features):
        if column.type == "number" and column.name in known.numbers:
            noise = draw.normal(0, JITTER * known.numbers[column.name].std, rows)
            low, high = np.nanmin(training[:, place]), np.nanmax(training[:, place])
            made[:, place] = np.clip(made[:, place] + noise, low, high)
    return made


def moved(contract: Contract) -> Column:
    """The feature that scenarios change: a number of a behavioural check, or else the first number."""
    numbers = {column.name: column for column in contract.features if column.type == "number"}
    checked = (getattr(one, "column", None) for one in contract.promises)
    names = [name for name in (*checked, *numbers) if name in numbers]
    if not names:
        raise MlrefError("The contract has no feature of type number that a scenario could change.")
    return numbers[names[0]]


def _changed(scenario: str, known: Reference, made: Array, draw: np.random.Generator) -> Array:
    """Rows as the scenario has them."""
    if scenario not in ("shift", "gradual", "unit"):
        return made
    column = moved(known.contract)
    values, std = made[:, known.contract.names.index(column.name)], known.numbers[column.name].std
    if scenario == "unit":
        factor = UNIT if np.nanmax(values) * UNIT <= column.bounds[1] else 1 / UNIT
        values[draw.random(len(values)) < 0.2] *= factor
    else:
        values += std * (0.5 if scenario == "shift" else np.linspace(0, 1.5, len(values)))
    np.clip(values, *column.bounds, out=values)
    return made


def _records(scenario: str, contract: Contract, made: Array) -> list[dict[str, Any]]:
    """Encoded rows as a client sends them."""
    renamed = moved(contract).name if scenario == "schema" else None
    columns = [(one.name + "_" * (one.name == renamed), decoder(one)) for one in contract.features]
    return [
        {
            name: None if cell != cell else decode(cell)
            for (name, decode), cell in zip(columns, row, strict=True)
        }
        for row in made.tolist()
    ]


def _truth(
    scenario: str, known: Reference, values: Array, draw: np.random.Generator
) -> list[float]:
    """Ground truth of predictions, as the scenario has it; inside of what the target can be."""
    assert known.residuals is not None
    target, std = known.contract.target, float(known.residuals.std())
    cells = draw.integers(known.residuals.shape[1], size=len(values))
    # between two cells, so that no two truths are equal
    near = draw.normal(0, 0.05 * std, len(values))
    errors, scaled = known.residuals[known.third(values), cells] + near, known.scale(values)
    if scenario == "level":
        errors += 0.8 * std
    elif scenario == "slopes":
        errors -= 0.7 * std * (scaled - scaled.mean()) / (scaled.std() or 1.0)
    elif scenario == "noise":
        errors *= 1.3
    truth = np.clip(known.unscale(scaled + errors), *target.bounds)
    if scenario == "noisy-labels":
        wrong = draw.random(len(values)) < 0.2
        truth[wrong] = draw.permutation(truth[wrong])
    if target.type == "integer":
        truth = np.round(truth)
    labels: list[float] = truth.tolist()
    return labels[: len(labels) // 2] if scenario == "late-labels" else labels


def to_service(url: str, key: str | None = None) -> Send:
    """Make what posts to a service; a path without a document is asked for with GET."""
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"

    def send(path: str, document: Any) -> Any:
        """Post, and return the answer, also that of a refusal."""
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(url.rstrip("/") + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 422):
                    return json.load(error)
            raise EnvironmentFault(f"{url}{path}", error, "Is --key the right one?") from error
        except (OSError, ValueError) as error:
            then = "Is `mlref serve` running there?"
            raise EnvironmentFault(f"{url}{path}", error, then) from error

    return send
