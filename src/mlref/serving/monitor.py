"""What `mlref monitor` left in the log's database: its page at ``/monitor``, its results in ``/metrics``."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from fastapi import APIRouter, Response
from prometheus_client import metrics_core as families
from prometheus_client.registry import Collector

from mlref.core.errors import MlrefError
from mlref.serving.errors import LogAway

EVERY = 15.0
"""Seconds between two looks at the results: as often as Prometheus usually asks."""

NOTHING = (
    "<!doctype html><title>Monitoring</title><p>Nothing yet: run <code>mlref monitor</code>.</p>"
)

Show = Callable[[str], str | None]
"""Reads what the monitor left under a name; MlrefError when the database is away."""


def nothing(name: str) -> None:
    """Read nothing: without a log nothing is monitored."""


_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_LOG = structlog.get_logger("mlref.serving")


class MonitorMetrics(Collector):
    """The monitor's results as series, each of which is there from the start; without results it is empty.

    Parameters
    ----------
    show : callable
        Reads the results.
    """

    def __init__(self, show: Show) -> None:
        self._show, self._found, self._away = show, dict[str, Any](), False

    async def run(self) -> None:
        """Read the results again and again until the service ends; a database that is away is waited for."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(EVERY)

    def look(self) -> None:
        """Read the results."""
        try:
            self._found = json.loads(self._show("metrics") or "{}")
            self._away = False
        except (MlrefError, ValueError) as error:
            if not self._away:  # once, not every quarter of a minute
                _LOG.warning("no results of the monitor", reason=str(error))
            self._away = True

    def collect(self) -> Iterator[families.Metric]:
        """Give Prometheus the series."""
        found, gauge = self._found, families.GaugeMetricFamily
        for name, meaning, key in (
            ("run_timestamp_seconds", "When the monitor last ran.", "run"),
            ("label_timestamp_seconds", "When the last judged label arrived.", "labelled"),
            ("label_lag_seconds", "Median time from prediction to label.", "lag"),
            ("label_coverage_ratio", "Labels a prediction.", "coverage"),
            ("loss", "Loss of the last labelled window, in the target's unit.", "loss"),
            ("expected_loss", "Loss expected without labels.", "expected"),
        ):
            family = gauge(f"model_monitor_{name}", meaning)
            if found.get(key) is not None:
                family.add_metric([], found[key])
            yield family
        drift = gauge(
            "model_monitor_drift_ratio", "Largest drift over its threshold.", labels=["feature"]
        )
        for feature, value in found.get("drift", {}).items():
            drift.add_metric([feature], value)
        alarms = gauge("model_monitor_open_alarms", "Open alarms.", labels=["severity"])
        for severity in ("page", "ticket"):
            alarms.add_metric([severity], found.get("alarms", {}).get(severity, 0))
        yield from (drift, alarms)


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
