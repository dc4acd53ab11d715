"""What all routes share: the model in use, and what happens with each prediction."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from mlref.bundle.predictor import Prediction, Predictor
from mlref.errors import Finding
from mlref.rows import Array, Verdict, warning
from mlref.serving.ids import new_ids
from mlref.serving.limits import Limits
from mlref.serving.metrics import Metrics
from mlref.serving.openapi import document
from mlref.serving.reader import Reader


class Scored(NamedTuple):
    """One request's predictions, as they go to the prediction log: n rows by one model."""

    ids: Sequence[str]
    time: float
    request_id: str
    subject: str | None
    features: Array
    value: Array
    lower: Array
    upper: Array
    latency: float
    source: str
    role: str
    version: str
    digest: str


class Log(Protocol):
    """Where predictions are kept. It is called on the hot path, so it must only take the batch in."""

    written: int
    dropped: int
    queued: int

    def put(self, batch: Scored) -> None:
        """Take in the predictions of a request."""

    def refused(self, column: str, reason: str) -> None:
        """Count a value that was refused."""

    def close(self) -> None:
        """Write what is left, and stop."""


class NoLog:
    """Keeps nothing."""

    written = dropped = queued = 0

    def put(self, batch: Scored) -> None:
        """Forget the batch."""

    def refused(self, column: str, reason: str) -> None:
        """Count nothing."""

    def close(self) -> None:
        """There is nothing to write."""


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
        self.reader = Reader(self.contract, limits.rows)
        self.schema = document(self.contract, record["version"], limits)
        self.loaded = time.time()


class Service:
    """The model in use, the log and the metrics.

    ``model`` is replaced as a whole, by one assignment: a request takes it once, so that its answer is of
    exactly one version.
    """

    def __init__(self, model: Model, log: Log) -> None:
        self.model, self.log = model, log
        self.metrics = Metrics(model.contract, model.predictor.profile, log)
        self.metrics.serves(model.named, model.loaded)
        self.draining = False

    def replace(self, model: Model) -> None:
        """Answer with another model from the next request on."""
        self.model = model
        self.metrics.serves(model.named, model.loaded)

    def score(self, model: Model, verdict: Verdict, asked: Asked) -> tuple[list[str], Prediction]:
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
        self.log.put(
            Scored(
                ids, time.time(), asked.id, asked.subject, rows, *prediction,
                time.perf_counter() - asked.started, "serve", "champion", model.version, model.digest,
            )
        )  # fmt: skip
        return ids, prediction

    def refused(self, findings: Sequence[Finding]) -> None:
        """Count what a refusal found; a name that a client made up becomes ``other``."""
        names = self.model.contract.names
        for finding in findings:
            column = finding.column if finding.column in names else "other"
            self.metrics.invalid.labels(column, finding.got).inc()
            self.log.refused(column, finding.got)
        self.metrics.predictions.labels("refused").inc(
            len({finding.row for finding in findings}) or 1
        )
