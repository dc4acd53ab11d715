"""One column of a foreign table: what its values say about it, and the evidence for it."""

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


def describe(name: str, cells: pd.Series) -> Draft:
    """Conclude from its cells, decoded or not, what a column is.

    Examples
    --------
    >>> sizes = pd.Series(["1.5", "2.5", None, "3.5"] * 9)
    >>> found = describe("size", sizes)
    >>> found.declared["type"], found.declared["expected"], found.evidence
    ('number', [1.5, 3.5], '25 % missing; 3 different values')
    """
    present = cells[cells.notna()]
    texts = present.astype(str)
    count = int(texts.nunique())
    if count < 2:
        return _left_out(cells, f"constant: {texts.iloc[0]}" if count else "no value at all")
    for kind in (_boolean, _number, _date):
        if found := kind(name, present, texts, count):
            break
    else:
        found = _text(texts, count)
    declared, evidence, left_out, values = found
    missing = 1 - len(present) / len(cells)
    if missing and not left_out:
        declared = declared | {"nullable": True}
    if missing:
        evidence = f"{_percent(missing)} missing; {evidence}"
    whole = np.asarray(pd.Series(values, present.index).reindex(cells.index), np.float64)
    return Draft(declared, evidence, left_out, whole)


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def _left_out(cells: pd.Series, evidence: str) -> Draft:
    return Draft({}, evidence, True, np.full(len(cells), np.nan))


def _boolean(name: str, present: pd.Series, texts: pd.Series, count: int) -> Draft | None:
    lower = texts.str.lower()
    if not lower.isin(["true", "false"]).all():
        return None
    values = np.asarray(lower == "true", np.float64)
    declared = {"type": "boolean", "example": bool(values.mean() >= 0.5)}
    return Draft(declared, f"true in {_percent(values.mean())}", False, values)


def _number(name: str, present: pd.Series, texts: pd.Series, count: int) -> Draft | None:
    plain = texts.where(~texts.str.contains("_"))
    values = np.asarray(pd.to_numeric(plain, errors="coerce"), np.float64)
    good = np.isfinite(values)
    if good.mean() < CLEAN:
        return None
    known = values[good]
    whole = bool((known == np.floor(known)).all() and np.abs(known).max() < 2**53)
    if np.ptp(known) == 0:
        return Draft({}, f"constant: {known[0]:g}, as far as 16 digits tell", True, values)
    evidence = f"{count} different values"
    if not good.all():
        odd = texts.to_numpy()[~good]
        evidence += f"; {len(odd)} are no numbers, such as {odd[0]!r}"
    unique = whole and len(known) >= FEW and len(np.unique(known)) == len(known)
    if unique and (np.ptp(known) == len(known) - 1 or NAMED.search(name)):
        return Draft({}, "identifier: a different whole number in each row", True, values)
    different = np.unique(known).astype(int).tolist() if whole else []
    if 2 <= len(different) <= CODES and len(known) >= FEW:
        shown = ", ".join(map(str, different))
        evidence = f"coded category: only {shown}; where it counts something, make it an integer"
        codes = np.where(good, np.searchsorted(different, values), np.nan)
        example = different[int(np.bincount(codes[good].astype(int)).argmax())]
        return Draft(
            {"type": "category", "allowed": different, "example": example}, evidence, False, codes
        )
    return Draft(number(known, whole), evidence, False, np.where(good, values, np.nan))


def number(known: Array, whole: bool) -> dict[str, Any]:
    """The contract's keys of a number: its type, what is usual, rounded outward, and its median."""
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


def _date(name: str, present: pd.Series, texts: pd.Series, count: int) -> Draft | None:
    days = [day(cell) for cell in present]
    known = sorted(found for found in days if found is not None)
    if len(known) < CLEAN * len(days):
        return None
    evidence = f"dates from {known[0]} to {known[-1]}"
    if odd := [cell for cell, found in zip(texts, days, strict=True) if found is None]:
        evidence += f"; {len(odd)} are no dates, such as {odd[0]!r}"
    declared = {"type": "date", "origin": known[0], "example": known[len(known) // 2].isoformat()}
    values = [math.nan if found is None else found.toordinal() for found in days]
    return Draft(declared, evidence, False, np.array(values, dtype=np.float64))


def _text(texts: pd.Series, count: int) -> Draft:
    nothing = np.full(len(texts), np.nan)
    if (
        count == len(texts) >= FEW
        and texts.str.len().max() <= 40
        and not texts.str.contains(" ").any()
    ):
        return Draft({}, "identifier: a different text in each row", True, nothing)
    if count * REPEATS > len(texts) and len(texts) >= FEW:
        length = texts.str.len().mean()
        evidence = f"free text: {count} different ones of {length:.0f} characters on average"
        return Draft({}, evidence, True, nothing)
    codes, allowed = pd.factorize(texts, sort=True)
    counts = np.bincount(codes)
    rare = int((counts < REPEATS).sum())
    evidence = f"{count} categories" + (
        f", {rare} of them in fewer than {REPEATS} rows" * bool(rare)
    )
    declared = {
        "type": "category",
        "allowed": list(allowed),
        "example": allowed[int(counts.argmax())],
    }
    return Draft(declared, evidence, False, codes.astype(np.float64))


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
