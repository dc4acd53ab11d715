"""The gate: may the new model replace the champion? Pure: metrics in, verdict and reasons out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mlref.core import settings
from mlref.core.digits import interval, number
from mlref.core.task import LogRegression, Regression
from mlref.training.candidates import BASELINES

Verdict = Literal["promote", "keep", "block"]

ENDS = ("value", "lower", "upper")
"""What a metric has, and a feature of any name has not: the contract refuses such output columns."""


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
    """The verdict, the reason of each check that was not passed (else of all), and all checks."""

    verdict: Verdict
    reasons: list[str]
    checks: list[Check]


def passed(
    name: str, sound: bool, good: str, bad: str, figures: dict[str, Any], otherwise: Verdict = "block"
) -> Check:  # fmt: skip
    """A check that asks for ``otherwise`` where it is not passed."""
    return Check(name, "promote", good, figures) if sound else Check(name, otherwise, bad, figures)


def decide(
    metrics: Mapping[str, Any],
    identities: Mapping[str, tuple[str, str]],
    champion: Sequence[Check],
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
    champion : sequence of Check
        What the comparison with the champion asks. Where it asks about the coverage, on newer rows,
        the test set's does not count.
    age : float, optional
        Days since the evaluation, where it was not made just now.
    """
    if (evaluated := _evaluated(identities)).verdict != "promote":
        return conclude([evaluated])  # there are no metrics to ask about
    sound = [evaluated, _enough_rows(metrics["rows"], limits), _finite(metrics)]
    if (refused := conclude(sound)).verdict != "promote":
        return refused
    checks = [*_simpler(metrics), _promises(metrics)]
    if "coverage" not in {check.name for check in champion}:
        checks.append(coverage(metrics["coverage"], "the test set"))
    checks += champion
    if age is not None:
        checks.append(_recent(age, limits))
    found = conclude(checks)
    return found._replace(checks=[*sound, *found.checks])


def conclude(checks: list[Check]) -> Decision:
    """``block`` when any check blocks, else ``keep`` when any keeps, else ``promote``."""
    asked = {check.verdict for check in checks}
    verdict: Verdict = "block" if "block" in asked else "keep" if "keep" in asked else "promote"
    failed = sorted((c for c in checks if c.verdict != "promote"), key=lambda c: c.verdict)
    return Decision(verdict, [check.reason for check in failed or checks], checks)


def _evaluated(identities: Mapping[str, tuple[str, str]]) -> Check:
    changed = [name for name, (then, now) in identities.items() if then != now]
    good = "The evaluation is of this bundle and these rows."
    bad = f"The evaluation is of another model or rows: {' and '.join(changed)} changed. Run `make train`."
    figures = {name: list(pair) for name, pair in identities.items()}
    return passed("evaluated", not changed, good, bad, figures)


def _enough_rows(rows: int, limits: settings.Gate) -> Check:
    least = limits.smallest_holdout
    good = f"{rows} rows of the test set are enough for a verdict."
    bad = f"{rows} rows of the test set are too few for a verdict: at least {least} are needed."
    return passed("enough_rows", rows >= least, good, bad, {"rows": rows, "smallest": least})


def _finite(metrics: Mapping[str, Any]) -> Check:
    found = dict(metrics) | {f"the difference from {n}": it for n, it in metrics["ladder"].items()}
    found = {
        name: it for name, it in found.items() if isinstance(it, dict) and set(ENDS) <= it.keys()
    }
    broken = {name: it for name, it in found.items() if not _is_finite(it)}
    good = "All metrics are finite numbers."
    bad = f"The evaluation gave no finite number for {', '.join(broken)}."
    return passed("finite", not broken, good, bad, broken)


def _is_finite(found: Mapping[str, float | None]) -> bool:
    return all(end is not None and math.isfinite(end) for end in map(found.get, ENDS))


def _simpler(metrics: Mapping[str, Any]) -> Iterator[Check]:
    ladder = metrics["ladder"]
    score = LogRegression.title if LogRegression.primary in metrics else Regression.title
    for name in dict.fromkeys([*BASELINES, *ladder]):
        found = ladder.get(name)
        title = f"the baseline {name}" if name in BASELINES else f"the simpler {name}"
        if found is None:
            reason = f"The chosen model is no more than the baseline {name}."
            yield Check(f"beats_{name}", "block", reason, {})
            continue
        good = f"It beats {title} out of fold by {interval(found, -1)} {score}."
        bad = (
            f"It does not beat {title} out of fold with confidence: the difference in {score} is"
            f" {interval(found)}."
        )
        yield passed(f"beats_{name}", found["upper"] < 0, good, bad, dict(found))


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
    return passed("keeps_promises", not bad, good, bad, figures)


def coverage(found: Mapping[str, float], where: str) -> Check:
    """Ask whether prediction intervals hold what they promise.

    Parameters
    ----------
    found : mapping
        Share of the rows inside, as value, lower and upper; and ``promised``.
    where : str
        The rows, in words.
    """
    held = "Its {promised:.0%} intervals hold {value:.0%} [{lower:.0%}, {upper:.0%}]"
    good = f"{held.format(**found)} of {where}."
    bad = f"{held.format(**found)} of {where}: they are too narrow."
    return passed("coverage", found["upper"] >= found["promised"], good, bad, dict(found))


def _recent(days: float, limits: settings.Gate) -> Check:
    good = f"Its evaluation is {days:.0f} days old."
    bad = (
        f"Its evaluation is {days:.0f} days old; allowed: {limits.max_age_days:g}. `make train` makes a"
        " new one."
    )
    figures = {"days": days, "largest": limits.max_age_days}
    return passed("recent", days <= limits.max_age_days, good, bad, figures)
