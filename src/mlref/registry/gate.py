"""The gate: may the new model replace the champion? Pure: metrics in, verdict and reasons out."""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from mlref.core import settings
from mlref.core.digits import interval, number
from mlref.evaluation.compare import Comparison
from mlref.evaluation.metrics import Interval

Verdict = Literal["promote", "keep", "block"]
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
    limits: settings.Gate,
    age: float | None = None,
) -> Decision:
    """Decide about a challenger.

    Parameters
    ----------
    metrics : mapping
        The content of metrics.json.
    identities : mapping of str to (str, str)
        What the metrics are about: the digest that was evaluated or trained on, and the present one.
    baselines : tuple of str
        Models that every other one must beat, as it must each simpler candidate.
    champion : Comparison, Incomparable or None
        The challenger against the champion on rows that neither has trained on; or why the two cannot
        be compared; or None where there is no champion.
    age : float, optional
        Days since the evaluation, where it was not made just now.
    """
    if (evaluated := _evaluated(identities)).verdict != "promote":
        return conclude([evaluated])  # there are no metrics to ask about
    sound = [evaluated, _enough_rows(metrics["rows"], limits), _finite(metrics)]
    if (refused := conclude(sound)).verdict != "promote":
        return refused
    checks = [*_simpler(metrics["ladder"], baselines), _promises(metrics)]
    checks += [_coverage(metrics["coverage"]), _champion(champion, limits)]
    if isinstance(champion, Comparison):
        checks += [_slices(champion), _too_good(champion, limits)]
    if age is not None:
        checks.append(_recent(age, limits))
    found = conclude(checks)
    return found._replace(checks=[*sound, *found.checks])


def conclude(checks: list[Check]) -> Decision:
    """``block`` when any check blocks, else ``keep`` when any keeps, else ``promote``."""
    asked = {check.verdict for check in checks}
    verdict: Verdict = "block" if "block" in asked else "keep" if "keep" in asked else "promote"
    return Decision(verdict, [c.reason for c in checks if c.verdict == verdict], checks)


def _passed(
    name: str, passed: bool, good: str, bad: str, figures: dict[str, Any], otherwise: Verdict = "block"
) -> Check:  # fmt: skip
    return Check(name, "promote", good, figures) if passed else Check(name, otherwise, bad, figures)


def _evaluated(identities: Mapping[str, tuple[str, str]]) -> Check:
    changed = [name for name, (then, now) in identities.items() if then != now]
    good = "The evaluation is of this bundle and these rows."
    bad = f"The evaluation is of another model or rows: {' and '.join(changed)} changed. Run `make train`."
    figures = {name: list(pair) for name, pair in identities.items()}
    return _passed("evaluated", not changed, good, bad, figures)


def _enough_rows(rows: int, limits: settings.Gate) -> Check:
    least = limits.smallest_holdout
    good = f"{rows} rows of the test set are enough for a verdict."
    bad = f"{rows} rows of the test set are too few for a verdict: at least {least} are needed."
    return _passed("enough_rows", rows >= least, good, bad, {"rows": rows, "smallest": least})


def _finite(metrics: Mapping[str, Any]) -> Check:
    found = dict(metrics) | {f"the difference from {n}": it for n, it in metrics["ladder"].items()}
    found = {name: it for name, it in found.items() if isinstance(it, dict) and "value" in it}
    broken = {name: it for name, it in found.items() if not _is_finite(it)}
    good = "All metrics are finite numbers."
    bad = f"The evaluation gave no finite number for {', '.join(broken)}."
    return _passed("finite", not broken, good, bad, broken)


def _is_finite(found: Mapping[str, float | None]) -> bool:
    ends = [found.get(end) for end in ("value", "lower", "upper")]
    return all(end is not None and math.isfinite(end) for end in ends)


def _simpler(ladder: Mapping[str, Interval], baselines: tuple[str, ...]) -> Iterator[Check]:
    for name in dict.fromkeys([*baselines, *ladder]):
        found = ladder.get(name)
        title = f"the baseline {name}" if name in baselines else f"the simpler {name}"
        if found is None:
            reason = f"The chosen model is no more than the baseline {name}."
            yield Check(f"beats_{name}", "block", reason, {})
            continue
        good = f"It beats {title} out of fold by {interval(found, -1)} RMSE."
        bad = (
            f"It does not beat {title} out of fold with confidence: the difference in RMSE is"
            f" {interval(found)}."
        )
        yield _passed(f"beats_{name}", found["upper"] < 0, good, bad, dict(found))


def _promises(metrics: Mapping[str, Any]) -> Check:
    promises, rows = metrics["promises"], metrics["rows"]
    good = f"It passes all {len(promises)} behavioural checks on {rows} rows of the test set."
    if not promises:
        good = "The contract makes no promises, so there was no behavioural check."
    bad = " ".join(
        f"It breaks its promise ({promise['promise']}) on {promise['broken']} of {rows} rows of the test"
        f" set, by up to {number(promise['worst'])}; allowed: {promise['tolerance']:g}."
        for promise in promises
        if not promise["passed"]
    )
    figures = {promise["promise"]: promise["worst"] for promise in promises}
    return _passed("keeps_promises", not bad, good, bad, figures)


def _coverage(coverage: Mapping[str, float]) -> Check:
    held = "Its {promised:.0%} intervals hold {value:.0%} [{lower:.0%}, {upper:.0%}]".format(
        **coverage
    )
    good, bad = f"{held} of the test set.", f"{held} of the test set: they are too narrow."
    wide = coverage["upper"] >= coverage["promised"]
    return _passed("coverage", wide, good, bad, dict(coverage))


def _champion(found: Comparison | Incomparable | None, limits: settings.Gate) -> Check:
    name = "not_worse_than_champion"
    if found is None:
        return Check(name, "promote", "There was no champion to compare it with.", {})
    if isinstance(found, Incomparable):
        return Check(name, found.verdict, found.reason, {})
    difference, least = found.difference, limits.smallest_gain * found.champion
    figures = {**difference, "rows": found.rows, "smallest_gain": least}
    where = f"on {found.rows} rows that neither has trained on"
    gain = f"{number(least)} ({limits.smallest_gain:.1%})"
    verdict: Verdict = "keep"
    if difference["lower"] > 0:
        verdict = "block"
        reason = f"It is worse than the champion by {interval(difference)} RMSE {where}."
    elif difference["lower"] == difference["upper"] == 0:
        reason = "It predicts the same as the champion."
    elif difference["upper"] < 0 and -difference["value"] >= least:
        verdict = "promote"
        reason = f"It beats the champion by {interval(difference, -1)} RMSE {where}."
    elif difference["upper"] < 0:
        reason = (
            f"It beats the champion by only {interval(difference, -1)} RMSE {where}; the smallest"
        )
        reason += f" gain that counts is {gain}."
    else:
        reason = (
            f"The test set cannot tell it from the champion at n = {found.rows}: the difference in"
        )
        reason += f" RMSE is {interval(difference)}"
        if least:
            need = figures["rows_needed"] = _rows_needed(found, least, limits.confidence)
            reason += f"; to see one of {gain} would need about {need} rows"
        reason += "."
    return Check(name, verdict, reason, figures)


def _rows_needed(found: Comparison, least: float, confidence: float) -> int:
    """Rows on which a true difference of ``least`` would be seen, with probability ``POWER``.

    The paired standard error, which the interval's half width shows, falls with the root of the rows.
    """
    normal = NormalDist()
    seen = normal.inv_cdf(0.5 + confidence / 2)
    error = (found.difference["upper"] - found.difference["lower"]) / 2 / seen
    return round(float(f"{found.rows * ((seen + normal.inv_cdf(POWER)) * error / least) ** 2:.2g}"))


def _slices(found: Comparison) -> Check:
    judged = {part: difference for part, difference in found.slices.items() if difference}
    worse = [
        f"{part} by {interval(difference)}"
        for part, difference in judged.items()
        if difference["lower"] > 0
    ]
    small = [part for part in found.slices if part not in judged]
    left_out = f" Too small to judge: {', '.join(small)}." if small else ""
    good = (
        f"On none of {len(judged)} slices is it worse than the champion with confidence.{left_out}"
    )
    bad = f"It is worse than the champion on a part of the rows: {'; '.join(worse)} RMSE.{left_out}"
    return _passed("slices", not worse, good, bad, judged)


def _too_good(found: Comparison, limits: settings.Gate) -> Check:
    gain = -found.difference["value"] / found.champion if found.champion else 0.0
    where = f"{abs(gain):.0%} {'below' if gain > 0 else 'above'} the champion's"
    good = f"Its RMSE is {where}, which is no suspicious gain."
    bad = (
        f"Its RMSE is {where}. More than {limits.largest_gain:.0%} in one step is more likely a leak, or"
        " a fault in the data that only the champion suffers from, than progress."
    )
    figures = {"gain": gain, "largest": limits.largest_gain}
    return _passed("too_good", gain <= limits.largest_gain, good, bad, figures, "keep")


def _recent(days: float, limits: settings.Gate) -> Check:
    good = f"Its evaluation is {days:.0f} days old."
    bad = (
        f"Its evaluation is {days:.0f} days old; allowed: {limits.max_age_days:g}. `make train` makes a"
        " new one."
    )
    figures = {"days": days, "largest": limits.max_age_days}
    return _passed("recent", days <= limits.max_age_days, good, bad, figures)
