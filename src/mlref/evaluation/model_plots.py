"""Pictures of the model: what it uses, what it does, what more rows or another penalty bring."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mlref.core.contract import Column, Contract
from mlref.core.numbers import digits, show_number
from mlref.evaluation.metrics import Interval
from mlref.evaluation.plots import BLUE, GREY, ORANGE, intervals, label, panels

STRONGEST = 12
"""Features whose effect is drawn, the strongest first."""

PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Six colours that colour-blind readers can tell apart (Okabe and Ito)."""


def features(found: dict[str, Interval], target: Column) -> Figure:
    """By how much the error grows without each feature, the most needed first."""
    missed = sum(interval["lower"] > 0 for interval in found.values())
    title = f"Features that would be missed with confidence: {missed} of {len(found)}"
    figure, (at,) = panels(title, 1, 6.0, 1.4 + 0.3 * len(found))
    order = sorted(found, key=lambda name: found[name]["value"], reverse=True)
    intervals(at, {name: found[name] for name in order}, 0.0)
    at.set(xlabel=f"RMSE without it − with it, out of fold: {label(target)}")
    return figure


def effects(table: Any, contract: Contract, profile: dict[str, Any]) -> Figure:
    """Mean prediction while one feature takes its usual values; ticks are the training quantiles."""
    spans = table.groupby("feature")["prediction"].agg(np.ptp).sort_values(ascending=False)
    columns = {column.name: column for column in contract.features}
    drawn = list(spans.index[:STRONGEST])
    widest = show_number(spans.iloc[0], digits(contract.target))
    title = (
        f"{columns[drawn[0]].title} moves the prediction most: by {widest} over its usual values"
    )
    across = min(len(drawn), 4)
    figure, plots = panels(
        title, len(drawn), 2.4 * across + 0.6, 0.8 + 2.1 * -(-len(drawn) // across), across,
        sharey=True,
    )  # fmt: skip
    for name, at in zip(drawn, plots, strict=True):
        line, column = table[table["feature"] == name], columns[name]
        if column.allowed is not None:
            at.plot(range(len(line)), line["prediction"], "o", color=BLUE)
            at.set_xticks(range(len(line)), column.allowed)
            at.margins(x=0.3)
        else:
            at.plot(line["value"].astype(float), line["prediction"], color=BLUE)
            seen = list(profile["columns"][name].get("quantiles", {}).values())
            at.plot(seen, [0.02] * len(seen), "|", color=GREY, transform=at.get_xaxis_transform())
        at.set_xlabel(label(column), fontsize=8)
    figure.supylabel(f"mean prediction: {label(contract.target)}", fontsize=9)
    return figure


def learning_curve(table: Any, target: Column) -> Figure:
    """Cross-validated error by the number of rows fitted on."""
    half, last = table.iloc[len(table) // 2 - 1], table.iloc[-1]
    change = show_number(last["unseen"] - half["unseen"], digits(target), "+")
    title = (
        f"From {half['rows']:.0f} to {last['rows']:.0f} rows the error of unseen rows changes by"
        f" {change}"
    )
    figure, (at,) = panels(title, 1, 6.0, 5.0)
    at.plot(table["rows"], table["fitted"], "s--", color=GREY, label="rows that were fitted on")
    at.errorbar(
        table["rows"], table["unseen"], yerr=table["deviation"], fmt="o-", color=BLUE, capsize=3,
        label="unseen rows ± deviation over folds",
    )  # fmt: skip
    at.set(xlabel="rows fitted on", ylabel=f"RMSE: {label(target)}")
    at.legend()
    return figure


def regularisation_path(table: Any, chosen: float, target: Column) -> Figure:
    """Cross-validated error and coefficients while the penalty grows; the chosen one is marked."""
    error = table.drop_duplicates("alpha").set_index("alpha")
    nearest = error["error"].iloc[np.abs(np.log(error.index / chosen)).argmin()]
    above_lowest = show_number(nearest - error["error"].min(), digits(target))
    title = f"At the chosen penalty the error is {above_lowest} above the lowest of the path"
    figure, (above, below) = panels(title, 2, 6.5, 6.0, 1, sharex=True)
    above.errorbar(
        error.index, error["error"], yerr=error["deviation"], fmt="o-", color=BLUE, capsize=3
    )
    above.set(xscale="log", ylabel=f"RMSE ± deviation over folds:\n{label(target)}")
    lines = table.pivot(index="alpha", columns="term", values="coefficient")
    for place, term in enumerate(lines.abs().max().sort_values(ascending=False).index):
        named = place < len(PALETTE)
        below.plot(
            lines.index, lines[term], ("-", "--", ":")[place % 3],
            color=PALETTE[place] if named else GREY, lw=1.5 if named else 0.7,
            label=term if named else None,
        )  # fmt: skip
    below.set(xlabel="penalty alpha", ylabel=f"coefficient:\n{label(target)}")
    below.axhline(0, color=GREY, linewidth=0.7)
    below.legend()
    for at in (above, below):
        at.axvline(chosen, color=GREY, linestyle="--", linewidth=1)
    return figure
