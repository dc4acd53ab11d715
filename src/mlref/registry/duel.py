"""Challenger and champion side by side, and what the gate asks about them. Pure."""

from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from mlref.core import settings
from mlref.core.digits import interval, number
from mlref.data.leakage import grown
from mlref.evaluation.compare import Comparison
from mlref.evaluation.metrics import Interval

Verdict = Literal["promote", "keep", "block"]
POWER = 0.8
"""Probability with which the number of rows that is advised would show the difference."""

KEYS = {
    "recipes": ("Its recipe", "the champion's", "out of fold on {} training rows"),
    "models": ("It", "the champion", "on {} rows that neither has trained on"),
    "since": ("It", "the champion", "on {} rows since then, out of fold"),
}
"""Kinds of evidence: what is compared with what, and on which rows."""


class Check(NamedTuple):
    """One question that the gate asked.

    ``verdict`` is what this check alone asks for: block, keep, or promote where nothing speaks
    against it.
    """

    name: str
    verdict: Verdict
    reason: str
    figures: dict[str, Any]


def passed(
    name: str, sound: bool, good: str, bad: str, figures: dict[str, Any], otherwise: Verdict = "block"
) -> Check:  # fmt: skip
    """A check that asks for ``otherwise`` where it is not passed."""
    return Check(name, "promote", good, figures) if sound else Check(name, otherwise, bad, figures)


class Incomparable(NamedTuple):
    """Why the two models cannot be compared, and what follows from that."""

    verdict: Verdict
    reason: str


class Duel(NamedTuple):
    """A challenger against the champion.

    Parameters
    ----------
    evidence : dict of str to Comparison or str
        By a key of ``KEYS``: a comparison that may show a gain, or why there is none.
    veto : Comparison or None
        On rows on which the challenger must not lose; None where they are too few to ask.
    allowed : float
        Loss on these rows that is accepted, as a share of the champion's score.
    slices : dict of str to Interval or None
        See :class:`mlref.evaluation.compare.Comparison`.
    coverage : Interval, optional
        Where the test set's does not count: share of the rows inside the challenger's intervals.
    """

    evidence: dict[str, Comparison | str]
    veto: Comparison | None
    allowed: float
    slices: dict[str, Interval | None]
    coverage: Interval | None = None

    @property
    def score(self) -> str:
        """The score that is compared, as sentences name it."""
        return next(one.score for one in self.evidence.values() if not isinstance(one, str))


def checks(found: Duel | Incomparable | None, limits: settings.Gate) -> Iterator[Check]:
    """Ask whether the challenger is better than the champion, and nowhere worse."""
    name = "not_worse_than_champion"
    if found is None:
        yield Check(name, "promote", "There was no champion to compare it with.", {})
    elif isinstance(found, Incomparable):
        yield Check(name, found.verdict, found.reason, {})
    else:
        yield _evidence(found, limits)
        yield _veto(name, found, limits)
        yield _slices(found)


def key_confidence(limits: settings.Gate) -> float:
    """Confidence of each kind of evidence: either may promote, so each takes half of the doubt."""
    return 1 - (1 - limits.confidence) / 2


def _evidence(found: Duel, limits: settings.Gate) -> Check:
    figures: dict[str, Any] = {}
    shown, not_shown = list[str](), list[str]()
    for key, one in found.evidence.items():
        if isinstance(one, str):
            not_shown.append(one)
            continue
        difference, least = one.difference, limits.smallest_gain * one.champion
        figures[key] = {**difference, "rows": one.rows, "smallest_gain": least}
        who, whom, where = KEYS[key]
        where = where.format(one.rows)
        gain = f"{number(least)} ({limits.smallest_gain:.1%})"
        if difference["upper"] < 0 and -difference["value"] >= least:
            shown.append(f"{who} beats {whom} by {interval(difference, -1)} {found.score} {where}.")
        elif difference["upper"] < 0:
            only = f"{who} beats {whom} by only {interval(difference, -1)} {found.score} {where}"
            not_shown.append(f"{only}; the smallest gain that counts is {gain}.")
        elif difference["lower"] == difference["upper"] == 0:
            not_shown.append(f"{who} predicts the same as {whom}.")
        else:
            said = f"{who} is not shown to be better than {whom} {where}: the difference in {found.score} is"
            said += f" {interval(difference)}"
            if least:
                need = figures[key]["rows_needed"] = _rows_needed(one, least, limits)
                said += f"; to see a gain of {gain} would need about {need} rows"
            not_shown.append(f"{said}.")
    good, bad = " ".join(shown), " ".join(not_shown)
    return passed("better_than_champion", bool(shown), good, bad, figures, "keep")


def _rows_needed(found: Comparison, least: float, limits: settings.Gate) -> int:
    """Rows on which a true difference of ``least`` would be seen, with probability ``POWER``.

    The paired standard error, which the interval's half width shows, falls with the root of the rows.
    """
    normal = NormalDist()
    seen = normal.inv_cdf(0.5 + key_confidence(limits) / 2)
    error = (found.difference["upper"] - found.difference["lower"]) / 2 / seen
    return round(float(f"{found.rows * ((seen + normal.inv_cdf(POWER)) * error / least) ** 2:.2g}"))


def _veto(name: str, found: Duel, limits: settings.Gate) -> Check:
    if found.veto is None:
        good = f"Fewer than {limits.smallest_holdout} older rows were seen by neither: they do not count."
        return Check(name, "promote", good, {})
    difference, largest = found.veto.difference, found.allowed * found.veto.champion
    where = f"on {found.veto.rows} {'older ' * bool(found.allowed)}rows that neither has trained on"
    bound = f"; allowed: {number(largest)} ({found.allowed:.0%})" if found.allowed else ""
    by = f"the difference in {found.score} is {interval(difference)}{bound}"
    good = f"It is not shown to be worse than the champion {where}: {by}."
    bad = f"It is worse than the champion by {interval(difference)} {found.score} {where}{bound}."
    figures = {**difference, "rows": found.veto.rows, "largest": largest}
    return passed(name, difference["lower"] <= largest, good, bad, figures)


def _slices(found: Duel) -> Check:
    judged = {part: difference for part, difference in found.slices.items() if difference}
    worse = [
        f"{part} by {interval(difference)}"
        for part, difference in judged.items()
        if difference["lower"] > difference["margin"]
    ]
    small = [part for part in found.slices if part not in judged]
    left_out = f" Too small to judge: {', '.join(small)}." if small else ""
    good = f"On none of {len(judged)} slices is it shown to be worse than the champion.{left_out}"
    bad = f"It is worse than the champion on a part of the rows: {'; '.join(worse)} {found.score}.{left_out}"
    return passed("slices", not worse, good, bad, judged)


def leak(before: Mapping[str, Any] | None, now: Mapping[str, Any], limits: settings.Gate) -> Check:
    """Ask whether a column tells more of the target than it told when the champion was trained.

    Parameters
    ----------
    before, now : mapping or None
        Partial correlations, recorded with the champion and measured on the challenger's training
        rows; see :func:`mlref.data.leakage.partial_correlations`.
    """
    if before is None or before["target"] != now["target"]:
        return Check(
            "leak", "promote", "The champion has no record that shows leaks by growth.", {}
        )
    old, new = before["columns"], now["columns"]
    names = grown(before, now, limits.leak_alarms)
    told = "; ".join(f"{name} {number(old[name])} → {number(new[name])}" for name in names)
    added = ", ".join(name for name in new if name not in old)
    listed = f" New, so nothing is known of them: {added}." if added and old else ""
    good = f"No column tells more of the target than it told the champion.{listed}"
    bad = (
        f"Given the other columns, these tell more of {now['target']} than they told the champion"
        f" (partial correlation): {told}. A leak is likelier than progress: a person decides, by"
        f" `mlref promote VERSION --reason TEXT`.{listed}"
    )
    figures = {"champion": old, "challenger": new}
    return passed("leak", not names, good, bad, figures, "keep")
