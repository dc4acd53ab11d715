"""The groups of rows in which a model is evaluated separately, as the contract declares them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlref.core.contract import Contract, Slice
from mlref.core.rows import Array


def slices(contract: Contract, features: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Divide encoded rows, shape (n, features), by every slice; see :func:`groups`."""
    for declared in contract.slices:
        yield from groups(contract, declared, features)


def groups(
    contract: Contract, declared: Slice, features: Array
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Divide encoded rows by the column of one slice.

    Parameters
    ----------
    features : ndarray of float64, shape (n, features)

    Yields
    ------
    name : str
        Such as ``colour = red`` or ``age in [18, 40)``.
    rows : ndarray of bool, shape (n,)
        The slice's rows; none of them has a null in the slice's column.
    """
    place = contract.names.index(declared.column)
    column, values = contract.features[place], features[:, place]
    for code, value in enumerate(column.allowed or ()):
        yield f"{column.name} = {value}", values == code
    if column.allowed is None:
        edges = declared.edges
        for lo, hi in zip((-np.inf, *edges), (*edges, np.inf), strict=True):
            name = f"{column.name} in [{lo:g}, {hi:g})"
            if lo == -np.inf:
                name = f"{column.name} < {hi:g}"
            elif hi == np.inf:
                name = f"{column.name} ≥ {lo:g}"
            yield name, (values >= lo) & (values < hi)
