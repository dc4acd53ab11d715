"""Predict, score, learn: the weights of a linear model follow ground truth in micro-batches."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sklearn
from river.drift import ADWIN
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge, SGDRegressor
from sklearn.pipeline import Pipeline

from mlref.core.errors import MlrefError
from mlref.core.rows import Array
from mlref.core.settings import Online
from mlref.online.prequential import Prequential
from mlref.registry.learned import Event
from mlref.training.candidates import LogTarget

LINEAR = (Ridge, ElasticNet, LinearRegression)
"""Estimators whose weights single rows can move."""

BATCH = ("shift", "step")
"""Reasons that a whole batch is not learned; they follow from the rows before it."""

STRANGE = 2.0
"""How far a label may be from its prediction, in the largest out-of-fold error of training."""

LOST = 4.0
"""Standard errors by which a learner is worse when it goes back to its last good weights.

It is asked after each batch, so chance alone would often reach the two of a single comparison.
"""


def take_apart(model: Pipeline, name: str) -> tuple[Pipeline, Any, LogTarget | None]:
    """Divide a model into frozen preprocessing, the linear estimator, and what takes the logarithm.

    Raises
    ------
    MlrefError
        For a model that is not linear.
    """
    *steps, (_, last) = model.steps
    logs = last if isinstance(last, LogTarget) else None
    line = last if logs is None else logs.regressor_
    while isinstance(line, Pipeline):
        *more, (_, line) = line.steps
        steps += more
    if not isinstance(line, LINEAR):
        raise MlrefError(
            f"The champion is {name} ({type(line).__name__}), which has no weights that a row could move."
            " Linear models learn online, such as ridge and elastic_net in `tune.candidates`;"
            " `mlref retrain` trains any model on new labels."
        )
    return Pipeline(steps), line, logs


class Learner:
    """A linear model that learns each batch after it has predicted it.

    Parameters
    ----------
    model : Pipeline
        The fitted champion. :meth:`model` gives it back with the learned weights.
    name : str
        Of its recipe.
    calibration : mapping
        The content of intervals.json: the errors of its training are the measure of all limits.
    settings : Online
        Of `mlref learn`.

    Attributes
    ----------
    counts : Counter
        Events by the reason why they were not learned, those that were under the empty text.
    changes : list
        Of each change that ADWIN saw: what changed, and the number of scored rows by then.
    """

    def __init__(
        self, model: Pipeline, name: str, calibration: Mapping[str, Any], settings: Online
    ) -> None:
        self._model, self.settings = model, settings
        self._prepare, self._line, self._logs = take_apart(model, name)
        errors = calibration.get("out_of_fold", {}).get("residuals")
        if errors is None:
            raise MlrefError("The champion has no out-of-fold errors: `make train` makes one.")
        self.rmse = float(np.sqrt(np.mean(np.square(errors))))
        self.far = STRANGE * float(np.abs(errors).max())
        self._sgd = SGDRegressor(
            penalty=None, learning_rate="constant", eta0=settings.rate, shuffle=False
        )
        self._sgd.partial_fit(np.zeros((1, len(self._line.coef_))), [0.0])  # sets it up
        self._set(self._line.coef_.tolist(), float(self._line.intercept_))
        self._good = self._weights()
        self.comparison = Prequential(settings.fading)
        self._detectors = {"bias": ADWIN(), "loss": ADWIN()}
        self.changes: list[tuple[str, int]] = []
        self.counts = Counter[str]()
        self.scored = self.resets = 0

    def model(self) -> Pipeline:
        """The champion with the weights of now."""
        self._line.coef_, self._line.intercept_ = map(np.array, self._weights())
        return self._model

    def state(self) -> dict[str, Any]:
        """A checkpoint of it, as JSON can hold it."""
        return {
            "weights": self._weights(), "good": self._good, "comparison": self.comparison.sums,
            "changes": self.changes, "counts": dict(self.counts), "resets": self.resets,
            "detectors": {
                name: {"rows": one.width, "mean": one.estimation}
                for name, one in self._detectors.items()
            },
        }  # fmt: skip

    def scale(self, values: Any) -> Array:
        """Values of the target on the scale on which the model is linear."""
        array = np.asarray(values, np.float64)
        return np.log(array) if self._logs is not None else array

    def follow(self, events: Sequence[Event]) -> list[Event]:
        """Learn whole batches of events; those that have a reason already only keep their place.

        Returns
        -------
        list of Event
            The same, with what was predicted for them and why they were not learned.
        """
        fit, done, at = [event for event in events if not event.why], [*events], 0
        if fit:
            rows = np.array([event.row for event in fit], np.float64)
            inputs = np.ascontiguousarray(self._prepare.transform(rows))
            truth, champion = self._scaled(fit)
            first = np.array([not event.again for event in fit])
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            for start in range(0, len(events), self.settings.batch):
                stop = min(start + self.settings.batch, len(events))
                places = [place for place in range(start, stop) if not done[place].why]
                part = slice(at, at := at + len(places))
                if places:
                    of = inputs[part], truth[part], champion[part], first[part]
                    why, values = self._learn(*of)
                    for place, value in zip(places, values, strict=True):
                        done[place] = done[place]._replace(why=why, scored=value)
                self.counts.update(event.why for event in done[start:stop])
        return done

    def _learn(
        self, inputs: Array, truth: Array, champion: Array, first: Any
    ) -> tuple[str, list[float | None]]:
        """Predict a batch, score it, learn it; the reason why it was not learned, and the predictions."""
        errors, rows = truth - champion, len(truth)
        if abs(errors.mean()) > (self.settings.largest_shift + 3 / math.sqrt(rows)) * self.rmse:
            return "shift", [None] * rows
        predicted, before = self._predict(inputs), self._weights()
        losses = (truth - predicted) ** 2
        self.comparison.add(losses[first], errors[first] ** 2)
        self._detect(truth[first], champion[first])
        try:
            self._sgd.partial_fit(inputs, truth)
            step = float(np.abs(self._predict(inputs) - predicted).max())
        except ValueError:  # scikit-learn's word for weights that are not finite
            step = math.inf
        why = "" if step <= self.settings.largest_step * self.rmse else "step"  # nor NaN
        if why:
            self._set(*before)
        self._look()
        values = (np.exp(predicted) if self._logs is not None else predicted).tolist()
        return why, [value if one else None for value, one in zip(values, first, strict=True)]

    def _look(self) -> None:
        """Remember good weights, or go back to them where the champion is shown better."""
        value, error = self.comparison.difference()
        if value - LOST * error > 0:
            self._set(*self._good)
            self.comparison = Prequential(self.settings.fading)
            self.resets += 1
        elif value <= 0:
            self._good = self._weights()

    def _predict(self, inputs: Array) -> Array:
        values: Array = inputs @ self._sgd.coef_ + self._sgd.intercept_[0]
        if self._logs is None:
            return values
        low, high = self._logs.range_
        return np.clip(values, low, high)

    def _scaled(self, events: Sequence[Event]) -> tuple[Array, Array]:
        """Ground truth and the champion's answers, each of shape (n,)."""
        return (
            self.scale([event.label for event in events]),
            self.scale([event.champion for event in events]),
        )

    def _detect(self, truth: Array, champion: Array) -> None:
        """Show ADWIN the errors of the champion, which does not adapt, in units of training."""
        errors = (truth - champion) / self.rmse
        for bias, loss in zip(errors.tolist(), np.abs(errors).tolist(), strict=True):
            self.scored += 1
            for (name, detector), value in zip(self._detectors.items(), (bias, loss), strict=True):
                detector.update(value)
                if detector.drift_detected:
                    self.changes.append((name, self.scored))

    def _weights(self) -> tuple[list[float], float]:
        return self._sgd.coef_.tolist(), float(self._sgd.intercept_[0])

    def _set(self, weights: list[float], bias: float) -> None:
        self._sgd.coef_, self._sgd.intercept_ = np.array(weights), np.array([bias])
