"""How small a difference so many rows can show, before there is a model to measure it with."""

import math
from statistics import NormalDist

from mlref.core.digits import places, show_number
from mlref.core.settings import Settings

POWER = 0.8
"""Probability with which a difference that is called visible is seen."""
ALIKE = 0.99
"""Correlation of the errors of two sound models of the same rows (measured on the embedded table)."""
GAP = 0.2
"""Difference between two groups, as a share of RMSE, for which the rows needed are said."""


def visible(rows: float, confidence: float, spread: float) -> float:
    """Smallest difference in RMSE, as a share of it, that is seen with probability ``POWER``.

    For normal errors, whose squares have twice the square of their variance as variance. The standard
    error of the difference, divided by the RMSE, is then ``(spread / rows)**0.5``. The spread is
    ``1 - ALIKE**2`` for two models on the same rows, 2 for one model on two halves of them.

    Examples
    --------
    >>> round(visible(350, 0.975, 1 - ALIKE**2), 3), round(visible(80, 0.95, 2), 2)
    (0.023, 0.44)
    """
    return _deviations(confidence) * math.sqrt(spread / rows)


def needed(wanted: float, confidence: float, spread: float) -> int:
    """Rows on which a difference of ``wanted`` is visible, two digits; the inverse of ``visible``."""
    return round(float(f"{spread * (_deviations(confidence) / wanted) ** 2:.2g}"))


def _deviations(confidence: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(POWER)


def _percent(share: float) -> str:
    """With two digits, since a large table shows differences of less than one percent."""
    return f"{show_number(100 * share, places(100 * share, 2))}%"


def outlook(rows: int, settings: Settings, score: str) -> str:
    """What a table of so many rows can show in a score of that name, in words."""
    gate, tested = settings.gate, rows * settings.split.holdout
    pair = 1 - (1 - gate.confidence) / 2, 1 - ALIKE**2
    halves = settings.evaluate.confidence, 2.0
    better = needed(gate.smallest_gain, *pair) if gate.smallest_gain else 0
    wanted = f" ({gate.smallest_gain:.1%} needs about {better} training rows)" if better else ""
    gain, gap = (_percent(visible(*of)) for of in ((rows - tested, *pair), (tested, *halves)))
    return (
        f"{rows} rows: about {rows - tested:.0f} to train on and {tested:.0f} in the test set. Four times"
        f" out of five they show a gain of {gain} in {score} by another"
        f" recipe{wanted}, and a difference of {gap} in {score} between two equal"
        f" groups ({GAP:.0%} needs about {needed(GAP, *halves)} test rows)."
    )
