"""The examples in docstrings are run."""

import doctest
import importlib
import pkgutil

import mlref


def test_the_examples_in_docstrings_give_what_they_say() -> None:
    names = [info.name for info in pkgutil.walk_packages(mlref.__path__, "mlref.")]
    results = [doctest.testmod(importlib.import_module(name)) for name in names]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 10
