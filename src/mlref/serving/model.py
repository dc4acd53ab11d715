"""The model that answers, with all that depends on it, so that it is replaced as one."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from mlref.bundle.predictor import Predictor
from mlref.errors import Finding
from mlref.rows import Array, Verdict
from mlref.serving.boundary import Call
from mlref.serving.decode import Reader
from mlref.serving.ids import new_ids
from mlref.serving.openapi import document


class Scored(NamedTuple):
    """What is kept of an answered request of n rows: the prediction log takes one object a request."""

    ids: list[str]
    time: float
    """Seconds since the epoch."""
    request_id: str
    subject: str | None
    features: Array
    value: Array
    lower: Array
    upper: Array
    latency: float
    """Seconds from the whole body to the values."""
    source: str
    role: str
    version: int | str
    digest: str


class Served:
    """One model at work.

    Parameters
    ----------
    predictor : Predictor
        The loaded bundle.
    record : dict
        Its registration record in the bundle store.
    """

    def __init__(self, predictor: Predictor, record: dict[str, Any]) -> None:
        self.predictor = predictor
        self.record = record
        self.contract = predictor.contract
        self.version = record["version"]
        self.reader = Reader(self.contract)
        self.schema = document(self.contract, self.version)
        self.name = {
            "name": self.contract.name, "version": self.version, "digest": predictor.digest
        }  # fmt: skip

    def score(self, verdict: Verdict, call: Call) -> Scored:
        """Predict judged rows."""
        began = time.perf_counter()
        prediction = self.predictor.predict(verdict.array)
        return Scored(
            new_ids(len(verdict.array)),
            time.time(),
            call.request_id,
            call.subject,
            verdict.array,
            *prediction,
            time.perf_counter() - began,
            "serve",
            "champion",
            self.version,
            self.predictor.digest,
        )

    def answer(self, scored: Scored, unusual: Iterable[Finding]) -> bytes:
        """The body of an answer: one object a row, with a sentence per unusual value."""
        columns = (column.tolist() for column in (scored.value, scored.lower, scored.upper))
        rows: list[dict[str, Any]] = [
            {"id": name, "value": value, "lower": lower, "upper": upper, "warnings": []}
            for name, value, lower, upper in zip(scored.ids, *columns, strict=True)
        ]
        for finding in unusual:
            sentence = f"{finding.column} is unusual: expected {finding.allowed}."
            rows[finding.row or 0]["warnings"].append(sentence)
        return orjson.dumps({"model": self.name, "predictions": rows})
