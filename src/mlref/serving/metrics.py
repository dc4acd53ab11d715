"""What Prometheus may ask for at ``/metrics``.

Values are kept as they come, whole arrays, and counted in bulk when enough have gathered or somebody looks.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mlref.core.contract import Column, Contract
from mlref.core.rows import Array
from mlref.serving.histogram import Histogram

if TYPE_CHECKING:
    from mlref.prediction_log.writer import Writer

SECONDS = (
    *(50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0),
)
"""Buckets of a request's duration: an answer takes 100 µs, and the usual first bucket ends at 5 ms."""

WAITING = 200
"""Values that may wait to be counted."""


class Metrics(Collector):
    """All metrics of one service.

    Parameters
    ----------
    contract : Contract
        Names the features.
    profile : mapping
        The training rows' profile, whose quantiles become buckets.

    Attributes
    ----------
    registry : CollectorRegistry
        What is shown; whoever else has something to count registers it here.
    """

    def __init__(self, contract: Contract, profile: Mapping[str, Any]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice as many series, for nothing
        self.registry = CollectorRegistry(auto_describe=False)
        self.predictions = Counter(
            "model_predictions_total", "Rows by outcome.", ["outcome"], registry=self.registry
        )
        self._answered = self.predictions.labels("answered")
        self.invalid = Counter(
            "model_input_invalid_total",
            "Refused values.",
            ["feature", "reason"],
            registry=self.registry,
        )
        self.shed = Counter(
            "requests_shed_total",
            "Requests refused for want of room.",
            ["reason"],
            registry=self.registry,
        )
        for outcome in ("answered", "refused", "failed"):  # from 0, so that rates are right
            self.predictions.labels(outcome)
        for reason in ("queue", "uploads"):
            self.shed.labels(reason)
        self.info = Gauge(
            "model_info", "The model in use.", ["name", "version", "digest"], registry=self.registry
        )
        self.loaded = Gauge(
            "model_loaded_timestamp_seconds",
            "When the model in use was loaded.",
            registry=self.registry,
        )
        self._requests = Histogram(
            "http_server_request_duration_seconds", "From the head of a request to its answer.",
            ["http_request_method", "http_route", "http_response_status_code"],
        )  # fmt: skip
        self._features = Histogram(
            "model_feature_value", "Encoded values of a feature; buckets at training quantiles.",
            ["feature"],
        )  # fmt: skip
        self._values = Histogram(
            "model_prediction_value", "Predicted values; buckets at training quantiles."
        )
        self._names = contract.names
        for column in contract.features:
            self._features.open((column.name,), _buckets(column, profile))
        self._values.open((), _buckets(contract.target, profile))
        self._rows: list[Array] = []
        self._predicted: list[Array] = []
        self._waiting = 0
        self._durations: dict[tuple[str, ...], list[float]] = {}
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def serves(self, model: Mapping[str, Any], moment: float) -> None:
        """Note which model answers from now on."""
        self.info.clear()
        self.info.labels(**model).set(1)
        self.loaded.set(moment)

    def predicted(self, rows: Array, values: Array) -> None:
        """Note rows, shape (n, features), and their predictions, shape (n,)."""
        self._answered.inc(len(rows))
        self._rows.append(rows)
        self._predicted.append(values)
        self._waiting += len(rows)
        if self._waiting >= WAITING:
            self.count_rows()

    def answered(self, labels: tuple[str, str, str], seconds: float) -> None:
        """Note a request's method, route and status, and how long it took."""
        durations = self._durations.setdefault(labels, [])
        durations.append(seconds)
        if len(durations) >= WAITING:
            self.count_requests()

    def count_rows(self) -> None:
        """Count the rows that wait."""
        if self._waiting:
            rows, self._rows = np.concatenate(self._rows), []
            values, self._predicted = np.concatenate(self._predicted), []
            self._waiting = 0
            for name, column in zip(self._names, rows.T, strict=True):
                self._features.add((name,), column)
            self._values.add((), values)

    def count_requests(self) -> None:
        """Count the durations that wait."""
        waiting, self._durations = self._durations, {}
        for labels, seconds in waiting.items():
            self._requests.open(labels, SECONDS)
            self._requests.add(labels, np.array(seconds))

    def collect(self) -> Iterator[Metric]:
        """Give Prometheus what is counted here."""
        self.count_rows()
        self.count_requests()
        for histogram in (self._requests, self._features, self._values):
            yield from histogram.collect()


class LogMetrics(Collector):
    """How the prediction log fares, read when somebody looks."""

    def __init__(self, log: "Writer") -> None:
        self._log = log

    def collect(self) -> Iterator[Metric]:
        """Give Prometheus the log's counts."""
        yield CounterMetricFamily(
            "prediction_log_written", "Rows that are in the database.", self._log.written
        )
        yield CounterMetricFamily(
            "prediction_log_dropped", "Rows that were not logged.", self._log.dropped
        )
        yield GaugeMetricFamily(
            "prediction_log_queue_length", "Rows that wait.", self._log.queue_length
        )


def _buckets(column: Column, profile: Mapping[str, Any]) -> list[float]:
    """Upper bounds: the training quantiles of a number, each code of a category."""
    if column.allowed is not None:
        return [float(code) for code in range(len(column.allowed))]
    measured = profile["columns"].get(column.name, {}).get("quantiles", {})
    return list(measured.values()) or [float(end) for end in column.expected or column.valid or ()]
