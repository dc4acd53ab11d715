"""Reports of the stages that name what they lack, and their figures as Markdown."""

from collections.abc import Iterable
from typing import Any

from mlref.core.errors import MlrefError


class Report(dict[str, Any]):
    """A report, or a part of one; asking for a figure that it lacks is an error that names both.

    Examples
    --------
    >>> metrics = Report({"rmse": {"value": 54.1}}, "metrics.json")
    >>> metrics["rmse"]["lower"]
    Traceback (most recent call last):
    mlref.core.errors.MlrefError: metrics.json: rmse has no 'lower'. Run `make train` to write it anew.
    """

    def __init__(self, content: dict[str, Any], where: str) -> None:
        self.where = where
        super().__init__({key: _named(value, f"{where}: {key}") for key, value in content.items()})

    def __missing__(self, key: str) -> Any:
        raise MlrefError(f"{self.where} has no {key!r}. Run `make train` to write it anew.")


def _named(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return [_named(item, f"{where}[{place}]") for place, item in enumerate(value)]
    return Report(value, where) if isinstance(value, dict) else value


def number(value: float | None) -> str:
    """Write a figure with three digits; a report holds null for what is not a number.

    Examples
    --------
    >>> number(0.51908), number(-9.9324), number(14532.4), number(None)
    ('0.519', '-9.93', '14532', 'not a number')
    """
    if value is None:
        return "not a number"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def interval(found: Report) -> str:
    """Write ``value``, ``lower`` and ``upper`` as ``value [lower, upper]``."""
    return f"{number(found['value'])} [{number(found['lower'])}, {number(found['upper'])}]"


def bullets(sentences: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a table; a ``|`` inside a cell is kept."""
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
