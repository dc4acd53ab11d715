"""The model in use: load it, predict, count and log, and follow the alias to the next one."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import structlog

from mlref.bundle.predictor import Prediction, Predictor
from mlref.bundle.store import ALIASES, Store
from mlref.core.errors import BundleError, RowsRefused
from mlref.core.rows import Mask, ValidationResult, warning
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, NoLog, Predicted, PredictionLog, Refused
from mlref.serving.metrics import Metrics
from mlref.serving.request import REASONS, Limits, Reader, RequestContext

EVERY = 0.5
"""Seconds between two looks at the alias, a file of 65 bytes."""

NO_LOG = NoLog()

_LOG = structlog.get_logger("mlref.serving")


class Model:
    """A loaded bundle and what is made once for it.

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
        self.loaded = time.time()


class Service:
    """The model in use, the log and the metrics.

    ``model`` is replaced by one assignment and a request takes it once: each answer is of one version.

    Parameters
    ----------
    model : Model
        The model that answers first.
    log : PredictionLog, optional
        Where predictions and refusals are kept.
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

    def answer(
        self, model: Model, read: Callable[[], ValidationResult], context: RequestContext
    ) -> tuple[list[str], Prediction, ValidationResult]:
        """Read and predict rows, count them and hand them to the log; the same for every protocol.

        Parameters
        ----------
        model : Model
            The model in use when the request came.
        read : callable
            Decodes and validates the request's rows; what it refuses is counted.
        context : RequestContext
            Of the request.

        Returns
        -------
        ids : list of str
            One for each row.
        prediction : Prediction
            Values and intervals, in the order of the rows.
        result : ValidationResult
            The rows, and what is unusual about them.
        """
        try:
            result = read()
        except RowsRefused as error:
            self._refused(model, error)
            raise
        rows = result.array
        prediction = model.predictor.predict(rows)
        ids = new_ids(len(rows))
        self.metrics.answered(rows, prediction.value)
        self.log.predictions(
            Predicted(
                model.logged, ids, rows, *prediction,
                unusual=_mask(result, model), latency=time.perf_counter() - context.started,
                request_id=context.id,
                subjects=[context.subject] * len(ids) if context.subject else None,
            )
        )  # fmt: skip
        return ids, prediction, result

    def _refused(self, model: Model, error: RowsRefused) -> None:
        """Count what was refused; a column that a client made up becomes ``other``."""
        names = model.contract.names
        counts = Counter(
            (one.column if one.column in names else "other", REASONS.get(one.got, "form"))
            for one in error.violations
        )
        for labels, count in counts.items():
            self.metrics.invalid.labels(*labels).inc(count)
        self.metrics.predictions.labels("refused").inc(len({one.row for one in error.violations}))
        self.log.refusals(Refused(model.logged, error.violations))


def _mask(result: ValidationResult, model: Model) -> Mask | None:
    """Which cells are unusual; None where none is."""
    if not result.unusual:
        return None
    mask = np.zeros(result.array.shape, bool)
    for violation in result.unusual:
        mask[violation.row or 0, model.contract.names.index(violation.column or "")] = True
    return mask


class User(Protocol):
    """What uses one model at a time: the service, or its shadow."""

    model: Model

    def replace(self, model: Model) -> None:
        """Use another from now on."""


class Watch:
    """Takes on the model that an alias points to, whenever it points to another.

    A model that does not load, was altered or is of another contract is refused and the present one goes on.
    It is tried again while the pointer names it, since the store may have been only half written.

    Parameters
    ----------
    user : User
        Whose model is replaced.
    store : Store
        Holds the pointer.
    reference : str
        The alias; a version or a digest never changes, so there is nothing to follow.
    """

    def __init__(self, user: User, store: Store, reference: str) -> None:
        self.user, self.store, self.reference = user, store, reference
        self._refused = ""

    async def run(self) -> None:
        """Follow the alias until the service ends."""
        while self.reference in ALIASES:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Compare the alias with the model in use, and take on another."""
        try:
            wanted = self.store.alias(self.reference)
            if wanted in (None, self.user.model.digest):
                self._refused = ""
                return
            # loading takes a tenth of a second, in which requests go on
            model = await asyncio.to_thread(self._load)
            self.user.replace(model)
            self._refused = ""
            _LOG.info("model changed", **model.named)
        except Exception as error:  # of any kind: the present model stays, and so does the watch
            if str(error) != self._refused:  # once, not twice a second
                self._refused = str(error)
                _LOG.error("model refused", reason=self._refused, kept=self.user.model.version)

    def _load(self) -> Model:
        present = self.user.model
        model = Model(*self.store.open(self.reference), present.limits)
        check_contract(present, model)
        return model


def check_contract(present: Model, other: Model) -> None:
    """Refuse a model that takes other rows.

    Raises
    ------
    BundleError
        Names both versions.
    """
    if other.contract != present.contract:
        raise BundleError(
            f"Version {other.version} is of another contract than version {present.version}, so clients"
            " would have to change with it. Restart the service to take it on."
        )
