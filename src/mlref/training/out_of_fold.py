"""Predict training rows by models that have not seen them."""

from collections.abc import Iterable

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from mlref.core.rows import Array
from mlref.data.folds import Rows

Pair = tuple[Rows, Rows]


def predict(model: Pipeline, features: Array, target: Array, pairs: Iterable[Pair]) -> Array:
    """Predict each fold by the model fitted on the rows that it may learn from.

    Parameters
    ----------
    model : Pipeline
        Is cloned, and stays unfitted.
    features : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,)
    pairs : iterable of two ndarray of int64
        Positions to learn from and to leave out, as :meth:`mlref.data.folds.Folds.pairs` gives them.

    Returns
    -------
    ndarray of float64, shape (n,)
        Target units; NaN for rows that are never left out, as by time the first ones.
    """
    predicted = np.full(len(target), np.nan)
    # Where cores are shared, the threads of boosting wait for each other longer than they work.
    with threadpool_limits(1):
        for seen, unseen in pairs:
            fitted = clone(model).fit(features[seen], target[seen])
            predicted[unseen] = fitted.predict(features[unseen])
    return predicted
