"""What Prometheus scrapes at /metrics: requests, predictions, refusals, and the values themselves.

On the way of a request only lists grow and counters count. Values are sorted into their buckets when
a thousand rows wait, or somebody scrapes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from mlref.contract import Column
from mlref.errors import Finding
from mlref.rows import Array
from mlref.serving.model import Scored, Served

SECONDS = (50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
"""Upper ends of the buckets of a request's duration; those that libraries bring begin at 5 ms."""

_REASONS = {
    "nothing": "missing",
    "null": "missing",
    "an unknown column": "unknown",
    "another text": "category",
    "a number outside": "range",
}


def reason(finding: Finding) -> str:
    """In one word, why a value was refused."""
    return _REASONS.get(finding.got, "type")


class Tally:
    """How often values of some columns fell into each bucket.

    Parameters
    ----------
    edges : mapping of str to sequence of float
        Upper ends of the buckets, rising, by name; one more bucket takes what is above.
    """

    MOST = 1_000
    """Rows that may wait to be sorted."""

    def __init__(self, edges: Mapping[str, Sequence[float]]) -> None:
        self.edges = {name: np.asarray(ends, dtype=np.float64) for name, ends in edges.items()}
        self.counts = {name: np.zeros(len(ends) + 1, int) for name, ends in self.edges.items()}
        self.sums = dict.fromkeys(edges, 0.0)
        self._waiting: list[Array] = []
        self._rows = 0

    def add(self, array: Array) -> None:
        """Take an array of shape (n, columns); NaN is counted nowhere."""
        self._waiting.append(array)
        self._rows += len(array)
        if self._rows > self.MOST:
            self.sort()

    def sort(self) -> None:
        """Sort what waits into the buckets."""
        if not self._waiting:
            return
        table, self._waiting, self._rows = np.concatenate(self._waiting), [], 0
        for (name, ends), column in zip(self.edges.items(), table.T, strict=True):
            values = column[~np.isnan(column)]
            places = np.searchsorted(ends, values)
            self.counts[name] += np.bincount(places, minlength=len(ends) + 1)
            self.sums[name] += float(values.sum())

    def buckets(self, name: str) -> list[tuple[str, float]]:
        """Cumulative counts by upper end, as Prometheus wants them."""
        ends = [f"{end:.12g}" for end in self.edges[name]] + ["+Inf"]
        return list(zip(ends, np.cumsum(self.counts[name]).tolist(), strict=True))


class Metrics(Collector):
    """The metrics of one service."""

    def __init__(self, served: Served) -> None:
        self.registry = CollectorRegistry()
        held: dict[str, Any] = {"registry": self.registry}
        self._duration = Histogram(
            "http_server_request_duration_seconds", "Time from the headers to the end of the answer.",
            ["method", "route", "status"], buckets=SECONDS, **held
        )  # fmt: skip
        self._predictions = Counter(
            "model_predictions",
            "Rows answered, rows with a refused value, requests failed.",
            ["outcome"],
            **held,
        )
        self._invalid = Counter(
            "model_input_invalid", "Values that were refused.", ["feature", "reason"], **held
        )
        self._shed = Counter(
            "requests_shed", "Requests turned away to protect the service.", ["reason"], **held
        )
        self._info = Gauge(
            "model_info", "The model that answers.", ["name", "version", "digest"], **held
        )
        self._loaded = Gauge("model_loaded_timestamp_seconds", "When it was loaded.", **held)
        self.routes: set[str] = set()
        self._children: dict[tuple[str, str, int], Histogram] = {}
        self._answered = self._predictions.labels("answered")
        self.registry.register(self)
        self.model(served)

    def model(self, served: Served) -> None:
        """Tell which model answers from now on; its values are counted anew, in its own buckets."""
        columns = served.predictor.profile["columns"]
        target = served.contract.target
        self._features = Tally({c.name: _edges(c, columns) for c in served.contract.features})
        self._values = Tally({target.name: _edges(target, columns)})
        self._info.clear()
        self._info.labels(**served.name).set(1)
        self._loaded.set_to_current_time()

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; paths that are none of ours count as one, and status 0 is nobody to answer."""
        key = (method, path if path in self.routes else "other", status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._duration.labels(*key)
        child.observe(seconds)

    def scored(self, scored: Scored) -> None:
        """Count the rows of an answered request."""
        self._answered.inc(len(scored.ids))
        self._features.add(scored.features)
        self._values.add(scored.value[:, None])

    def refused(self, findings: Sequence[Finding], names: Sequence[str]) -> None:
        """Count the values of a refused request; a column that the client made up has no name here."""
        self._predictions.labels("refused").inc(len({finding.row for finding in findings}) or 1)
        for finding in findings:
            known = finding.column if finding.column in names else ""
            self._invalid.labels(known, reason(finding)).inc()

    def failed(self) -> None:
        """Count a request on which the service failed."""
        self._predictions.labels("failed").inc()

    def shed(self, why: str) -> None:
        """Count a request that was turned away."""
        self._shed.labels(why).inc()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the distributions of the values."""
        features = HistogramMetricFamily(
            "model_feature_value", "Values of a feature; buckets at quantiles of the training rows.",
            labels=["feature"],
        )  # fmt: skip
        value = HistogramMetricFamily(
            "model_prediction_value",
            "Predicted values; buckets at quantiles of the training target.",
        )
        for tally, family in ((self._features, features), (self._values, value)):
            tally.sort()
            for name in tally.edges:
                labels = [name] if family is features else []
                family.add_metric(labels, tally.buckets(name), tally.sums[name])
            yield family

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return generate_latest(self.registry)


def _edges(column: Column, profile: Mapping[str, Any]) -> list[float]:
    """Where the buckets of a column end: at each category, or at quantiles of the training rows."""
    if column.allowed is not None:
        return [float(code) for code in range(len(column.allowed))]
    return sorted(set(profile.get(column.name, {}).get("quantiles", {}).values()))
