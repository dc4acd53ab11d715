"""What all routes share: the model in use, and what happens with each prediction."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlref.bundle.predictor import Prediction, Predictor
from mlref.core.errors import Violation
from mlref.core.rows import Mask, ValidationResult, warning
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, NoLog, Predicted, PredictionLog, Refused
from mlref.serving.decode import reason
from mlref.serving.limits import Limits
from mlref.serving.metrics import Metrics
from mlref.serving.openapi import document
from mlref.serving.reader import Reader


class Asked(NamedTuple):
    """What the routes know of a request besides its body."""

    id: str
    subject: str | None
    started: float
    """Of ``time.perf_counter``."""


class Model:
    """A loaded bundle, with all that follows from it and need not be made for each request.

    Parameters
    ----------
    predictor : Predictor
        The bundle.
    record : dict
        Its registration record in the bundle store.
    limits : Limits
        Bounds of a request.
    """

    def __init__(self, predictor: Predictor, record: dict[str, Any], limits: Limits) -> None:
        self.predictor, self.record, self.limits = predictor, record, limits
        self.contract = predictor.contract
        self.version, self.digest = str(record["version"]), predictor.digest
        self.named = {
            "name": self.contract.name,
            "version": record["version"],
            "digest": self.digest,
        }
        self.warnings: dict[str | None, str] = {
            column.name: warning(column) for column in self.contract.features
        }
        self.logged = LoggedModel(self.version, self.digest, self.contract)
        self.reader = Reader(self.contract, limits.rows)
        self.schema = document(self.contract, record["version"], limits)
        self.loaded = time.time()


NO_LOG = NoLog()


class Service:
    """The model in use, the log and the metrics.

    ``model`` is replaced as a whole, by one assignment: a request takes it once, so that its answer is of
    exactly one version.

    Parameters
    ----------
    model : Model
        The model that answers first.
    log : PredictionLog, optional
        Where predictions and refusals are kept; without one nothing is.
    """

    def __init__(self, model: Model, log: PredictionLog = NO_LOG) -> None:
        self.model, self.log = model, log
        self.metrics = Metrics(model.contract, model.predictor.profile)
        self.metrics.serves(model.named, model.loaded)
        self.draining = False

    def replace(self, model: Model) -> None:
        """Answer with another model from the next request on."""
        self.model = model
        self.metrics.serves(model.named, model.loaded)

    def score(
        self, model: Model, verdict: ValidationResult, asked: Asked
    ) -> tuple[list[str], Prediction]:
        """Predict judged rows; count them and hand them to the log.

        Returns
        -------
        ids : list of str
            One for each row.
        prediction : Prediction
            Values and intervals, in the order of the rows.
        """
        rows = verdict.array
        prediction = model.predictor.predict(rows)
        ids = new_ids(len(rows))
        self.metrics.predicted(rows, prediction.value)
        self.log.predictions(
            Predicted(
                model.logged, ids, rows, *prediction,
                unusual=_mask(verdict, model), latency=time.perf_counter() - asked.started,
                request_id=asked.id, subjects=[asked.subject] * len(ids) if asked.subject else None,
            )
        )  # fmt: skip
        return ids, prediction

    def refused(self, violations: Sequence[Violation]) -> None:
        """Count what a refusal found; a name that a client made up becomes ``other``."""
        names = self.model.contract.names
        counts = Counter(
            (violation.column if violation.column in names else "other", reason(violation.got))
            for violation in violations
        )
        for labels, count in counts.items():
            self.metrics.invalid.labels(*labels).inc(count)
        rows = len({violation.row for violation in violations})
        self.metrics.predictions.labels("refused").inc(rows)
        self.log.refusals(Refused(self.model.logged, violations))


def _mask(verdict: ValidationResult, model: Model) -> Mask | None:
    """Where values are unusual; mostly nowhere."""
    if not verdict.unusual:
        return None
    mask = np.zeros(verdict.array.shape, bool)
    for violation in verdict.unusual:
        mask[violation.row or 0, model.contract.names.index(violation.column or "")] = True
    return mask
