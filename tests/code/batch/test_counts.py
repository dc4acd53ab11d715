"""Counts add up, and a limit is a share or a number of rows."""

import pytest

from mlref.batch.counts import Counts, check
from mlref.core.errors import MlrefError, NotPublished


@pytest.mark.parametrize(
    ("limit", "rejected", "refused"),
    [
        ("1%", 1, False), ("1%", 2, True), ("0%", 0, False), ("0", 1, True), ("2", 2, False),
        ("2", 3, True), ("0.5%", 1, True), ("100%", 100, False),
    ],
)  # fmt: skip
def test_a_limit_is_kept_up_to_itself(limit: str, rejected: int, refused: bool) -> None:
    if not refused:
        check(limit, {"read": 100, "rejected": rejected})
        return
    with pytest.raises(NotPublished, match=f"{rejected} of 100 rows are rejected"):
        check(limit, {"read": 100, "rejected": rejected})


def test_no_rows_are_not_too_many() -> None:
    check("1%", Counts.sum().rows)


@pytest.mark.parametrize(
    "limit", ["", "%", "1.5", "-1", "-1%", "101%", "few", "nan%", "inf%", "1 %%"]
)
def test_another_form_of_limit_is_refused(limit: str) -> None:
    with pytest.raises(MlrefError, match="--max-rejected takes a share such as 1% or a number"):
        check(limit, Counts.sum().rows)


def test_counts_of_files_add_up_also_from_json() -> None:
    one = Counts.sum()
    one.rows.update(read=3, scored=2)
    one.reasons.update(["a"])
    one.examples["a"] = "7"
    both = Counts.sum([one._asdict()] * 2)
    assert both.rows == {"read": 6, "scored": 4, "warned": 0, "rejected": 0}
    assert (both.reasons, both.examples) == ({"a": 2}, {"a": "7"})
