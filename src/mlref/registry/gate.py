"""The gate: may the new model replace the champion? Pure: figures in, verdict and reasons out."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from mlref.evaluation.metrics import Interval

Verdict = Literal["promote", "keep", "block"]


class Check(NamedTuple):
    """One question that the gate asked.

    ``verdict`` is what this check alone asks for: block, keep, or promote where nothing speaks
    against it.
    """

    name: str
    verdict: Verdict
    reason: str
    figures: dict[str, Any]


class Decision(NamedTuple):
    """The verdict, one sentence for each reason, and all checks."""

    verdict: Verdict
    reasons: list[str]
    checks: list[Check]


def decide(
    metrics: dict[str, Any], baselines: tuple[str, ...], champion: Interval | str | None
) -> Decision:
    """Decide about a challenger.

    Parameters
    ----------
    metrics : dict
        The content of metrics.json.
    baselines : tuple of str
        Names in its ladder that the model must beat.
    champion : Interval, str or None
        RMSE of the challenger minus the champion's on the same held-out rows; or why the two are not
        compared; or None where there is no champion.

    Returns
    -------
    Decision
        ``block`` when any check blocks, else ``keep`` when any keeps, else ``promote``.
    """
    checks = [*_baselines(metrics, baselines), _promises(metrics), _champion(champion)]
    asked = {check.verdict for check in checks}
    verdict: Verdict = "block" if "block" in asked else "keep" if "keep" in asked else "promote"
    against = [check.reason for check in checks if check.verdict == verdict]
    return Decision(verdict, against, checks)


def _baselines(metrics: dict[str, Any], baselines: tuple[str, ...]) -> Iterator[Check]:
    for name in baselines:
        difference = metrics["ladder"].get(name)
        if difference is None:
            reason = f"The chosen model is no more than the baseline {name}."
            yield Check(f"beats_{name}", "block", reason, {})
        elif difference["upper"] < 0:
            reason = f"It beats the baseline {name} out of fold by {_figures(difference, -1)} RMSE."
            yield Check(f"beats_{name}", "promote", reason, difference)
        else:
            reason = (
                f"It does not beat the baseline {name} out of fold with confidence: the difference in"
                f" RMSE is {_figures(difference)}."
            )
            yield Check(f"beats_{name}", "block", reason, difference)


def _promises(metrics: dict[str, Any]) -> Check:
    name, promises, rows = "keeps_promises", metrics["promises"], metrics["rows"]
    broken = [promise for promise in promises if not promise["passed"]]
    figures = {promise["promise"]: promise["worst"] for promise in promises}
    if not broken:
        return Check(
            name,
            "promote",
            f"It keeps all {len(promises)} promises on {rows} held-out rows.",
            figures,
        )
    reasons = [
        f"It breaks its promise ({promise['promise']}) on {promise['broken']} of {rows} held-out rows,"
        f" by up to {_worst(promise['worst'])}; allowed: {promise['tolerance']:g}."
        for promise in broken
    ]
    return Check(name, "block", " ".join(reasons), figures)


def _worst(excess: float | None) -> str:
    return "what is not a number" if excess is None else f"{excess:.4g}"


def _champion(difference: Interval | str | None) -> Check:
    name = "not_worse_than_champion"
    if difference is None:
        return Check(name, "promote", "There is no champion yet.", {})
    if isinstance(difference, str):
        return Check(name, "promote", difference, {})
    figures = dict(difference)
    if difference["upper"] < 0:
        return Check(
            name, "promote", f"It beats the champion by {_figures(difference, -1)} RMSE.", figures
        )
    if difference["lower"] > 0:
        return Check(
            name, "block", f"It is worse than the champion by {_figures(difference)} RMSE.", figures
        )
    if difference["lower"] == difference["upper"] == 0:
        return Check(name, "keep", "It predicts the same as the champion.", figures)
    reason = (
        "The held-out rows cannot tell it from the champion: the difference in RMSE is"
        f" {_figures(difference)}."
    )
    return Check(name, "keep", reason, figures)


def _figures(interval: Interval, sign: int = 1) -> str:
    """An interval as ``value [lower, upper]``."""
    lower, upper = sorted((sign * interval["lower"], sign * interval["upper"]))
    return f"{sign * interval['value']:.2f} [{lower:.2f}, {upper:.2f}]"
