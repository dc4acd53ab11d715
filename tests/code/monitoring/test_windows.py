"""Rows become windows, whatever the parts in which they are read."""

from typing import Any

import numpy as np
import pytest

from mlref.core.errors import MlrefError
from mlref.monitoring import windows
from mlref.monitoring.windows import DAY, Rows, Size, cut, table

NOW = 100.5 * DAY


def rows(days: list[float], first: int = 1) -> Rows:
    """Rows that were predicted on these days."""
    position = np.arange(first, first + len(days))
    return table(np.zeros((len(days), 1)), time=np.array(days) * DAY, position=position)


def counts(
    days: list[float], size: str, smallest: int = 2, part: int = 3
) -> list[tuple[int, bool]]:
    """Rows of each window, and whether it is closed, of rows that come in parts."""
    parts = [rows(days[at : at + part], at + 1) for at in range(0, len(days), part)]
    found = list(cut(parts, Size.parse(size), smallest, NOW))
    together = np.concatenate([one.position for one, _ in found]) if found else np.empty(0)
    np.testing.assert_array_equal(together, np.arange(1, len(days) + 1))
    return [(len(one), over) for one, over in found]


@pytest.mark.parametrize("part", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("days", "size", "expected"),
    [
        ([], "1d", []),
        ([1, 1, 1, 1, 1], "2", [(2, True), (2, True), (1, False)]),
        ([1, 1, 1, 1], "2", [(2, True), (2, True)]),
        ([1, 1.5, 2, 2.5, 3], "1d", [(2, True), (2, True), (1, False)]),
        ([1, 1.5, 2, 3, 3.9], "1d", [(2, True), (3, True)]),  # a day of one row is pooled
        ([1, 2, 3, 4], "2d", [(3, True), (1, False)]),
        ([99, 99, 100, 100.4], "1d", [(2, True), (2, False)]),  # today is not over
        ([5, 5, 4, 5.5, 6, 6], "1d", [(4, True), (2, True)]),  # a clock that went backwards
        ([9, 9, 200, 9, 9], "1d", [(2, True), (3, False)]),  # a row of the future is of today
    ],
)
def test_windows_close_by_day_or_by_rows(
    days: list[float], size: str, expected: Any, part: int
) -> None:
    assert counts(days, size, part=part) == expected


def test_a_day_of_very_many_rows_has_several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LARGEST", 4)
    assert counts([1.0] * 10, "1d", part=3) == [(4, True), (4, True), (2, True)]


@pytest.mark.parametrize("text", ["", "0", "0d", "d", "1w", "-5", "1.5d", "١d"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MlrefError, match="days such as 1d, or of rows such as 200"):
        Size.parse(text)
