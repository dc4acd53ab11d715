"""What the service and batch scoring hand over: arrays as they have them, encoded later, elsewhere."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from mlref.core.contract import Contract
from mlref.core.errors import Violation
from mlref.core.rows import Array, Mask

Role = Literal["champion", "shadow"]
Source = Literal["serve", "batch"]


class Model(NamedTuple):
    """The model that answers; made once when it is loaded.

    Parameters
    ----------
    version, digest : str
        As in its registration record.
    contract : Contract
        By which its rows are encoded.
    """

    version: str
    digest: str
    contract: Contract


class Predicted(NamedTuple):
    """The n rows of one request, or of a part of a file, and what was answered.

    Nothing in it may be changed afterwards: it is read in another thread.

    Parameters
    ----------
    model : Model
        What answered.
    ids : sequence of str
        From :func:`mlref.prediction_log.ids.new_ids`; those of the champion for a shadow.
    rows : ndarray of float64, shape (n, features)
        As encoded by ``mlref.core.rows``.
    value, lower, upper : ndarray of float64, shape (n,)
        In the unit of the target.
    unusual : ndarray of bool, shape (n, features), optional
        Where a value was accepted with a warning.
    latency : float, optional
        Seconds that the request took so far.
    request_id : str, optional
        By which the service's own log knows the request.
    subjects : sequence of str or None, optional
        Whom each row is about, in the caller's words.
    role : str
        Whether the answer was given (champion) or only noted (shadow).
    source : str
        Where the rows came from.
    """

    model: Model
    ids: Sequence[str]
    rows: Array
    value: Array
    lower: Array
    upper: Array
    unusual: Mask | None = None
    latency: float | None = None
    request_id: str | None = None
    subjects: Sequence[str | None] | None = None
    role: Role = "champion"
    source: Source = "serve"


class Refused(NamedTuple):
    """What was refused of one request; only columns and reasons are kept, no values.

    Parameters
    ----------
    model : Model
        Whose contract refused it.
    violations : sequence of Violation
        At least one.
    source : str
        Where the rows came from.
    times : int
        How often each violation occurred.
    """

    model: Model
    violations: Sequence[Violation]
    source: Source = "serve"
    times: int = 1


class PredictionLog(Protocol):
    """What the service needs of a log. Neither call waits, and neither raises."""

    def predictions(self, predicted: Predicted) -> None:
        """Take note of answered rows."""

    def refusals(self, refused: Refused) -> None:
        """Take note of refused values."""


class NoLog:
    """The log of a service that runs without one."""

    def predictions(self, predicted: Predicted) -> None:
        """Forget them."""

    def refusals(self, refused: Refused) -> None:
        """Forget them."""


def clean(text: str | None) -> str | None:
    r"""Text that any database can hold: without NUL and without halves of surrogate pairs.

    Examples
    --------
    >>> clean("naïve \x00 ' OR 1=1 --")
    "naïve \ufffd ' OR 1=1 --"
    """
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    )
