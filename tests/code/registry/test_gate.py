"""The gate as a table: figures in, verdict and reason out."""

from typing import Any

import pytest

from mlref.registry.gate import decide

BASELINES = ("mean", "single_feature")


def interval(value: float, lower: float, upper: float) -> dict[str, float]:
    """A figure with its interval."""
    return {"value": value, "lower": lower, "upper": upper}


GOOD = interval(-8.0, -10.0, -6.0)
UNSURE = interval(-1.0, -3.0, 0.5)
ZERO = interval(0.0, 0.0, 0.0)
KEPT = {"promise": "increasing with x", "passed": True, "worst": 0.5, "tolerance": 1.0, "broken": 0}
BROKEN = KEPT | {"passed": False, "worst": 2.25, "broken": 3}


def metrics(**changed: Any) -> dict[str, Any]:
    """What evaluate says about a model that nothing speaks against."""
    sound = {"rows": 40, "ladder": {"mean": GOOD, "single_feature": GOOD}, "promises": [KEPT]}
    return sound | changed


def test_a_first_model_that_passes_everything_is_promoted() -> None:
    """With all the reasons why."""
    decision = decide(metrics(), BASELINES, None)
    assert decision.verdict == "promote"
    assert decision.reasons == [
        "It beats the baseline mean out of fold by 8.00 [6.00, 10.00] RMSE.",
        "It beats the baseline single_feature out of fold by 8.00 [6.00, 10.00] RMSE.",
        "It keeps all 1 promises on 40 held-out rows.",
        "There is no champion yet.",
    ]


@pytest.mark.parametrize(
    ("changed", "champion", "verdict", "reasons"),
    [
        pytest.param(
            {}, interval(-2.0, -3.0, -1.0), "promote",
            "It beats the champion by 2.00 [1.00, 3.00] RMSE.",
            id="better than the champion",
        ),
        pytest.param(
            {}, "The champion is of another contract.", "promote",
            "The champion is of another contract.",
            id="not comparable",
        ),
        pytest.param(
            {}, interval(2.0, 1.0, 3.0), "block",
            "It is worse than the champion by 2.00 [1.00, 3.00] RMSE.",
            id="worse than the champion",
        ),
        pytest.param(
            {}, interval(-1.0, -2.5, 0.5), "keep",
            "The held-out rows cannot tell it from the champion: the difference in RMSE is"
            " -1.00 [-2.50, 0.50].",
            id="cannot tell",
        ),
        pytest.param(
            {}, interval(-1.0, -2.0, 0.0), "keep",
            "The held-out rows cannot tell it from the champion: the difference in RMSE is"
            " -1.00 [-2.00, 0.00].",
            id="touches zero",
        ),
        pytest.param(
            {}, ZERO, "keep", "It predicts the same as the champion.", id="same as the champion"
        ),
        pytest.param(
            {"ladder": {"mean": UNSURE, "single_feature": GOOD}}, None, "block",
            "It does not beat the baseline mean out of fold with confidence: the difference in RMSE"
            " is -1.00 [-3.00, 0.50].",
            id="no better than the mean",
        ),
        pytest.param(
            {"ladder": {"mean": GOOD, "single_feature": interval(1.0, 0.5, 2.0)}}, None, "block",
            "It does not beat the baseline single_feature out of fold with confidence: the"
            " difference in RMSE is 1.00 [0.50, 2.00].",
            id="worse than one feature",
        ),
        pytest.param(
            {"ladder": {"mean": GOOD, "single_feature": ZERO}}, None, "block",
            "It does not beat the baseline single_feature out of fold with confidence: the"
            " difference in RMSE is 0.00 [0.00, 0.00].",
            id="equal to one feature",
        ),
        pytest.param(
            {"ladder": {"mean": GOOD}}, None, "block",
            "The chosen model is no more than the baseline single_feature.",
            id="is itself a baseline",
        ),
        pytest.param(
            {"promises": [KEPT, BROKEN]}, None, "block",
            "It breaks its promise (increasing with x) on 3 of 40 held-out rows, by up to 2.25;"
            " allowed: 1.",
            id="broken promise",
        ),
    ],
)  # fmt: skip
def test_the_gate_decides_and_says_why(
    changed: dict[str, Any], champion: Any, verdict: str, reasons: str
) -> None:
    """The reasons are those that ask for this verdict, with their figures."""
    decision = decide(metrics(**changed), BASELINES, champion)
    assert decision.verdict == verdict
    assert reasons in decision.reasons
    assert len(decision.reasons) == (4 if verdict == "promote" else 1)


def test_block_outweighs_keep_and_keep_outweighs_promote() -> None:
    """A tie with the champion does not hide a broken promise."""
    decision = decide(metrics(promises=[BROKEN]), BASELINES, ZERO)
    assert decision.verdict == "block"
    assert ["breaks its promise" in reason for reason in decision.reasons] == [True]


def test_every_reason_to_block_is_given() -> None:
    """Not only the first."""
    decision = decide(
        metrics(ladder={"mean": UNSURE}, promises=[BROKEN, BROKEN]), BASELINES, interval(2, 1, 3)
    )
    assert decision.verdict == "block"
    assert len(decision.reasons) == 4
    assert decision.reasons[2].count("breaks its promise") == 2


def test_every_check_is_listed_with_its_figures() -> None:
    """Also those that speak for the model."""
    decision = decide(metrics(promises=[BROKEN]), BASELINES, interval(-2.0, -3.0, -1.0))
    assert [(check.name, check.verdict) for check in decision.checks] == [
        ("beats_mean", "promote"),
        ("beats_single_feature", "promote"),
        ("keeps_promises", "block"),
        ("not_worse_than_champion", "promote"),
    ]
    assert decision.checks[0].figures == GOOD
    assert decision.checks[2].figures == {"increasing with x": 2.25}
    assert decision.checks[3].figures == interval(-2.0, -3.0, -1.0)


def test_a_contract_without_promises_passes_that_check() -> None:
    """There is nothing to break."""
    assert decide(metrics(promises=[]), BASELINES, None).verdict == "promote"


def test_a_promise_broken_by_nan_blocks() -> None:
    """metrics.json holds null where the worst row is no number."""
    nan = BROKEN | {"worst": None}
    assert decide(metrics(promises=[nan]), BASELINES, None).verdict == "block"
