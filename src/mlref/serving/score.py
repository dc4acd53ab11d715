"""The one way to a prediction, whatever protocol asks: judge, predict, count, log."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from mlref.errors import RowsRefused
from mlref.rows import Verdict
from mlref.serving.boundary import Call
from mlref.serving.metrics import Metrics, reason
from mlref.serving.model import Scored, Served


class Log(Protocol):
    """What the service asks of a prediction log; both must cost next to nothing."""

    def put(self, scored: Scored) -> None:
        """Keep the predictions of one request."""

    def refused(self, column: str, reason: str) -> None:
        """Count a value that was refused."""


class Result(NamedTuple):
    """Scored rows, with what the judge said of them and the model that answered."""

    served: Served
    verdict: Verdict
    scored: Scored


class Scorer:
    """Scores requests with the model that is at work.

    Parameters
    ----------
    served : Served
        The model; to replace it is to set the attribute of this name.
    metrics : Metrics
        Where everything is counted.
    log : Log, optional
        The prediction log; without one nothing is kept.
    """

    def __init__(self, served: Served, metrics: Metrics, log: Log | None = None) -> None:
        self.served = served
        self.metrics = metrics
        self.log = log

    def score(self, read: Callable[[Served], Verdict], call: Call) -> Result:
        """Score the rows of a request.

        Parameters
        ----------
        read : function
            Decodes and judges the rows, for the model that it is given.
        call : Call
            The request.
        """
        served = self.served  # one request, one model, also when it is replaced meanwhile
        try:
            verdict = read(served)
        except RowsRefused as refusal:
            self.metrics.refused(refusal.findings, served.contract.names)
            if self.log:
                for finding in refusal.findings:
                    known = finding.column if finding.column in served.contract.names else ""
                    self.log.refused(known or "", reason(finding))
            raise
        try:
            scored = served.score(verdict, call)
        except Exception:
            self.metrics.failed()
            raise
        self.metrics.scored(scored)
        if self.log:
            self.log.put(scored)
        return Result(served, verdict, scored)
