"""A second model that scores the same rows and answers nobody: its predictions go to the log alone."""

import queue
import threading
from typing import Self

import structlog

from mlref.prediction_log.records import Predicted, PredictionLog, Refused
from mlref.serving.service import Model

CAPACITY = 50_000
"""Rows that may wait; those that come while so many do are not scored by the shadow."""

_LOG = structlog.get_logger("mlref.serving")


class Shadow:
    """The prediction log with a model in front of it; ends with :meth:`close`, or as a context manager.

    Each answer is handed on, and scored once more in a thread of its own, so that nobody waits for it. The
    ids are those of the answers: one label judges both.

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
            except Exception as error:  # the shadow answers nobody, so nobody may suffer from it
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
