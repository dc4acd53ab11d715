"""Prometheus metrics of the service, read at ``/metrics``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
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
    registry : CollectorRegistry
        What `/metrics` shows.
    """

    def __init__(self, contract: Contract, profile: Mapping[str, Any]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # twice as many series, for nothing
        registry = self.registry = CollectorRegistry(auto_describe=False)
        self.predictions = Counter(
            "model_predictions_total", "Rows by outcome.", ["outcome"], registry=registry
        )
        self.invalid = Counter(
            "model_input_invalid_total", "Refused values.", ["feature", "reason"], registry=registry
        )
        self.shed = Counter(
            "requests_shed_total",
            "Requests refused for want of room.",
            ["reason"],
            registry=registry,
        )
        for outcome in ("answered", "refused", "failed"):  # from 0, so that rates are right
            self.predictions.labels(outcome)
        self._answered = self.predictions.labels("answered")
        for reason in ("queue", "uploads", "labels"):
            self.shed.labels(reason)
        self._info = Gauge(
            "model_info", "The model in use.", ["name", "version", "digest"], registry=registry
        )
        self._loaded = Gauge(
            "model_loaded_timestamp_seconds", "When the model in use was loaded.", registry=registry
        )
        self.requests = Histogram(
            "http_server_request_duration_seconds", "From the head of a request to its answer.",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._features = ColumnHistograms(
            "model_feature_value", "Encoded values of a feature; buckets at training quantiles.",
            {column.name: _buckets(column, profile) for column in contract.features}, "feature",
        )  # fmt: skip
        self._values = ColumnHistograms(
            "model_prediction_value", "Predicted values; buckets at training quantiles.",
            {"": _buckets(contract.target, profile)},
        )  # fmt: skip
        registry.register(self._features)
        registry.register(self._values)
        ProcessCollector(registry=registry)

    def serves(self, model: Mapping[str, Any], moment: float) -> None:
        """Note which model answers from now on."""
        self._info.clear()
        self._info.labels(**model).set(1)
        self._loaded.set(moment)

    def answered(self, rows: Array, values: Array) -> None:
        """Count rows, shape (n, features), and their predictions, shape (n,)."""
        self._answered.inc(len(rows))
        self._features.add(rows)
        self._values.add(values[:, None])


class ColumnHistograms(Collector):
    """A histogram for each column of an array, counted for all cells at once.

    The client library's histogram takes one value at a time, 2 µs each, which is too slow for 10,000 rows.

    Parameters
    ----------
    name, help : str
        As Prometheus shows them.
    bounds : mapping of str to sequence of float
        Upper bounds of the buckets for each column.
    label : str, optional
        The label that holds the column's name.
    """

    def __init__(
        self, name: str, help: str, bounds: Mapping[str, Sequence[float]], label: str = ""
    ) -> None:
        self.name, self.help, self.label = name, help, label
        self._ends = {key: sorted(set(each)) for key, each in bounds.items()}
        most = 1 + max(map(len, self._ends.values()))  # the last ones are infinite: they count all
        padded = [ends + [np.inf] * (most - len(ends)) for ends in self._ends.values()]
        self._bounds = np.array(padded, dtype=np.float64)
        self._counts, self._sums = np.zeros(self._bounds.shape), np.zeros(len(padded))

    def add(self, rows: Array) -> None:
        """Count rows, shape (n, columns); null is not counted."""
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            below = part[:, :, None] <= self._bounds
            # as bytes they are summed several times faster than as truth values
            self._counts += np.add.reduce(below.view(np.uint8), axis=0, dtype=np.uint32)
            self._sums += np.add.reduce(part, axis=0, where=below[:, :, -1])

    def collect(self) -> Iterator[Metric]:
        """Give Prometheus the series."""
        labels = [self.label] if self.label else []
        family = HistogramMetricFamily(self.name, self.help, labels=labels)
        for place, (key, ends) in enumerate(self._ends.items()):
            names = [*(f"{end:.6g}" for end in ends), "+Inf"]
            buckets = list(zip(names, self._counts[place].tolist(), strict=False))
            family.add_metric([key] if labels else [], buckets, float(self._sums[place]))
        yield family


class LogMetrics(Collector):
    """Counts of the prediction log, read when somebody asks."""

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
    ends = list(measured.values()) or column.expected or column.valid or ()
    return [float(end) for end in ends]
