"""What the gate asks about challenger and champion side by side. Pure: comparisons in, checks out."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from mlref.core import settings
from mlref.core.digits import interval, number
from mlref.data.leakage import grown
from mlref.evaluation.compare import Comparison
from mlref.evaluation.power import needed
from mlref.registry.gate import Check, Verdict, passed

VETO = "not_worse_than_champion"
KEYS = {
    "recipes": ("Its recipe", "the champion's", "out of fold on {} training rows"),
    "models": ("It", "the champion", "on {} rows that neither has trained on"),
    "since": ("It", "the champion", "on {} rows since then, out of fold"),
    "scored": ("It", "the champion", "on {} rows that it predicted before it learned them"),
}
"""Kinds of evidence: what is compared with what, and on which rows."""


def settled(verdict: Verdict, reason: str) -> Check:
    """The check where the two are not compared."""
    return Check(VETO, verdict, reason, {})


def strict(limits: settings.Gate) -> settings.Gate:
    """The limits of one kind of evidence: either may promote, so each takes half of the doubt.

    They are as strict after a change of concept, where one kind is left.
    """
    return limits.model_copy(update={"confidence": (1 + limits.confidence) / 2})


def better(evidence: Mapping[str, Comparison | str], limits: settings.Gate) -> Check:
    """Ask whether a gain is shown.

    Parameters
    ----------
    evidence : mapping of str to Comparison or str
        By a key of ``KEYS``: a comparison that may show a gain, or why there is none.
    """
    figures: dict[str, Any] = {}
    shown, not_shown = list[str](), list[str]()
    for key, one in evidence.items():
        if isinstance(one, str):
            not_shown.append(one)
            continue
        difference, least = one.difference, limits.smallest_gain * one.champion
        figures[key] = {**difference, "rows": one.rows, "smallest_gain": least}
        who, whom, where = KEYS[key]
        where = where.format(one.rows)
        gain = f"{number(least)} ({limits.smallest_gain:.1%})"
        if difference["upper"] < 0 and -difference["value"] >= least:
            shown.append(f"{who} beats {whom} by {interval(difference, -1)} {one.score} {where}.")
        elif difference["upper"] < 0:
            only = f"{who} beats {whom} by only {interval(difference, -1)} {one.score} {where}"
            not_shown.append(f"{only}; the smallest gain that counts is {gain}.")
        elif difference["lower"] == difference["upper"] == 0:
            not_shown.append(f"{who} predicts the same as {whom}.")
        else:
            said = f"{who} is not shown to be better than {whom} {where}: the difference in {one.score} is"
            said += f" {interval(difference)}"
            if least:
                need = figures[key]["rows_needed"] = _rows_needed(one, least, limits)
                said += f"; to see a gain of {gain} would need about {need} rows"
            not_shown.append(f"{said}.")
    good, bad = " ".join(shown), " ".join(not_shown)
    return passed("better_than_champion", bool(shown), good, bad, figures, "keep")


def _rows_needed(found: Comparison, least: float, limits: settings.Gate) -> int:
    """Rows on which a true difference of ``least`` would probably be seen.

    The paired standard error, which the interval's half width shows, falls with the root of the rows.
    """
    confidence = strict(limits).confidence
    half_width = (found.difference["upper"] - found.difference["lower"]) / 2
    error = half_width / NormalDist().inv_cdf(0.5 + confidence / 2)
    return needed(least, confidence, found.rows * error**2)


def not_worse(found: Comparison | None, limits: settings.Gate, allowed: float = 0.0) -> Check:
    """Ask whether a loss is shown.

    Parameters
    ----------
    found : Comparison or None
        None where the rows are too few to ask.
    allowed : float
        Loss on older rows that is accepted after a change, as a share of the champion's score.
    """
    if found is None:
        few = f"Fewer than {limits.smallest_holdout} older rows were seen by neither: they do not count."
        return settled("promote", few)
    difference, largest = found.difference, allowed * found.champion
    where = f"on {found.rows} {'older ' * bool(allowed)}rows that neither has trained on"
    most = f"{number(largest)} {found.score} ({allowed:.0%})"
    more, bound = (f" by more than {most}", f"; allowed: {most}") if allowed else ("", "")
    by = f"the difference in {found.score} is {interval(difference)}"
    good = f"It is not shown to be worse than the champion{more} {where}: {by}."
    bad = f"It is worse than the champion by {interval(difference)} {found.score} {where}{bound}."
    figures = {**difference, "rows": found.rows, "largest": largest}
    return passed(VETO, difference["lower"] <= largest, good, bad, figures)


def nowhere_worse(found: Comparison) -> Check:
    """Ask whether harm to a slice is shown."""
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
