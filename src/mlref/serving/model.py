"""The model in use: load it, predict, count and log, and follow the alias to the next one."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import structlog

from mlref.bundle.predictor import Predictor
from mlref.bundle.store import ALIASES, Store
from mlref.core.errors import BundleError, RowsRefused
from mlref.core.rows import warning
from mlref.core.task import Prediction
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.records import LoggedModel, Predicted, PredictionLog, Refused
from mlref.serving.metrics import Metrics
from mlref.serving.request import REASONS, Limits, Reader, RequestContext, ValidRows

EVERY = 0.5
"""Seconds between two looks at the alias, a file of 65 bytes."""

_LOG = structlog.get_logger("mlref.serving")


class ModelName(msgspec.Struct):
    """Which model answered."""

    name: str
    version: int | str
    digest: str


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
        self.contract, self.digest = predictor.contract, predictor.digest
        self.version = str(record["version"])
        self.named = ModelName(self.contract.name, record["version"], self.digest)
        self.warnings = [warning(column) for column in self.contract.features]
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

    def __init__(self, model: Model, log: PredictionLog | None = None) -> None:
        self.model, self.log = model, log
        self.metrics = Metrics(model.contract, model.predictor.profile)
        self.draining = False

    def answer(
        self, model: Model, rows: ValidRows, context: RequestContext
    ) -> tuple[list[str], Prediction]:
        """Predict rows, count them and hand them to the log; the same for every protocol.

        Parameters
        ----------
        model : Model
            The model in use when the request came.
        rows : ValidRows
            Of the request, by the model's contract.
        context : RequestContext
            Of the request.

        Returns
        -------
        ids : list of str
            One for each row.
        prediction : Prediction
            Values and intervals, in the order of the rows.
        """
        prediction = model.predictor.predict(rows.array)
        ids = new_ids(len(rows.array))
        self.metrics.answered(rows.array, prediction.value)
        if self.log:
            predicted = Predicted(
                model.logged, ids, rows.array, *prediction,
                unusual=rows.unusual, latency=time.perf_counter() - context.started,
                request_id=context.id, subject=context.subject,
            )  # fmt: skip
            self.log.predictions(predicted)
        return ids, prediction

    @contextmanager
    def counting(self, model: Model) -> Iterator[None]:
        """Count and log what is refused while a request for predictions is read."""
        try:
            yield
        except RowsRefused as error:
            for one in error.violations:  # a column that a client made up becomes `other`
                feature = one.column if one.column in model.contract.names else "other"
                reason = "form" if one.row is None else REASONS.get(one.got, "type")
                self.metrics.invalid.labels(feature, reason).inc()
            rows = {one.row for one in error.violations}
            self.metrics.predictions.labels("refused").inc(len(rows))
            if self.log:
                self.log.refusals(Refused(model.logged, error.violations))
            raise


class Holder(Protocol):
    """What uses one model at a time: the service, or its shadow."""

    model: Model


class Watch:
    """Takes on the model that an alias points to, whenever it points to another.

    A model that does not load, was altered or is of another contract is refused and the present one goes on.
    It is tried again while the pointer names it, since the store may have been only half written.

    Parameters
    ----------
    holder : Holder
        Whose model is replaced.
    store : Store
        Holds the pointer.
    reference : str
        The alias; a version or a digest never changes, so there is nothing to follow.
    """

    def __init__(self, holder: Holder, store: Store, reference: str) -> None:
        self.holder, self.store, self.reference = holder, store, reference
        self._refused = ""

    async def run(self) -> None:
        """Follow the alias until the service ends."""
        while self.reference in ALIASES:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Compare the alias with the model in use, and take on another."""
        present, refused = self.holder.model, ""
        try:
            if self.store.alias(self.reference) not in (None, present.digest):
                # loading takes a tenth of a second, in which requests go on
                model = await asyncio.to_thread(open_model, self.store, self.reference, present)
                self.holder.model = model
                _LOG.info("model changed", **msgspec.structs.asdict(model.named))
        except Exception as error:  # of any kind: the present model stays, and so does the watch
            refused = str(error)
            if refused != self._refused:  # once, not twice a second
                _LOG.error("model refused", reason=refused, kept=present.version)
        self._refused = refused


def open_model(store: Store, reference: str, present: Model) -> Model:
    """Load another model, which must take the same rows.

    Raises
    ------
    BundleError
        When it is of another contract, with both versions, or its bundle was altered.
    ModelNotFound
        When the store has no such model.
    """
    model = Model(*store.open(reference), present.limits)
    if model.contract != present.contract:
        raise BundleError(
            f"Version {model.version} is of another contract than version {present.version}, so clients"
            " would have to change with it. Restart the service to take it on."
        )
    return model
