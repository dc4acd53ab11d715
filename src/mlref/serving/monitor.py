"""What `mlref monitor` left in the log's database: its page at ``/monitor``, its results in ``/metrics``."""

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import metrics_core as families
from prometheus_client.registry import Collector

from mlref.core.errors import MlrefError
from mlref.serving.errors import LogAway

NOTHING = (
    "<!doctype html><title>Monitoring</title><p>Nothing yet: run <code>mlref monitor</code>.</p>"
)

SERIES = {
    "run": ("run_timestamp_seconds", "When the monitor last ran."),
    "labelled": ("label_timestamp_seconds", "When the last judged label arrived."),
    "lag": ("label_lag_seconds", "Median time from prediction to label."),
    "coverage": ("label_coverage_ratio", "Labels a prediction."),
    "loss": ("loss", "Loss of the last labelled window, in the target's unit."),
    "expected": ("expected_loss", "Loss expected without labels."),
    "drift": ("drift_ratio", "Largest drift over its threshold.", "feature"),
    "alarms": ("open_alarms", "Open alarms.", "severity"),
}
"""Name, meaning and label of each series by its key in the results."""

NO_ALARM: dict[str, Any] = {"alarms": {"page": 0, "ticket": 0}}

Show = Callable[[str], str | None]
"""Reads what the monitor left under a name; MlrefError when the database is away."""


def nothing(name: str) -> None:
    """Read nothing: without a log nothing is monitored."""


_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class MonitorMetrics(Collector):
    """The monitor's results as series, each of which is there from the start; without results it is empty."""

    def __init__(self, show: Show) -> None:
        self._show, self._found = show, NO_ALARM

    def collect(self) -> Iterator[families.Metric]:
        """Give Prometheus the series; the last ones while the database is away."""
        with contextlib.suppress(MlrefError, ValueError):
            self._found = NO_ALARM | json.loads(self._show("metrics") or "{}")
        for key, (name, meaning, *labels) in SERIES.items():
            family = families.GaugeMetricFamily(f"model_monitor_{name}", meaning, labels=labels)
            found: Any = self._found.get(key, {} if labels else None)
            for label, value in found.items() if labels else [("", found)]:
                if value is not None:
                    family.add_metric([label] if labels else [], value)
            yield family


def router(show: Show) -> APIRouter:
    """Make the route."""
    router = APIRouter()

    @router.get("/monitor", include_in_schema=False)
    async def monitor() -> Response:
        """Show the monitor's page, which loads nothing and has no script."""
        try:
            page = await asyncio.to_thread(show, "page") or NOTHING
        except MlrefError as error:
            raise LogAway("The prediction log cannot be reached.") from error
        policy = f"default-src 'none'; frame-ancestors 'none'; style-src {_digests(page)}"
        return Response(page, media_type="text/html", headers={"content-security-policy": policy})

    return router


def _digests(page: str) -> str:
    """The style sheets of a page as a content security policy names them, and no other."""
    found = (hashlib.sha256(style.encode()).digest() for style in _STYLE.findall(page))
    return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in found) or "'none'"
