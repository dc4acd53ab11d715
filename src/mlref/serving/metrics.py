"""Prometheus metrics of the service, read at ``/metrics``."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import prometheus_client as prometheus
from prometheus_client import metrics_core as families
from prometheus_client.registry import Collector

from mlref.core.contract import Column, Contract
from mlref.core.rows import Array

if TYPE_CHECKING:
    from mlref.prediction_log.writer import Writer

SECONDS = (
    *(50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0),
)
"""Buckets of a request's duration: an answer takes 0.2 ms, and the library's first bucket ends at 5 ms."""

PART = 1000
"""Rows that are counted at once; this bounds memory."""


class Metrics:
    """All metrics of one service.

    Parameters
    ----------
    contract : Contract
        Names the features.
    profile : mapping
        Profile of the training rows, whose quantiles become buckets.

    Attributes
    ----------
    registry : prometheus.CollectorRegistry
        What `/metrics` shows.
    """

    def __init__(self, contract: Contract, profile: Mapping[str, Any]) -> None:
        # they are twice as many series, for nothing
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call] # has no types
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        counter = partial(prometheus.Counter, registry=self.registry)
        gauge = partial(prometheus.Gauge, registry=self.registry)
        self.predictions = counter("model_predictions_total", "Rows by outcome.", ["outcome"])
        self.invalid = counter(
            "model_input_invalid_total", "Refused values.", ["feature", "reason"]
        )
        self.shed = counter("requests_shed_total", "Requests refused for want of room.", ["reason"])
        for outcome in ("answered", "refused", "failed"):  # from 0, so that rates are right
            self.predictions.labels(outcome)
        self._answered = self.predictions.labels("answered")
        for reason in ("queue", "uploads", "labels"):
            self.shed.labels(reason)
        self.info = gauge("model_info", "The model in use.", ["name", "version", "digest"])
        self.loaded = gauge("model_loaded_timestamp_seconds", "When the model in use was loaded.")
        self.requests = prometheus.Histogram(
            "http_server_request_duration_seconds",
            "From the head of a request to its answer.",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._values = ValueHistograms(contract, profile)
        self.registry.register(self._values)
        prometheus.ProcessCollector(registry=self.registry)

    def answered(self, rows: Array, values: Array) -> None:
        """Count rows, shape (n, features), and their predictions, shape (n,)."""
        self._answered.inc(len(rows))
        self._values.add(np.concatenate((rows, values[:, None]), axis=1))


class ValueHistograms(Collector):
    """Histograms of each feature's encoded values and of the predicted ones, counted for all cells at once.

    The client library's histogram takes one value at a time, 2 µs each, which is too slow for 10,000 rows.

    Parameters
    ----------
    contract : Contract
        Names the columns.
    profile : mapping
        Profile of the training rows, whose quantiles are the buckets' upper ends.
    """

    def __init__(self, contract: Contract, profile: Mapping[str, Any]) -> None:
        self._names = contract.names
        columns = *contract.features, contract.target
        self._ends = [sorted({*_ends(column, profile), np.inf}) for column in columns]
        most = max(map(len, self._ends))
        padded = [ends + [np.inf] * (most - len(ends)) for ends in self._ends]
        self._bounds = np.array(padded, dtype=np.float64)
        self._counts, self._sums = np.zeros(self._bounds.shape), np.zeros(len(padded))

    def add(self, rows: Array) -> None:
        """Count rows, shape (n, features and prediction); null is not counted."""
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            below = part[:, :, None] <= self._bounds
            # as bytes they are summed several times faster than as truth values
            self._counts += np.add.reduce(below.view(np.uint8), axis=0, dtype=np.uint32)
            self._sums += np.add.reduce(part, axis=0, where=below[:, :, -1])

    def collect(self) -> Iterator[families.Metric]:
        """Give Prometheus the series."""
        features = families.HistogramMetricFamily(
            "model_feature_value",
            "Encoded values of a feature; buckets at training quantiles.",
            labels=["feature"],
        )
        target = families.HistogramMetricFamily(
            "model_prediction_value", "Predicted values; buckets at training quantiles."
        )
        for place, ends in enumerate(self._ends):
            names = ["+Inf" if end == np.inf else f"{end:.6g}" for end in ends]
            buckets = list(zip(names, self._counts[place].tolist(), strict=False))
            labels = self._names[place : place + 1]  # the target has none
            (features if labels else target).add_metric(labels, buckets, float(self._sums[place]))
        yield from (features, target)


def _ends(column: Column, profile: Mapping[str, Any]) -> list[float]:
    """Upper ends of buckets: the training quantiles of a number, each code of a category."""
    if column.allowed is not None:
        return [float(code) for code in range(len(column.allowed))]
    measured = profile["columns"].get(column.name, {}).get("quantiles", {})
    return [float(end) for end in [*measured.values()] or column.span]


class LogMetrics(Collector):
    """Counts of the prediction log, read when somebody asks."""

    def __init__(self, log: "Writer") -> None:
        self._log = log

    def collect(self) -> Iterator[families.Metric]:
        """Give Prometheus the log's counts."""
        for name, meaning, count in (
            ("written", "Rows that are in the database.", self._log.written),
            ("dropped", "Rows that were not logged.", self._log.dropped),
            ("rejected", "Rows that the database refused.", self._log.rejected),
        ):
            yield families.CounterMetricFamily(f"prediction_log_{name}", meaning, count)
        yield families.GaugeMetricFamily(
            "prediction_log_queue_length", "Rows that wait.", self._log.queue_length
        )
