"""Preprocessing that the contract implies, unfitted; it is fitted inside each model's Pipeline."""

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from mlref.core.contract import Column, Contract

MISSING = -1.0
"""Code of a null category; the others count from 0."""

MANY = 40
"""Most values of a category that get a column each, as in skrub's TableVectorizer."""


def preprocessing(contract: Contract, scale: bool) -> ColumnTransformer:
    """Build the transformer of the encoded array, shape (n, features), float64 with NaN for null.

    Numbers, dates too: nulls become the training mean, and with ``scale`` the column is standardised.
    Categories: one column for each allowed value, and one for null where the column is nullable. With
    more than ``MANY`` values one column in all: the mean target of a value, drawn towards that of all rows
    (Micci-Barreca 2001). A training row's is the mean of other folds, so it does not hold its own target.
    These are folds of single rows, also where the contract divides by group or time.

    Parameters
    ----------
    contract : Contract
    scale : bool
        True for models that need comparable columns; False for trees, whose ONNX form in float32
        would put values near a split on its other side if a scaler came first.
    """
    numbers: dict[bool, list[int]] = {True: [], False: []}
    steps = []
    for place, column in enumerate(contract.features):
        if column.allowed is None:
            numbers[column.nullable].append(place)
        else:
            steps.append((f"category_{place}", _category(column, scale), [place]))
    for nullable, places in numbers.items():
        if places:
            parts = [("impute", SimpleImputer(keep_empty_features=True))] if nullable else []
            parts += [("scale", StandardScaler())] if scale else []
            name = "nullable_numbers" if nullable else "numbers"
            steps.insert(0, (name, Pipeline(parts) if parts else "passthrough", places))
    return ColumnTransformer(steps)


def _category(column: Column, scale: bool) -> Pipeline:
    codes = [float(code) for code in range(len(column.allowed or ()))]
    parts = [("one_hot", OneHotEncoder(categories=[codes], sparse_output=False))]
    if len(codes) > MANY:
        folds = KFold(5, shuffle=True, random_state=0)
        parts = [("mean", TargetEncoder(categories=[codes], target_type="continuous", cv=folds))]
    if column.nullable:
        parts[0][1].set_params(categories=[[MISSING, *codes]])
        parts.insert(0, ("impute", SimpleImputer(strategy="constant", fill_value=MISSING)))
    if scale and len(codes) > MANY:
        parts.append(("scale", StandardScaler()))
    return Pipeline(parts)
