"""Predict training rows by models that have not seen them."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from mlref.core.rows import Array
from mlref.data.folds import Folds


def predict(model: Pipeline, features: Array, target: Array, folds: Folds) -> Array:
    """Predict each fold by the model fitted on the rows that it may learn from.

    Returns
    -------
    ndarray of float64, shape (n,)
        Target units; NaN for rows that are never left out, as by time the first ones.
    """
    predicted = np.full(len(target), np.nan)
    # Where cores are shared, the threads of boosting wait for each other longer than they work.
    with threadpool_limits(1):
        for seen, unseen in folds.pairs():
            fitted = clone(model).fit(features[seen], target[seen])
            predicted[unseen] = fitted.predict(features[unseen])
    return predicted
