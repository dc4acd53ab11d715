"""The gate: may the new model replace the champion? Pure: figures in, verdict and reasons out."""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from mlref.core import settings
from mlref.core.errors import MlrefError
from mlref.evaluation.compare import Comparison
from mlref.evaluation.metrics import Interval

Verdict = Literal["promote", "keep", "block"]
NEEDED = ("coverage", "digest", "holdout", "ladder", "promises", "rmse", "rows")
"""Keys of metrics.json that the gate reads."""
POWER = 0.8
"""Probability with which the number of rows that is advised would show the difference."""


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


class Incomparable(NamedTuple):
    """Why the two models cannot be compared, and what follows from that."""

    verdict: Verdict
    reason: str


def decide(
    metrics: Mapping[str, Any],
    identities: Mapping[str, tuple[str, str]],
    baselines: tuple[str, ...],
    champion: Comparison | Incomparable | None,
    knobs: settings.Gate,
    age: float | None = None,
) -> Decision:
    """Decide about a challenger.

    Parameters
    ----------
    metrics : mapping
        The content of metrics.json.
    identities : mapping of str to (str, str)
        What the figures are about: the digest that was evaluated or trained on, and the present one.
    baselines : tuple of str
        Models that every other one must beat, as it must each simpler one of its ladder.
    champion : Comparison, Incomparable or None
        The challenger against the champion on rows that neither has trained on; or why the two cannot
        be compared; or None where there is no champion.
    knobs : settings.Gate
        The limits.
    age : float, optional
        Days since the evaluation, where it was not made just now.

    Raises
    ------
    MlrefError
        When the metrics lack a key.
    """
    if lacking := sorted(set(NEEDED) - set(metrics)):
        raise MlrefError(
            f"The evaluation has no {', '.join(lacking)}: it was made by an earlier version of mlref."
            " Run `make train`."
        )
    sound = [_evaluated(identities), _enough_rows(metrics, knobs), _finite(metrics)]
    if (refused := conclude(sound)).verdict != "promote":  # there are no figures to ask about
        return refused
    checks = [*_simpler(metrics["ladder"], baselines), _promises(metrics)]
    checks += [_coverage(metrics["coverage"]), _champion(champion, knobs)]
    if isinstance(champion, Comparison):
        checks += [_slices(champion, knobs), _too_good(champion, knobs)]
    if age is not None:
        checks.append(_age(age, knobs))
    found = conclude(checks)
    return found._replace(checks=[*sound, *found.checks])


def conclude(checks: list[Check]) -> Decision:
    """``block`` when any check blocks, else ``keep`` when any keeps, else ``promote``."""
    asked = {check.verdict for check in checks}
    verdict: Verdict = "block" if "block" in asked else "keep" if "keep" in asked else "promote"
    return Decision(verdict, [c.reason for c in checks if c.verdict == verdict], checks)


def _evaluated(identities: Mapping[str, tuple[str, str]]) -> Check:
    name, figures = "evaluated", {what: list(pair) for what, pair in identities.items()}
    changed = [what for what, (then, now) in identities.items() if then != now]
    if not changed:
        return Check(name, "promote", "The evaluation is of this bundle and these rows.", figures)
    reason = f"What was evaluated is not what is here: {' and '.join(changed)} changed. Run `make train`."
    return Check(name, "block", reason, figures)


def _enough_rows(metrics: Mapping[str, Any], knobs: settings.Gate) -> Check:
    name, rows, least = "enough_rows", metrics["rows"], knobs.smallest_holdout
    figures = {"rows": rows, "smallest": least}
    if rows >= least:
        return Check(name, "promote", f"{rows} held-out rows are enough for a verdict.", figures)
    reason = f"{rows} held-out rows are too few for a verdict: at least {least} are needed."
    return Check(name, "block", reason, figures)


def _finite(metrics: Mapping[str, Any]) -> Check:
    figures = {name: item for name, item in metrics.items() if isinstance(item, dict)}
    figures = {name: item for name, item in figures.items() if "value" in item}
    figures |= {f"the difference from {name}": item for name, item in metrics["ladder"].items()}
    broken = {name: item for name, item in figures.items() if not _is_finite(item)}
    if not broken:
        return Check("finite", "promote", "All figures are finite numbers.", {})
    reason = f"The evaluation gave no finite number for {', '.join(broken)}."
    return Check("finite", "block", reason, broken)


def _is_finite(interval: Mapping[str, float | None]) -> bool:
    ends = [interval.get(end) for end in ("value", "lower", "upper")]
    return all(end is not None and math.isfinite(end) for end in ends)


def _simpler(ladder: Mapping[str, Interval], baselines: tuple[str, ...]) -> Iterator[Check]:
    for name in dict.fromkeys([*baselines, *ladder]):
        difference = ladder.get(name)
        title = f"the baseline {name}" if name in baselines else f"the simpler {name}"
        if difference is None:
            reason = f"The chosen model is no more than the baseline {name}."
            yield Check(f"beats_{name}", "block", reason, {})
        elif difference["upper"] < 0:
            reason = f"It beats {title} out of fold by {_figures(difference, -1)} RMSE."
            yield Check(f"beats_{name}", "promote", reason, dict(difference))
        else:
            reason = (
                f"It does not beat {title} out of fold with confidence: the difference in RMSE is"
                f" {_figures(difference)}."
            )
            yield Check(f"beats_{name}", "block", reason, dict(difference))


def _promises(metrics: Mapping[str, Any]) -> Check:
    name, promises, rows = "keeps_promises", metrics["promises"], metrics["rows"]
    broken = [promise for promise in promises if not promise["passed"]]
    figures = {promise["promise"]: promise["worst"] for promise in promises}
    if not broken:
        reason = f"It keeps all {len(promises)} promises on {rows} held-out rows."
        return Check(name, "promote", reason, figures)
    reasons = [
        f"It breaks its promise ({promise['promise']}) on {promise['broken']} of {rows} held-out rows,"
        f" by up to {_worst(promise['worst'])}; allowed: {promise['tolerance']:g}."
        for promise in broken
    ]
    return Check(name, "block", " ".join(reasons), figures)


def _worst(excess: float | None) -> str:
    return "what is not a number" if excess is None else f"{excess:.4g}"


def _coverage(coverage: Mapping[str, float]) -> Check:
    held = "Its {promised:.0%} intervals hold {value:.0%} [{lower:.0%}, {upper:.0%}]".format(
        **coverage
    )
    if coverage["upper"] >= coverage["promised"]:
        reason = f"{held} of the held-out values."
        return Check("coverage", "promote", reason, dict(coverage))
    reason = f"{held} of the held-out values: they are too narrow."
    return Check("coverage", "block", reason, dict(coverage))


def _champion(found: Comparison | Incomparable | None, knobs: settings.Gate) -> Check:
    name = "not_worse_than_champion"
    if found is None:
        return Check(name, "promote", "There is no champion yet.", {})
    if isinstance(found, Incomparable):
        return Check(name, found.verdict, found.reason, {})
    difference, least = found.difference, knobs.smallest_gain * found.champion
    figures = {**difference, "rows": found.rows, "smallest_gain": least}
    where = f"on {found.rows} rows that neither has trained on"
    if difference["upper"] < 0 and -difference["value"] >= least:
        reason = f"It beats the champion by {_figures(difference, -1)} RMSE {where}."
        return Check(name, "promote", reason, figures)
    if difference["lower"] > 0:
        reason = f"It is worse than the champion by {_figures(difference)} RMSE {where}."
        return Check(name, "block", reason, figures)
    if difference["lower"] == difference["upper"] == 0:
        return Check(name, "keep", "It predicts the same as the champion.", figures)
    if difference["upper"] < 0:
        reason = (
            f"It beats the champion by only {_figures(difference, -1)} RMSE {where}; the smallest gain"
            f" that counts is {least:.2f} ({knobs.smallest_gain:.1%})."
        )
        return Check(name, "keep", reason, figures)
    reason = (
        f"The held-out rows cannot tell it from the champion at n = {found.rows}: the difference in"
        f" RMSE is {_figures(difference)}"
    )
    if least:
        need = _rows_needed(found, least, knobs.confidence)
        reason += f"; to see one of {least:.2f} ({knobs.smallest_gain:.1%}) would need about {need}"
        figures["rows_needed"] = need
    return Check(name, "keep", f"{reason}.", figures)


def _rows_needed(found: Comparison, least: float, confidence: float) -> int:
    """Rows on which a true difference of ``least`` would be seen, with probability ``POWER``.

    The paired standard error, which the interval's half width shows, falls with the root of the rows.
    """
    normal = NormalDist()
    seen = normal.inv_cdf(0.5 + confidence / 2)
    error = (found.difference["upper"] - found.difference["lower"]) / 2 / seen
    return round(float(f"{found.rows * ((seen + normal.inv_cdf(POWER)) * error / least) ** 2:.2g}"))


def _slices(found: Comparison, knobs: settings.Gate) -> Check:
    name = "slices"
    judged = {part: difference for part, difference in found.slices.items() if difference}
    worse = [
        f"{part} by {_figures(difference)}"
        for part, difference in judged.items()
        if difference["lower"] > 0
    ]
    small = [part for part in found.slices if part not in judged]
    left_out = f" Too small to judge: {', '.join(small)}." if small else ""
    if worse:
        reason = f"It is worse than the champion on a part of the rows: {'; '.join(worse)} RMSE."
        return Check(name, "block", reason + left_out, judged)
    reason = f"On none of {len(judged)} slices is it worse than the champion with confidence."
    return Check(name, "promote", reason + left_out, judged)


def _too_good(found: Comparison, knobs: settings.Gate) -> Check:
    name, gain = "too_good", -found.difference["value"] / found.champion if found.champion else 0.0
    figures = {"gain": gain, "largest": knobs.largest_gain}
    if gain <= knobs.largest_gain:
        where = f"{abs(gain):.0%} {'below' if gain > 0 else 'above'} the champion's"
        reason = f"Its RMSE is {where}, which is no suspicious gain."
        return Check(name, "promote", reason, figures)
    reason = (
        f"Its RMSE is {gain:.0%} below the champion's. More than {knobs.largest_gain:.0%} in one step is"
        " more likely a leak, or a fault in the data that only the champion suffers from, than progress."
    )
    return Check(name, "keep", reason, figures)


def _age(days: float, knobs: settings.Gate) -> Check:
    figures = {"days": days, "largest": knobs.max_age_days}
    if days <= knobs.max_age_days:
        return Check("recent", "promote", f"Its evaluation is {days:.0f} days old.", figures)
    reason = (
        f"Its evaluation is {days:.0f} days old; allowed: {knobs.max_age_days:g}. `make train` makes a"
        " new one."
    )
    return Check("recent", "block", reason, figures)


def _figures(interval: Mapping[str, float], sign: int = 1) -> str:
    """An interval as ``value [lower, upper]``."""
    lower, upper = sorted((sign * interval["lower"], sign * interval["upper"]))
    return f"{sign * interval['value']:.2f} [{lower:.2f}, {upper:.2f}]"
