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
from mlref.sources.retrain import STRANGE
from mlref.training.candidates import LogTarget

LINEAR = (Ridge, ElasticNet, LinearRegression)
"""Estimators whose weights single rows can move."""

OWN = ("quota", "copy", "shift", "step")
"""Reasons that follow from the events before, so that a replay finds them again."""

HOUR = 3600

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
    line = logs.regressor_ if logs else last
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
    detectors : dict of ADWIN
        Each shortens its window when the champion's errors change.
    """

    def __init__(
        self, model: Pipeline, name: str, calibration: Mapping[str, Any], settings: Online
    ) -> None:
        self._model, self.settings, rate = model, settings, settings.rate
        self._prepare, self._line, logs = take_apart(model, name)
        self._scale: Any = np.log if logs else np.asarray
        self._unscale: Any = np.exp if logs else np.asarray
        self._range = logs.range_ if logs else (-math.inf, math.inf)
        if not (known := calibration.get("out_of_fold")):
            raise MlrefError(
                "The champion's bundle has no out-of-fold errors, by which labels are judged before they"
                " are learned: `make train` makes one that has."
            )
        errors = known["residuals"]
        self.typical = float(np.sqrt(np.mean(np.square(errors))))
        self.far = STRANGE * float(np.abs(errors).max())
        # the last weight is the intercept, and the last input is one
        weights = np.array([*self._line.coef_, float(self._line.intercept_)])
        self._sgd = SGDRegressor(
            alpha=0, fit_intercept=False, shuffle=False, learning_rate="constant", eta0=rate
        )
        self._sgd.partial_fit(np.zeros((1, len(weights))), [0.0])  # sets it up
        self._sgd.coef_, self._good = weights, weights.copy()
        self.comparison, self.resets = Prequential(settings.fading), 0
        self.detectors = {"bias": ADWIN(), "loss": ADWIN()}
        self._known, self._taken = dict[str, Event](), Counter[tuple[str, int]]()

    def model(self) -> Pipeline:
        """The champion with the weights of now."""
        *weights, bias = self._sgd.coef_
        self._line.coef_, self._line.intercept_ = np.array(weights), np.array(bias)
        return self._model

    def state(self) -> dict[str, Any]:
        """A checkpoint of it, as JSON can hold it."""
        watched = {name: [one.width, one.estimation] for name, one in self.detectors.items()}
        return {
            "weights": self._sgd.coef_.tolist(), "good": self._good.tolist(), "detectors": watched,
            "comparison": self.comparison.sums, "resets": self.resets,
        }  # fmt: skip

    def follow(self, events: Sequence[Event]) -> list[Event]:
        """Learn whole batches of events; those that may not be learned only keep their place.

        Returns
        -------
        list of Event
            The same, with what was predicted for them and why they were not learned.
        """
        size, done = self.settings.batch, list[Event]()
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            for start in range(0, len(events), size):
                batch = [self._admitted(event) for event in events[start : start + size]]
                learned = iter(self._learn([event for event in batch if not event.why]))
                done += [event if event.why else next(learned) for event in batch]
        return done

    def _admitted(self, event: Event) -> Event:
        """Say what follows from the events before: whether its source or its row had its turn."""
        why, hour = event.why, (event.source, int(event.received // HOUR))
        if why in ("", *OWN):
            over = self._taken[hour] >= self.settings.quota
            why = "quota" if over else ""
            if not over and self._known.setdefault(event.name, event).id != event.id:
                why = "copy"
            self._taken[hour] += not why
        return event._replace(why=why, scored=None)

    def _learn(self, events: list[Event]) -> list[Event]:
        """Predict a batch, score what is new in it, learn it."""
        if not events:
            return []
        prepared = self._prepare.transform(np.array([event.row for event in events], np.float64))
        inputs = np.column_stack([prepared, np.ones(len(events))])
        truth, errors = self._scale([event.label for event in events]), self.errors(events)
        largest = self.settings.largest_shift + 3 / math.sqrt(len(events))
        if abs(errors.mean()) > largest * self.typical:
            return [event._replace(why="shift") for event in events]
        predicted, before = self._predict(inputs), self._sgd.coef_.copy()
        new = np.array([self._known[event.name].seq == event.seq for event in events])
        self.comparison.add((truth - predicted)[new] ** 2, errors[new] ** 2)
        for error in (errors[new] / self.typical).tolist():  # of the champion, which does not adapt
            self.detectors["bias"].update(error)
            self.detectors["loss"].update(abs(error))
        try:
            self._sgd.partial_fit(inputs, truth)
            step = float(np.abs(self._predict(inputs) - predicted).max())
        except ValueError:  # scikit-learn's word for weights that are not finite
            step = math.inf
        why = "" if step <= self.settings.largest_step * self.typical else "step"  # nor NaN
        if why:
            self._sgd.coef_ = before
        self._look()
        answers = zip(events, self._unscale(predicted).tolist(), new, strict=True)
        return [e._replace(why=why, scored=value if first else None) for e, value, first in answers]

    def errors(self, events: Sequence[Event]) -> Array:
        """Ground truth minus the champion's answers, on the scale on which the model is linear."""
        answers = self._scale([event.champion for event in events])
        return self._scale([event.label for event in events]) - answers

    def _look(self) -> None:
        """Remember good weights, or go back to them where the champion is shown better."""
        value, error = self.comparison.difference()
        if value - LOST * error > 0:
            self._sgd.coef_ = self._good.copy()
            self.comparison = Prequential(self.settings.fading)
            self.resets += 1
        elif value <= 0:
            self._good = self._sgd.coef_.copy()

    def _predict(self, inputs: Array) -> Array:
        return np.clip(inputs @ self._sgd.coef_, *self._range)
