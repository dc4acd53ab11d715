"""The gate as a table: metrics in, verdict and the check that asks for it out."""

import math
from typing import Any

import pytest

from mlref.core import settings
from mlref.evaluation.compare import Comparison
from mlref.registry.gate import Decision, Incomparable, conclude, decide
from tests.projects import PARAMS

BASELINES = ("mean", "single_feature")
LIMITS = settings.Gate(**PARAMS["register"] | {"smallest_gain": 0.01, "largest_gain": 0.3})


def interval(value: float, lower: float, upper: float) -> dict[str, float]:
    """A metric with its interval."""
    return {"value": value, "lower": lower, "upper": upper}


def compared(value: float, lower: float, upper: float, **slices: Any) -> Comparison:
    """A challenger against a champion whose RMSE is 50, on 40 rows."""
    return Comparison(40, interval(value, lower, upper), 50.0, slices)


GOOD = interval(-8.0, -10.0, -6.0)
UNSURE = interval(-1.0, -3.0, 0.5)
SAME = compared(0.0, 0.0, 0.0)
WORSE = compared(2.0, 1.0, 3.0)
KEPT = {"promise": "increasing with x", "passed": True, "worst": 0.5, "tolerance": 1.0, "broken": 0}
BROKEN = KEPT | {"passed": False, "worst": 2.25, "broken": 3}
THESE = {"the bundle": ("a", "a"), "the test set": ("b", "b")}
SOUND: dict[str, Any] = {
    "rows": 40,
    "digest": "a",
    "holdout": "b",
    "rmse": interval(50, 45, 55),
    "coverage": interval(0.88, 0.78, 0.95) | {"promised": 0.9},
    "ladder": {"mean": GOOD, "single_feature": GOOD},
    "promises": [KEPT],
}
"""What evaluate says about a model that nothing speaks against."""
CHAMPION = "not_worse_than_champion"


def judged(
    champion: Comparison | Incomparable | None = None, these: dict[str, Any] = THESE,
    age: float | None = None, limits: settings.Gate = LIMITS, **changed: Any,
) -> Decision:  # fmt: skip
    """The decision about a sound model with some metrics changed."""
    return decide(SOUND | changed, these, BASELINES, champion, limits, age)


@pytest.mark.parametrize(
    ("given", "verdict", "name", "words"),
    [
        ({}, "promote", CHAMPION, "no champion to compare it with"),
        ({"champion": compared(-2, -3, -1)}, "promote", CHAMPION, "2.00 [1.00, 3.00] RMSE on 40"),
        ({"champion": Incomparable("promote", "Other contract.")}, "promote", CHAMPION, "Other con"),
        ({"champion": Incomparable("keep", "Only 3 rows.")}, "keep", CHAMPION, "Only 3 rows."),
        ({"champion": WORSE}, "block", CHAMPION, "worse than the champion by 2.00 [1.00, 3.00]"),
        ({"champion": compared(-1, -2.5, 0.5)}, "keep", CHAMPION, "0.5 (1.0%) would need about 740"),
        ({"champion": compared(-1, -2, 0)}, "keep", CHAMPION, "cannot tell it from the champion"),
        ({"champion": compared(-0.4, -0.5, -0.3)}, "keep", CHAMPION, "only 0.400 [0.300, 0.500]"),
        ({"champion": SAME}, "keep", CHAMPION, "predicts the same"),
        ({"champion": compared(-16, -20, -12)}, "keep", "too_good", "32% below the champion's"),
        ({"champion": compared(-2, -3, -1, old=interval(4, 1, 7), young=GOOD, rare=None)},
         "block", "slices", "old by 4.00 [1.00, 7.00] RMSE. Too small to judge: rare."),
        ({"ladder": {"mean": UNSURE, "single_feature": GOOD}}, "block", "beats_mean", "baseline mean"),
        ({"ladder": {"mean": GOOD, "single_feature": interval(0, 0, 0)}}, "block",
         "beats_single_feature", "baseline single_feature"),
        ({"ladder": SOUND["ladder"] | {"ridge": UNSURE}}, "block", "beats_ridge", "simpler ridge"),
        ({"ladder": {"mean": GOOD}}, "block", "beats_single_feature", "no more than the baseline"),
        ({"promises": [KEPT, BROKEN]}, "block", "keeps_promises", "on 3 of 40 rows"),
        ({"promises": [BROKEN | {"worst": None}]}, "block", "keeps_promises", "not a number"),
        ({"promises": []}, "promote", "keeps_promises", "no promises"),
        ({"coverage": interval(0.7, 0.6, 0.8) | {"promised": 0.9}}, "block", "coverage", "narrow"),
        ({"rows": 19}, "block", "enough_rows", "at least 20 are needed"),
        ({"rmse": {"value": None, "lower": None, "upper": 3.0}}, "block", "finite", "for rmse"),
        ({"ladder": {"mean": GOOD, "single_feature": interval(-1, math.nan, 1)}}, "block", "finite",
         "the difference from single_feature"),
        ({"these": THESE | {"the bundle": ("a", "c"), "the rows": ("d", "e")}}, "block",
         "evaluated", "the bundle and the rows changed"),
        ({"age": 91.0}, "block", "recent", "91 days old; allowed: 90"),
        ({"age": 90.0}, "promote", "recent", "90 days old"),
    ],
)  # fmt: skip
def test_the_gate_decides_and_says_why(
    given: dict[str, Any], verdict: str, name: str, words: str
) -> None:
    decision = judged(**given)
    (check,) = (check for check in decision.checks if check.name == name)
    assert (decision.verdict, check.verdict) == (verdict, verdict)
    assert words in check.reason
    assert check.reason in decision.reasons
    assert verdict == "promote" or decision.reasons == [check.reason]


def test_block_wins_over_keep_and_every_reason_to_block_is_given() -> None:
    assert judged(SAME, promises=[BROKEN]).verdict == "block"
    decision = judged(WORSE, ladder={"mean": UNSURE}, promises=[BROKEN, BROKEN])
    assert (decision.verdict, len(decision.reasons)) == ("block", 4)
    assert conclude(decision.checks) == decision


def test_metrics_of_another_bundle_or_without_numbers_are_not_discussed() -> None:
    decision = decide({}, {"the bundle": ("a", "c")}, BASELINES, None, LIMITS)
    assert [check.name for check in decision.checks] == ["evaluated"]
    decision = judged(WORSE, rows=3, promises=[BROKEN])
    assert [check.name for check in decision.checks] == ["evaluated", "enough_rows", "finite"]


def test_four_times_the_rows_halve_the_difference_that_can_be_seen() -> None:
    wide, narrow = compared(0.0, -4.0, 4.0), compared(0.0, -2.0, 2.0)
    needed = [judged(found).checks[-3].figures["rows_needed"] for found in (wide, narrow)]
    assert needed[0] == pytest.approx(4 * needed[1], rel=0.05)


def test_a_fork_may_take_every_gain() -> None:
    every = LIMITS.model_copy(update={"smallest_gain": 0.0})
    assert judged(compared(-0.001, -0.002, -0.0005), limits=every).verdict == "promote"
    assert "rows_needed" not in judged(compared(0, -1, 1), limits=every).checks[-3].figures
