"""One column of a foreign table: what its values say about it, and the evidence for it."""

import datetime
import math
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlref.core.contract import day
from mlref.core.rows import Array

FEW = 20
"""Rows below which nothing is concluded from values that never or always repeat."""

CODES = 5
"""Most different whole numbers that are taken for codes of a category."""

REPEATS = 5
"""How often a text occurs, on average, in a category; free text repeats less."""

CLEAN = 0.95
"""Share of a column's values that must be numbers, or dates, for the others to be mistakes."""

NAMED = re.compile(r"(^|[_ ])(id|key|uuid|index|row|nr|no)$|^unnamed|Id$|ID$")
"""Names of columns that tell rows apart."""


class Draft(NamedTuple):
    """What was measured of a column.

    Parameters
    ----------
    declared : dict
        Keys of the contract: ``type`` and what belongs to it.
    evidence : str
        What it was concluded from, one line.
    left_out : bool
        Whether it is no use as a feature.
    values : ndarray of float64, shape (n,)
        Numbers, codes of categories or days; NaN where there is none.
    """

    declared: dict[str, Any]
    evidence: str
    left_out: bool
    values: Array


Found = tuple[dict[str, Any], str, Any]
"""Keys of the contract, none where the column is no use; the evidence; and the present values."""


def describe(name: str, cells: pd.Series) -> Draft:
    """Conclude from its cells, decoded or not, what a column is.

    Examples
    --------
    >>> sizes = pd.Series(["1.5", "2.5", None, "3.5"] * 9)
    >>> found = describe("size", sizes)
    >>> found.declared["type"], found.declared["expected"], found.evidence
    ('number', [1.5, 3.5], '25 % missing; 3 different values')
    """
    present = cells.dropna()
    texts = present.astype(str)
    if texts.nunique() < 2:
        evidence = "no value at all" if present.empty else f"constant: {texts.iloc[0]}"
        return Draft({}, evidence, True, np.full(len(cells), np.nan))
    kinds = (_boolean, _number, _date, _text)
    found = (kind(name, present, texts) for kind in kinds)
    declared, evidence, values = next(filter(None, found))
    missing = float(cells.isna().mean())
    if missing:
        evidence = f"{_percent(missing)} missing; {evidence}"
        declared = declared and declared | {"nullable": True}
    whole = pd.Series(values, present.index, np.float64).reindex(cells.index)
    return Draft(declared, evidence, not declared, whole.to_numpy())


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def _odd(texts: pd.Series, kind: str) -> str:
    """What is none of its column's kind, in words; nothing where there is none."""
    return f"; {len(texts)} are no {kind}, such as {texts.iloc[0]!r}" if len(texts) else ""


def _boolean(name: str, present: pd.Series, texts: pd.Series) -> Found | None:
    lower = texts.str.lower()
    if not lower.isin(["true", "false"]).all():
        return None
    values = lower == "true"
    share = float(values.mean())
    return {"type": "boolean", "example": share >= 0.5}, f"true in {_percent(share)}", values


def _number(name: str, present: pd.Series, texts: pd.Series) -> Found | None:
    values = pd.to_numeric(texts.where(~texts.str.contains("_")), errors="coerce")
    values = values.astype(np.float64).where(np.isfinite)
    known = np.asarray(values.dropna(), np.float64)
    if len(known) < CLEAN * len(values):
        return None
    if np.ptp(known) == 0:
        return {}, f"constant: {known[0]:g}, as far as 16 digits tell", values
    declared, different = number(known), np.unique(known)
    whole, many = declared["type"] == "integer", len(known) >= FEW
    if whole and many and len(different) == len(known):
        if np.ptp(known) == len(known) - 1 or NAMED.search(name):
            return {}, "identifier: a different whole number in each row", values
    if whole and many and len(different) <= CODES:
        codes = [int(code) for code in different]
        shown = ", ".join(map(str, codes))
        evidence = f"coded category: only {shown}; where it counts something, make it an integer"
        declared = {"type": "category", "allowed": codes, "example": int(values.mode()[0])}
        places = np.searchsorted(different, values)
        return declared, evidence, values.where(values.isna(), places)
    evidence = f"{texts.nunique()} different values{_odd(texts[values.isna()], 'numbers')}"
    return declared, evidence, values


def number(known: Array) -> dict[str, Any]:
    """The contract's keys of a number: its type, what is usual, rounded outward, and its median."""
    whole = bool((known == np.floor(known)).all() and np.abs(known).max() < 2**53)
    lo, hi = np.quantile(known, [0.005, 0.995]).tolist()
    if lo == hi:
        lo, hi = float(known.min()), float(known.max())
    step = max(math.floor(math.log10(hi - lo)) - 1, 0 if whole else -99)
    ends = [math.floor(lo / 10**step) * 10**step, math.ceil(hi / 10**step) * 10**step]
    middle = float(np.median(known))
    example = int(middle) if whole else float(f"{middle:.4g}")
    places = max(0, -step)
    expected = [round(end) if whole else round(float(end), places) for end in ends]
    return {"type": "integer" if whole else "number", "expected": expected, "example": example}


def _date(name: str, present: pd.Series, texts: pd.Series) -> Found | None:
    days = present.astype(object).map(day)
    known = sorted(days.dropna())
    if len(known) < CLEAN * len(days):
        return None
    evidence = f"dates from {known[0]} to {known[-1]}{_odd(texts[days.isna()], 'dates')}"
    declared = {"type": "date", "origin": known[0], "example": known[len(known) // 2].isoformat()}
    return declared, evidence, days.map(datetime.date.toordinal, na_action="ignore")


def _text(name: str, present: pd.Series, texts: pd.Series) -> Found:
    count, many = texts.nunique(), len(texts) >= FEW
    nothing, lengths = np.nan, texts.str.len()
    if many and count == len(texts) and lengths.max() <= 40 and not texts.str.contains(" ").any():
        return {}, "identifier: a different text in each row", nothing
    if many and count * REPEATS > len(texts):
        said = f"free text: {count} different ones of {lengths.mean():.0f} characters on average"
        return {}, said, nothing
    counts = texts.value_counts()
    rare = int((counts < REPEATS).sum())
    evidence = f"{count} categories"
    evidence += f", {rare} of them in fewer than {REPEATS} rows" * bool(rare)
    codes, allowed = pd.factorize(texts, sort=True)
    example = counts.index[0]
    return {"type": "category", "allowed": list(allowed), "example": example}, evidence, codes


def relation(found: Draft, target: Array) -> float:
    """How much of the target a column knows by itself, from 0 to 1.

    For categories the correlation ratio, for anything else the larger of Pearson's and Spearman's
    correlation, without its sign.
    """
    known = np.isfinite(found.values) & np.isfinite(target)
    values, wanted = found.values[known], target[known]
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(wanted) == 0:
        return 0.0
    values = values / np.abs(values).max()  # its square may be no float
    if found.declared.get("type") == "category":
        codes = found.values[known].astype(int)
        counts = np.maximum(np.bincount(codes), 1)
        means = np.bincount(codes, wanted) / counts
        return float(means[codes].std() / wanted.std())
    ranks = [pd.Series(x).rank().to_numpy() for x in (values, wanted)]
    return max(abs(float(np.corrcoef(a, b)[0, 1])) for a, b in ((values, wanted), ranks))
