"""The gate as a table: metrics in, verdict and the check that asks for it out."""

import math
from typing import Any

import pytest

from mlref.core import settings
from mlref.core.task import LogRegression
from mlref.evaluation.compare import Comparison
from mlref.registry.duel import better, leak, not_worse, nowhere_worse, settled
from mlref.registry.gate import Check, Decision, coverage, decide
from tests.projects import PARAMS

LIMITS = settings.Gate(**PARAMS["register"] | {"smallest_gain": 0.01})


def interval(value: float, lower: float, upper: float) -> dict[str, float]:
    """A metric with its interval."""
    return {"value": value, "lower": lower, "upper": upper}


def compared(value: float, lower: float, upper: float, rows: int = 40) -> Comparison:
    """A challenger against a champion whose RMSE is 50."""
    return Comparison(rows, interval(value, lower, upper), 50.0, {}, "RMSE")


def duel(
    models: Comparison, recipes: Comparison | str = "No recipe.", **slices: dict[str, float] | None
) -> list[Check]:
    """What is asked about two models; a loss is looked for on the same rows as a gain."""
    evidence = better({"recipes": recipes, "models": models}, LIMITS)
    return [evidence, not_worse(models, LIMITS), nowhere_worse(models._replace(slices=slices))]


def since(new: Comparison, old: Comparison | None) -> list[Check]:
    """What is asked after a change of concept."""
    return [better({"since": new}, LIMITS), not_worse(old, LIMITS, allowed=0.5), nowhere_worse(new)]


def harm(value: float, lower: float) -> dict[str, float]:
    """A difference on a slice where the champion's RMSE is 60."""
    return interval(value, lower, 2 * value - lower) | {"margin": 3.0}


GOOD = interval(-8.0, -10.0, -6.0)
UNSURE = interval(-1.0, -3.0, 0.5)
SAME = duel(compared(0.0, 0.0, 0.0), compared(0.0, 0.0, 0.0, 90))
UNTOLD, WORSE, BETTER = compared(-1, -2.5, 0.5), compared(2, 1, 3), compared(-2, -3, -1)
KEPT = {"promise": "increasing with x", "passed": True, "worst": 0.5, "tolerance": 1.0, "broken": 0}
NARROW = interval(0.7, 0.6, 0.8) | {"promised": 0.9}
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
CHAMPION, EVIDENCE = "not_worse_than_champion", "better_than_champion"
RECORD = {"target": "rent", "rows": 300, "others": 3, "columns": {"area": 0.3, "rooms": 0.2}}
GROWN = RECORD | {"columns": {"area": 0.7, "rooms": 0.25, "flat": 0.9}}


def judged(
    *champion: Check, these: dict[str, Any] = THESE, age: float | None = None, **changed: Any
) -> Decision:
    """The decision about a sound model with some metrics changed."""
    return decide(SOUND | changed, these, champion, LIMITS, age)


CASES: list[tuple[Any, str, str, str]] = [
    ([settled("promote", "No champion.")], "promote", CHAMPION, "No champion."),
    ([settled("keep", "Only 3 rows.")], "keep", CHAMPION, "Only 3 rows."),
    (duel(BETTER), "promote", EVIDENCE,
     "It beats the champion by 2.00 [1.00, 3.00] RMSE on 40 rows that neither has trained on."),
    (duel(UNTOLD, compared(-2, -3, -1, 90)), "promote", EVIDENCE,
     "Its recipe beats the champion's by 2.00 [1.00, 3.00] RMSE out of fold on 90 training rows."),
    (duel(UNTOLD, compared(-2, -3, -1, 90)), "promote", CHAMPION, "not shown to be"),
    (duel(WORSE, compared(-2, -3, -1, 90)), "block", CHAMPION,
     "It is worse than the champion by 2.00 [1.00, 3.00] RMSE on 40 rows that neither has trained on."),
    (duel(UNTOLD, UNTOLD), "keep", EVIDENCE,
     "It is not shown to be better than the champion on 40 rows that neither has trained on: the"
     " difference in RMSE is -1.00 [-2.50, 0.50]; to see a gain of 0.5 (1.0%) would need about 680"),
    (duel(compared(-1, -2, 0)), "keep", EVIDENCE, "not shown to be better"),
    (duel(UNTOLD), "keep", EVIDENCE, "No recipe."),
    (duel(compared(-0.4, -0.5, -0.3)), "keep", EVIDENCE,
     "only 0.400 [0.300, 0.500] RMSE on 40 rows that neither has trained on; the smallest gain"),
    (SAME, "keep", EVIDENCE, "It predicts the same as the champion."),
    (duel(BETTER, old=harm(9, 2.9), rare=None), "promote", "slices",
     "On none of 1 slices is it shown to be worse than the champion. Too small to judge: rare."),
    (duel(BETTER, old=harm(9, 3.1), young=harm(-9, -12), rare=None), "block", "slices",
     "old by 9.0 [3.1, 14.9] RMSE. Too small to judge: rare."),
    (duel(BETTER, rare=None, few=None), "promote", "slices", "judge: rare, few."),
    (since(BETTER, None), "promote", EVIDENCE, "RMSE on 40 rows since then"),
    (since(BETTER, None), "promote", CHAMPION, "Fewer than 20 older rows"),
    (since(BETTER, compared(20, 15, 25)), "promote", CHAMPION,
     "not shown to be worse than the champion by more than 25 RMSE (50%) on 40 older rows"),
    (since(BETTER, compared(40, 26, 50)), "block", CHAMPION,
     "worse than the champion by 40.0 [26.0, 50.0] RMSE on 40 older rows that neither has trained on"),
    (since(UNTOLD, None), "keep", EVIDENCE, "not shown to be better"),
    ([coverage(NARROW, "the 70 rows since then"), *since(BETTER, None)], "block", "coverage",
     "hold 70% [60%, 80%] of the 70 rows since then: they are too narrow"),
    ([leak(RECORD, GROWN, LIMITS)], "keep", "leak",
     "these tell more of rent than they told the champion (partial correlation): area 0.3 → 0.7."),
    ([leak(RECORD, GROWN, LIMITS)], "keep", "leak", "nothing is known of them: flat."),
    ([leak(GROWN, RECORD, LIMITS)], "promote", "leak", "No column tells more of the target"),
    ([leak(None, GROWN, LIMITS)], "promote", "leak", "no record"),
    ([leak(RECORD | {"target": "price"}, GROWN, LIMITS)], "promote", "leak", "no record"),
    ({"ladder": {"mean": UNSURE, "single_feature": GOOD}}, "block", "beats_mean", "baseline mean"),
    ({"ladder": {"mean": GOOD, "single_feature": interval(0, 0, 0)}}, "block",
     "beats_single_feature", "baseline single_feature"),
    ({"ladder": SOUND["ladder"] | {"ridge": UNSURE}}, "block", "beats_ridge", "simpler ridge"),
    ({"ladder": {"mean": GOOD}}, "block", "beats_single_feature", "no more than the baseline"),
    ({"promises": [KEPT, BROKEN]}, "block", "keeps_promises", "on 3 of 40 rows"),
    ({"promises": [BROKEN | {"worst": None}]}, "block", "keeps_promises", "not a number"),
    ({"promises": []}, "promote", "keeps_promises", "no promises"),
    ({"coverage": NARROW}, "block", "coverage", "narrow"),
    ({"rows": 19}, "block", "enough_rows", "at least 20 are needed"),
    ({"rmse": {"value": None, "lower": None, "upper": 3.0}}, "block", "finite", "for rmse"),
    ({"rmse": interval(50, 45, math.inf)}, "block", "finite", "for rmse"),
    ({"features": {"value": GOOD}}, "promote", "beats_mean", "beats the baseline"),  # its name
    ({"ladder": {"mean": GOOD, "single_feature": interval(-1, math.nan, 1)}}, "block", "finite",
     "the difference from single_feature"),
    ({"these": THESE | {"the bundle": ("a", "c"), "the rows": ("d", "e")}}, "block",
     "evaluated", "the bundle and the rows changed"),
    ({"age": 91.0}, "block", "recent", "91 days old; allowed: 90"),
    ({"age": 90.0}, "promote", "recent", "90 days old"),
]  # fmt: skip
"""What is known of a model, the verdict, the check that asks for it, and its words."""


@pytest.mark.parametrize(("given", "verdict", "name", "words"), CASES)
def test_the_gate_decides_and_says_why(
    given: dict[str, Any] | list[Check], verdict: str, name: str, words: str
) -> None:
    decision = judged(**given) if isinstance(given, dict) else judged(*given)
    (check,) = (check for check in decision.checks if check.name == name)
    assert (decision.verdict, check.verdict) == (verdict, verdict)
    assert words in check.reason
    assert check.reason in decision.reasons
    failed = [check.name for check in decision.checks if check.verdict != "promote"]
    assert failed == [] if verdict == "promote" else failed == [name], "no other check would see it"


def test_as_many_rows_as_the_smallest_test_set_are_enough() -> None:
    assert judged(rows=LIMITS.smallest_holdout).verdict == "promote"


def test_every_check_has_a_fault_that_it_alone_sees() -> None:
    decision = judged(*duel(BETTER), leak(GROWN, RECORD, LIMITS), age=1.0)
    planted = {name for _, verdict, name, _ in CASES if verdict != "promote"}
    assert {check.name for check in decision.checks} <= planted


def test_every_check_that_was_not_passed_gives_its_reason_blocks_first() -> None:
    decision = judged(*duel(UNTOLD), leak(RECORD, GROWN, LIMITS), promises=[BROKEN])
    assert decision.verdict == "block"
    assert [reason[:20] for reason in decision.reasons] == [
        "It breaks its promis", "No recipe. It is not", "Given the other colu",
    ]  # fmt: skip


def test_metrics_of_another_bundle_or_without_numbers_are_not_discussed() -> None:
    decision = decide({}, {"the bundle": ("a", "c")}, [], LIMITS)
    assert [check.name for check in decision.checks] == ["evaluated"]
    decision = judged(*duel(WORSE), rows=3, promises=[BROKEN])
    assert [check.name for check in decision.checks] == ["evaluated", "enough_rows", "finite"]


def test_four_times_the_rows_halve_the_difference_that_can_be_seen() -> None:
    wide, narrow = (
        better({"models": compared(0.0, -reach, reach)}, LIMITS).figures["models"]["rows_needed"]
        for reach in (4, 2)
    )
    assert wide == pytest.approx(4 * narrow, rel=0.05)


def test_a_fork_may_take_every_gain() -> None:
    every = LIMITS.model_copy(update={"smallest_gain": 0.0})
    tiny, none = compared(-0.001, -0.002, -0.0005), compared(0, -1, 1)
    assert better({"models": tiny}, every).verdict == "promote"
    assert "rows_needed" not in better({"models": none}, every).figures["models"]


@pytest.mark.parametrize("one", [UNTOLD, WORSE, BETTER, compared(0, 0, 0)])
@pytest.mark.parametrize("ladder", [GOOD, UNSURE])
def test_a_reason_names_the_score_that_was_compared(
    one: Comparison, ladder: dict[str, float]
) -> None:
    """For a target that is learned as its logarithm no sentence speaks of an error in its unit."""
    log = one._replace(score=LogRegression.title)
    changed = {"rmse_log": GOOD, "ladder": {"mean": GOOD, "single_feature": ladder}}
    found = judged(*duel(log, log, part=harm(9, 5)), **changed)
    reasons = " ".join(check.reason for check in found.checks)
    assert reasons.count("RMSE") == reasons.count("RMSE of the logarithm") >= 3
