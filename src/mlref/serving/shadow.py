"""The shadow: a second model that scores the same rows, for the prediction log alone."""

import queue
import threading

import structlog

from mlref.prediction_log.records import Predicted, PredictionLog, Refused
from mlref.serving.model import Model

CAPACITY = 500
"""Requests that may wait; the shadow leaves out those that come while so many do."""

_LOG = structlog.get_logger("mlref.serving")


class Shadow:
    """The prediction log with a model in front of it; it is closed at the end.

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
        self.model, self.dropped, self._log = model, 0, log
        self._queue: queue.Queue[Predicted | None] = queue.Queue(CAPACITY)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def predictions(self, predicted: Predicted) -> None:
        """Log answered rows, and have them scored."""
        self._log.predictions(predicted)
        try:
            self._queue.put_nowait(predicted)
        except queue.Full:
            self.dropped += len(predicted.ids)

    def refusals(self, refused: Refused) -> None:
        """Log what was refused."""
        self._log.refusals(refused)

    def close(self) -> None:
        """Score what waits, and end."""
        self._queue.put(None)
        self._thread.join()
        if self.dropped:
            _LOG.warning("the shadow was too slow", rows=self.dropped)

    def _run(self) -> None:
        while (predicted := self._queue.get()) is not None:
            try:
                self._score(predicted, self.model)
            except Exception as error:  # a failing shadow must not disturb the service
                _LOG.error("the shadow failed", exc_info=error)

    def _score(self, predicted: Predicted, model: Model) -> None:
        if model.digest != predicted.model.digest:  # the challenger may have become the champion
            answer = model.predictor.predict(predicted.rows)
            self._log.predictions(
                predicted._replace(
                    model=model.logged, latency=None, role="shadow", **answer._asdict()
                )
            )
