"""What the service hands to the log: arrays of answered rows, and rejected inputs."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from mlref.core.contract import Contract
from mlref.core.errors import Violation
from mlref.core.rows import Array, Mask

Role = Literal["champion", "shadow"]
Source = Literal["serve", "batch"]


class LoggedModel(NamedTuple):
    """The model that answers; made once when it is loaded.

    Parameters
    ----------
    version, digest : str
        As in its registration record.
    contract : Contract
        Encodes its rows.
    """

    version: str
    digest: str
    contract: Contract


class Predicted(NamedTuple):
    """The n rows of one request and their answers. Another thread reads it: do not change it afterwards.

    Parameters
    ----------
    model : LoggedModel
        The model that answered.
    ids : sequence of str
        From :func:`mlref.prediction_log.ids.new_ids`; a shadow takes those of the champion.
    rows : ndarray of float64, shape (n, features)
        As encoded by ``mlref.core.rows``.
    value, lower, upper : ndarray of float64, shape (n,)
        In the unit of the target.
    unusual : ndarray of bool, shape (n, features), optional
        Values that were accepted with a warning.
    latency : float, optional
        Seconds that the request took so far.
    request_id : str, optional
        The id of the request in the service's own log.
    subject : str, optional
        Whom the rows are about, in the caller's words.
    role : str
        Whether the answer was given (champion) or only noted (shadow).
    source : str
        Where the rows came from.
    """

    model: LoggedModel
    ids: Sequence[str]
    rows: Array
    value: Array
    lower: Array
    upper: Array
    unusual: Mask | None = None
    latency: float | None = None
    request_id: str | None = None
    subject: str | None = None
    role: Role = "champion"
    source: Source = "serve"


class Refused(NamedTuple):
    """The violations of one rejected request; the log keeps columns and reasons, no values.

    Parameters
    ----------
    model : LoggedModel
        The model whose contract was broken.
    violations : sequence of Violation
        At least one.
    """

    model: LoggedModel
    violations: Sequence[Violation]


class PredictionLog(Protocol):
    """What the service needs of a log. Neither call waits or raises."""

    def predictions(self, predicted: Predicted) -> None:
        """Log answered rows."""

    def refusals(self, refused: Refused) -> None:
        """Log rejected inputs."""
