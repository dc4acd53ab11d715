"""Counts add up, and a limit is a share or a number of rows."""

import pytest

from mlref.batch.counts import Counts, Limit
from mlref.core.errors import MlrefError, NotPublished


@pytest.mark.parametrize(
    ("text", "rejected", "refused"),
    [
        ("1%", 1, False), ("1%", 2, True), ("0%", 0, False), ("0", 1, True), ("2", 2, False),
        ("2", 3, True), ("0.5%", 1, True), ("100%", 100, False),
    ],
)  # fmt: skip
def test_a_limit_is_kept_up_to_itself(text: str, rejected: int, refused: bool) -> None:
    """Of a hundred rows."""
    counts = Counts(read=100, rejected=rejected)
    if not refused:
        Limit.parse(text).check(counts)
        return
    with pytest.raises(NotPublished, match=f"{rejected} of 100 rows are rejected"):
        Limit.parse(text).check(counts)


def test_no_rows_are_not_too_many() -> None:
    """A share of nothing is no division by zero."""
    Limit.parse("1%").check(Counts())


@pytest.mark.parametrize(
    "text", ["", "%", "1.5", "-1", "-1%", "101%", "few", "nan%", "inf%", "1 %%"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    """With both forms that there are."""
    with pytest.raises(MlrefError, match="--max-rejected takes a share such as 1% or a number"):
        Limit.parse(text)


def test_counts_of_files_add_up() -> None:
    """Reasons by their own names."""
    one = Counts(3, 2, 1, 1)
    one.reasons["a"] = 1
    both = one + one
    assert (both.read, both.scored, both.warned, both.rejected) == (6, 4, 2, 2)
    assert both.reasons == {"a": 2}
