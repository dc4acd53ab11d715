"""The gate as a table: figures in, verdict and reason out."""

import math
from typing import Any

import pytest

from mlref.core import settings
from mlref.core.errors import MlrefError
from mlref.evaluation.compare import Comparison
from mlref.registry.gate import Decision, Incomparable, conclude, decide
from tests.projects import PARAMS

BASELINES = ("mean", "single_feature")
KNOBS = settings.Gate(**PARAMS["register"] | {"smallest_gain": 0.01, "largest_gain": 0.3})


def interval(value: float, lower: float, upper: float) -> dict[str, float]:
    """A figure with its interval."""
    return {"value": value, "lower": lower, "upper": upper}


def compared(value: float, lower: float, upper: float, **slices: Any) -> Comparison:
    """A challenger against a champion whose RMSE is 50, on 40 rows."""
    return Comparison(40, interval(value, lower, upper), 50.0, slices)


GOOD = interval(-8.0, -10.0, -6.0)
UNSURE = interval(-1.0, -3.0, 0.5)
ZERO = interval(0.0, 0.0, 0.0)
SAME = compared(0.0, 0.0, 0.0)
BETTER = compared(-2.0, -3.0, -1.0)
WORSE = compared(2.0, 1.0, 3.0)
KEPT = {"promise": "increasing with x", "passed": True, "worst": 0.5, "tolerance": 1.0, "broken": 0}
BROKEN = KEPT | {"passed": False, "worst": 2.25, "broken": 3}
THESE = {"the bundle": ("a", "a"), "the held-out rows": ("b", "b")}
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


def judged(
    champion: Comparison | Incomparable | None = None, these: dict[str, Any] = THESE,
    age: float | None = None, **changed: Any,
) -> Decision:  # fmt: skip
    """The decision about a sound model with some figures changed."""
    return decide(SOUND | changed, these, BASELINES, champion, KNOBS, age)


def test_a_first_model_that_passes_everything_is_promoted() -> None:
    """With all the reasons why; that there are sound figures at all is asked before, and told by a table."""
    decision = judged()
    assert [check.name for check in decision.checks[:3]] == ["evaluated", "enough_rows", "finite"]
    assert decision.verdict == "promote"
    assert decision.reasons == [
        "It beats the baseline mean out of fold by 8.00 [6.00, 10.00] RMSE.",
        "It beats the baseline single_feature out of fold by 8.00 [6.00, 10.00] RMSE.",
        "It keeps all 1 promises on 40 held-out rows.",
        "Its 90% intervals hold 88% [78%, 95%] of the held-out values.",
        "There is no champion yet.",
    ]


@pytest.mark.parametrize(
    ("given", "verdict", "reason"),
    [
        pytest.param(
            {"champion": BETTER}, "promote",
            "It beats the champion by 2.00 [1.00, 3.00] RMSE on 40 rows that neither has trained on.",
            id="better than the champion",
        ),
        pytest.param(
            {"champion": Incomparable("promote", "The champion is of another contract.")}, "promote",
            "The champion is of another contract.",
            id="not comparable",
        ),
        pytest.param(
            {"champion": Incomparable("keep", "Only 3 rows.")}, "keep", "Only 3 rows.",
            id="not enough to compare",
        ),
        pytest.param(
            {"champion": WORSE}, "block",
            "It is worse than the champion by 2.00 [1.00, 3.00] RMSE on 40 rows that neither has"
            " trained on.",
            id="worse than the champion",
        ),
        pytest.param(
            {"champion": compared(-1.0, -2.5, 0.5)}, "keep",
            "The held-out rows cannot tell it from the champion at n = 40: the difference in RMSE is"
            " -1.00 [-2.50, 0.50]; to see one of 0.50 (1.0%) would need about 740.",
            id="cannot tell",
        ),
        pytest.param(
            {"champion": compared(-1.0, -2.0, 0.0)}, "keep",
            "The held-out rows cannot tell it from the champion at n = 40: the difference in RMSE is"
            " -1.00 [-2.00, 0.00]; to see one of 0.50 (1.0%) would need about 330.",
            id="touches zero",
        ),
        pytest.param(
            {"champion": compared(-0.4, -0.5, -0.3)}, "keep",
            "It beats the champion by only 0.40 [0.30, 0.50] RMSE on 40 rows that neither has trained"
            " on; the smallest gain that counts is 0.50 (1.0%).",
            id="better by too little",
        ),
        pytest.param(
            {"champion": SAME}, "keep", "It predicts the same as the champion.",
            id="same as the champion",
        ),
        pytest.param(
            {"champion": compared(-16.0, -20.0, -12.0)}, "keep",
            "Its RMSE is 32% below the champion's. More than 30% in one step is more likely a leak, or"
            " a fault in the data that only the champion suffers from, than progress.",
            id="too good",
        ),
        pytest.param(
            {"champion": compared(-2.0, -3.0, -1.0, old=interval(4, 1, 7), young=GOOD, rare=None)},
            "block",
            "It is worse than the champion on a part of the rows: old by 4.00 [1.00, 7.00] RMSE. Too"
            " small to judge: rare.",
            id="worse on a slice",
        ),
        pytest.param(
            {"ladder": {"mean": UNSURE, "single_feature": GOOD}}, "block",
            "It does not beat the baseline mean out of fold with confidence: the difference in RMSE"
            " is -1.00 [-3.00, 0.50].",
            id="no better than the mean",
        ),
        pytest.param(
            {"ladder": {"mean": GOOD, "single_feature": ZERO}}, "block",
            "It does not beat the baseline single_feature out of fold with confidence: the"
            " difference in RMSE is 0.00 [0.00, 0.00].",
            id="equal to one feature",
        ),
        pytest.param(
            {"ladder": SOUND["ladder"] | {"ridge": UNSURE}}, "block",
            "It does not beat the simpler ridge out of fold with confidence: the difference in RMSE is"
            " -1.00 [-3.00, 0.50].",
            id="complexity that is not earned",
        ),
        pytest.param(
            {"ladder": {"mean": GOOD}}, "block",
            "The chosen model is no more than the baseline single_feature.",
            id="is itself a baseline",
        ),
        pytest.param(
            {"promises": [KEPT, BROKEN]}, "block",
            "It breaks its promise (increasing with x) on 3 of 40 held-out rows, by up to 2.25;"
            " allowed: 1.",
            id="broken promise",
        ),
        pytest.param(
            {"promises": [BROKEN | {"worst": None}]}, "block",
            "It breaks its promise (increasing with x) on 3 of 40 held-out rows, by up to what is not"
            " a number; allowed: 1.",
            id="a promise broken by NaN",
        ),
        pytest.param(
            {"coverage": interval(0.7, 0.6, 0.8) | {"promised": 0.9}}, "block",
            "Its 90% intervals hold 70% [60%, 80%] of the held-out values: they are too narrow.",
            id="narrow intervals",
        ),
        pytest.param(
            {"rows": 19}, "block", "19 held-out rows are too few for a verdict: at least 20 are needed.",
            id="few rows",
        ),
        pytest.param(
            {"rmse": {"value": None, "lower": None, "upper": 3.0}}, "block",
            "The evaluation gave no finite number for rmse.",
            id="null",
        ),
        pytest.param(
            {"ladder": {"mean": GOOD, "single_feature": interval(-1, math.nan, 1)}}, "block",
            "The evaluation gave no finite number for the difference from single_feature.",
            id="NaN",
        ),
        pytest.param(
            {"these": THESE | {"the bundle": ("a", "c"), "the training rows": ("d", "e")}}, "block",
            "What was evaluated is not what is here: the bundle and the training rows changed. Run"
            " `make train`.",
            id="of another bundle",
        ),
        pytest.param(
            {"age": 91.0}, "block",
            "Its evaluation is 91 days old; allowed: 90. `make train` makes a new one.",
            id="old",
        ),
        pytest.param({"age": 90.0}, "promote", "Its evaluation is 90 days old.", id="not yet old"),
    ],
)  # fmt: skip
def test_the_gate_decides_and_says_why(given: dict[str, Any], verdict: str, reason: str) -> None:
    """The reasons are those that ask for this verdict, with their figures."""
    decision = judged(**given)
    assert decision.verdict == verdict
    assert reason in decision.reasons
    assert verdict == "promote" or decision.reasons == [reason]


@pytest.mark.parametrize(
    "key", ["coverage", "digest", "holdout", "ladder", "promises", "rmse", "rows"]
)
def test_a_figure_that_is_missing_is_named(key: str) -> None:
    """It is not taken for one that passes."""
    metrics = {name: figure for name, figure in SOUND.items() if name != key}
    with pytest.raises(MlrefError, match=f"The evaluation has no {key}: .* Run `make train`"):
        decide(metrics, THESE, BASELINES, None, KNOBS)


def test_block_outweighs_keep_and_keep_outweighs_promote() -> None:
    """A tie with the champion does not hide a broken promise."""
    decision = judged(SAME, promises=[BROKEN])
    assert decision.verdict == "block"
    assert ["breaks its promise" in reason for reason in decision.reasons] == [True]


def test_every_reason_to_block_is_given() -> None:
    """Not only the first."""
    ladder = {"mean": UNSURE}
    decision = judged(WORSE, ladder=ladder, promises=[BROKEN, BROKEN])
    assert decision.verdict == "block"
    assert len(decision.reasons) == 4
    assert decision.reasons[2].count("breaks its promise") == 2


def test_figures_of_another_bundle_are_not_discussed() -> None:
    """They would be beside the point."""
    decision = judged(WORSE, these={"the bundle": ("a", "c")}, promises=[BROKEN])
    assert len(decision.reasons) == 1
    assert [check.name for check in decision.checks] == ["evaluated", "enough_rows", "finite"]


def test_every_check_is_listed_with_its_figures() -> None:
    """Also those that speak for the model."""
    decision = judged(compared(-2.0, -3.0, -1.0, old=GOOD), age=1.0, promises=[BROKEN])
    figures = {check.name: check.figures for check in decision.checks}
    assert list(figures) == [
        "evaluated", "enough_rows", "finite", "beats_mean", "beats_single_feature",
        "keeps_promises", "coverage", "not_worse_than_champion", "slices", "too_good", "recent",
    ]  # fmt: skip
    assert figures["beats_mean"] == GOOD
    assert figures["keeps_promises"] == {"increasing with x": 2.25}
    assert figures["not_worse_than_champion"] == interval(-2.0, -3.0, -1.0) | {
        "rows": 40, "smallest_gain": 0.5,
    }  # fmt: skip
    assert figures["slices"] == {"old": GOOD}
    assert figures["too_good"] == {"gain": 0.04, "largest": 0.3}
    assert conclude(decision.checks) == decision


def test_a_contract_without_promises_passes_that_check() -> None:
    """There is nothing to break."""
    assert judged(promises=[]).verdict == "promote"


def test_four_times_the_rows_halve_what_can_be_seen() -> None:
    """The standard error falls with the root of the rows."""
    wide, narrow = compared(0.0, -4.0, 4.0), compared(0.0, -2.0, 2.0)
    needed = [judged(found).checks[-3].figures["rows_needed"] for found in (wide, narrow)]
    assert needed[0] == pytest.approx(4 * needed[1], rel=0.05)


def test_a_fork_may_take_every_gain() -> None:
    """Then no number of rows is advised, as none would be enough to see a difference of zero."""
    knobs = KNOBS.model_copy(update={"smallest_gain": 0.0})
    tied = decide(SOUND, THESE, BASELINES, compared(-1.0, -2.0, 1.0), knobs)
    assert tied.reasons[0].endswith("the difference in RMSE is -1.00 [-2.00, 1.00].")
    assert decide(SOUND, THESE, BASELINES, compared(-0.1, -0.2, -0.05), knobs).verdict == "promote"
