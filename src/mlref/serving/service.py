"""What all routes share: the model in use, and what happens with each prediction."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mlref.bundle.predictor import Prediction, Predictor
from mlref.errors import Finding
from mlref.rows import Array, Verdict, warning
from mlref.serving.decode import reason
from mlref.serving.ids import new_ids
from mlref.serving.limits import Limits
from mlref.serving.metrics import Metrics
from mlref.serving.openapi import document
from mlref.serving.reader import Reader


class Scored(NamedTuple):
    """Answered rows as they go to the prediction log: n rows of one request, by one model."""

    ids: Sequence[str]
    time: float
    request_id: str
    subject: str | None
    features: Array
    value: Array
    lower: Array
    upper: Array
    unusual: Sequence[Finding]
    """What the answer warns of: the row's place and the column."""
    latency: float
    """Seconds since the head of the request."""
    source: str
    role: str
    version: str
    digest: str


class Log(Protocol):
    """Where predictions are kept. It is called on the hot path: it takes in, never waits and never raises."""

    def predictions(self, scored: Scored) -> None:
        """Take in the answered rows of a request."""

    def refusals(self, request_id: str, counts: Mapping[tuple[str, str], int]) -> None:
        """Take in how many values of which column a request was refused for, by reason."""


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

    Parameters
    ----------
    model : Model
        The model that answers first.
    log : Log, optional
        Where predictions and refusals are kept; without one nothing is kept.
    """

    def __init__(self, model: Model, log: Log | None = None) -> None:
        self.model, self.log = model, log
        self.metrics = Metrics(model.contract, model.predictor.profile)
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
        if self.log is not None:
            latency = time.perf_counter() - asked.started
            self.log.predictions(
                Scored(
                    ids, time.time(), asked.id, asked.subject, rows, *prediction, verdict.unusual,
                    latency, "serve", "champion", model.version, model.digest,
                )
            )  # fmt: skip
        return ids, prediction

    def refused(self, request_id: str, findings: Sequence[Finding]) -> None:
        """Count what a refusal found; a name that a client made up becomes ``other``."""
        names = self.model.contract.names
        counts = Counter(
            (finding.column if finding.column in names else "other", reason(finding.got))
            for finding in findings
        )
        for labels, count in counts.items():
            self.metrics.invalid.labels(*labels).inc(count)
        rows = len({finding.row for finding in findings})
        self.metrics.predictions.labels("refused").inc(rows)
        if self.log is not None:
            self.log.refusals(request_id, counts)
