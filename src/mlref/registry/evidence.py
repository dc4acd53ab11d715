"""Evidence that one model is better than another: their recipes out of fold, or both as deployed."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlref.bundle.predictor import Predictor
from mlref.core.contract import Contract
from mlref.core.errors import BundleError, RowsRefused, SettingsError
from mlref.core.rows import Array, Mask
from mlref.core.settings import Gate, Settings
from mlref.core.task import task_of
from mlref.data.folds import deal
from mlref.data.tables import encode, refusals, row_ids
from mlref.evaluation.compare import Comparison, compare
from mlref.evaluation.metrics import share
from mlref.evaluation.slices import slices
from mlref.registry.duel import better, not_worse, nowhere_worse, settled, strict
from mlref.registry.gate import Check, coverage
from mlref.training.candidates import build
from mlref.training.out_of_fold import predict


class Side(NamedTuple):
    """A model in a comparison.

    Parameters
    ----------
    predictor : Predictor
        The model as it is deployed; its ``contract``, ``predict`` and ``intervals`` are used.
    model, parameters : str, dict
        Its recipe: the name of the candidate and its hyperparameters.
    trained : frozenset of str or None
        Names of the rows that it was trained on; None where they were not recorded.
    scored : mapping of str to float
        By its name, the prediction for each row that the model learned only after it had predicted it.
    """

    predictor: Predictor
    model: str
    parameters: dict[str, Any]
    trained: frozenset[str] | None
    scored: Mapping[str, float] = {}

    @property
    def contract(self) -> Contract:
        """The contract that the model was trained under."""
        return self.predictor.contract

    def predict(self, rows: pd.DataFrame) -> Array:
        """Its values for rows, shape (n,), as deployed."""
        return self.predictor.predict(encode(self.contract, rows)[0]).value

    def fits(self, frame: pd.DataFrame) -> bool:
        """Whether the rows have all columns of its contract."""
        return {*self.contract.header} <= {*frame}

    def learned(self, frame: pd.DataFrame) -> Mask:
        """The rows that it was trained on, under the names that its contract gives them."""
        names = row_ids(self.contract, frame)
        return np.array([name in (self.trained or ()) for name in names])


def meet(
    challenger: Side, champion: Side, frame: pd.DataFrame, settings: Settings, after: Mask | None = None
) -> list[Check]:  # fmt: skip
    """Compare two models on the rows of now.

    Parameters
    ----------
    frame : DataFrame, shape (n, columns)
        Validated rows.
    after : ndarray of bool, shape (n,), optional
        Rows from after a change of concept: evidence, slices and coverage are then theirs alone.

    Returns
    -------
    list of Check
        What this comparison says; or the one check that says why there is none.
    """
    limits, other = settings.gate, "is of another contract ({}) and cannot predict these rows"
    if not challenger.fits(frame) or refusals(challenger.contract, frame):
        return [settled("block", f"It {other.format(challenger.contract.name)}.")]
    replaced = f"The champion {other.format(champion.contract.name)}, so this model replaces it."
    same = champion.contract.target.name == challenger.contract.target.name
    if not same or not champion.fits(frame):
        return [settled("promote", replaced)]
    for side, name in ((champion, "champion"), (challenger, "model")):
        if reason := _forgotten(side, frame, name, limits.largest_forgotten):
            return [settled("keep", reason)]
    learned, theirs = challenger.learned(frame), champion.learned(frame)
    rows = ~theirs & (~learned if after is None else after)
    if (count := int(rows.sum())) < limits.smallest_holdout:
        which = "have been seen by neither it nor" if after is None else "since then are unknown to"
        need = f"at least {limits.smallest_holdout} are needed to compare them"
        return [settled("keep", f"Only {count} rows {which} the champion; {need}.")]
    older = None if after is None else ~theirs & ~learned & ~after
    if refusals(champion.contract, frame[~theirs & ~learned | rows]):
        return [settled("promote", replaced)]
    try:
        return [*_compared(challenger, champion, frame, settings, learned, theirs, rows, older)]
    except BundleError as error:
        reason = f"The champion or this model fails on these rows, so a person decides: {error}"
        return [settled("keep", reason)]


def _forgotten(side: Side, frame: pd.DataFrame, name: str, share: float) -> str:
    """Why it cannot be told which rows are unseen; empty where it can."""
    remedy = "A person decides: `mlref promote VERSION --reason TEXT`."
    if side.trained is None:
        return f"It is not recorded which rows the {name} was trained on. {remedy}"
    here, there = len(side.trained.intersection(row_ids(side.contract, frame))), len(side.trained)
    if here >= (1 - share) * there:
        return ""
    return (
        f"{here} of {there} rows that the {name} trained on are still here as they were, so nobody can"
        f" tell which rows it has not seen: a column was corrected, or rows were deleted. {remedy}"
    )


def _compared(
    challenger: Side, champion: Side, frame: pd.DataFrame, settings: Settings, learned: Mask,
    theirs: Mask, rows: Mask, older: Mask | None,
) -> Iterator[Check]:  # fmt: skip
    """Compare on ``rows``; after a change of concept, some of them out of fold, on older ones as well."""
    limits, task = settings.gate, task_of(challenger.contract)
    features, target = encode(challenger.contract, frame)
    values = np.full(len(frame), np.nan)
    values[~learned] = challenger.predict(frame[~learned])
    if challenger.scored:
        names = row_ids(challenger.contract, frame[learned])
        values[learned] = [challenger.scored.get(name, np.nan) for name in names]
    elif older is not None:
        values[learned] = out_of_fold(challenger, challenger.contract, frame[learned], settings)
    if older is not None:
        rows = rows & ~np.isnan(values)

    def _on(rows: Mask, limits: Gate, parts: dict[str, Mask]) -> Comparison:
        others = champion.predict(frame[rows])
        return compare(target[rows], values[rows], others, parts, limits, task)

    whole = _on(rows, limits, dict(slices(challenger.contract, features[rows])))
    models = _on(rows, strict(limits), {})
    if older is None:
        kind, found = (
            ("scored", _on(learned & ~theirs & ~np.isnan(values), strict(limits), {}))
            if challenger.scored
            else ("recipes", _recipes(challenger, champion, frame[learned], settings))
        )
        yield better({kind: found, "models": models}, limits)
        yield not_worse(whole, limits)
    else:
        intervals = challenger.predictor.intervals
        held = task.answer(values[rows], intervals).holds(target[rows])
        covered = share(held, settings.evaluate.confidence)
        covered |= {"promised": intervals["coverage"], "rows": len(held)}
        yield coverage(covered, f"the {len(held)} rows since then")
        yield better({"scored" if challenger.scored else "since": models}, limits)
        enough = older.sum() >= limits.smallest_holdout
        yield not_worse(_on(older, limits, {}) if enough else None, limits, limits.largest_old_loss)
    yield nowhere_worse(whole)


def _recipes(one: Side, other: Side, train: pd.DataFrame, settings: Settings) -> Comparison | str:
    """Both recipes on the challenger's training rows; or why the champion's cannot be fitted to them."""
    try:
        ours, theirs = (out_of_fold(side, one.contract, train, settings) for side in (one, other))
    except (RowsRefused, SettingsError, ValueError) as error:
        lines = " ".join(str(error).split())
        return f"The champion's recipe ({other.model}) cannot be fitted again: {lines}"
    (_, actual), left_out = encode(one.contract, train), ~np.isnan(ours)
    values = actual[left_out], ours[left_out], theirs[left_out]
    return compare(*values, {}, strict(settings.gate), task_of(one.contract))


def out_of_fold(side: Side, dealt: Contract, train: pd.DataFrame, settings: Settings) -> Array:
    """Predictions of a recipe for rows in folds that tuning has not used, shape (n,).

    Tuning chose the recipe on its own folds, which would flatter it; here the rows are dealt anew, by the
    ``split`` of the contract ``dealt``, and into as many folds as training has: of two recipes that are equal
    on all rows, the one that needs more rows loses on four fifths of them. The recipe sees the columns of
    its own contract. By time the first rows are never left out: NaN.
    """
    tune, (features, target) = settings.tune, encode(side.contract, train)
    folds = deal(dealt, train, settings.train.folds, tune.seed + tune.repeats)
    model = build(side.contract, side.model, side.parameters, tune.seed)
    return predict(model, features, target, folds.pairs())
