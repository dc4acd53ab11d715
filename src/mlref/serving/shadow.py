"""The shadow: a second model that scores the same rows, for the prediction log alone."""

import queue
import threading
from typing import Self

import structlog

from mlref.prediction_log.records import Predicted, PredictionLog, Refused
from mlref.serving.model import Model

CAPACITY = 50_000
"""Rows that may wait; the shadow skips rows that arrive while so many do."""

_LOG = structlog.get_logger("mlref.serving")


class Shadow:
    """The prediction log with a model in front of it; a context manager that is closed at the end.

    A thread of its own scores each answered row once more and logs it under the same id, so that one label
    judges both models.

    Parameters
    ----------
    log : PredictionLog
        Where both go.
    model : Model
        The shadow, of the same contract as the model that answers.

    Attributes
    ----------
    dropped : int
        Rows that it did not score.
    """

    def __init__(self, log: PredictionLog, model: Model) -> None:
        self.model, self.dropped = model, 0
        self._log, self._waiting, self._lock = log, 0, threading.Lock()
        self._queue: queue.SimpleQueue[Predicted | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def replace(self, model: Model) -> None:
        """Score with another model from the next rows on."""
        self.model = model

    def predictions(self, predicted: Predicted) -> None:
        """Take in answered rows."""
        self._log.predictions(predicted)
        rows = len(predicted.ids)
        with self._lock:
            if self._waiting + rows > CAPACITY:
                self.dropped += rows
                return
            self._waiting += rows
        self._queue.put(predicted)

    def refusals(self, refused: Refused) -> None:
        """Hand on what was refused."""
        self._log.refusals(refused)

    def close(self) -> None:
        """Score what waits, and end."""
        self._queue.put(None)
        self._thread.join()
        if self.dropped:
            _LOG.warning("the shadow was too slow", rows=self.dropped)

    def __enter__(self) -> Self:
        """Begin a block at whose end it is closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _run(self) -> None:
        while (predicted := self._queue.get()) is not None:
            try:
                self._score(predicted, self.model)
            except Exception as error:  # a failing shadow must not disturb the service
                _LOG.error("the shadow failed", exc_info=error)
            with self._lock:
                self._waiting -= len(predicted.ids)

    def _score(self, predicted: Predicted, model: Model) -> None:
        if model.digest != predicted.model.digest:  # the challenger may have become the champion
            value, lower, upper = model.predictor.predict(predicted.rows)
            self._log.predictions(
                predicted._replace(
                    model=model.logged, value=value, lower=lower, upper=upper, latency=None,
                    role="shadow",
                )
            )  # fmt: skip
