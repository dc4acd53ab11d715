"""The examples in docstrings are run."""

import doctest
import importlib
import pkgutil

import pytest

import mlref

MODULES = [info.name for info in pkgutil.walk_packages(mlref.__path__, "mlref.") if not info.ispkg]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_say(name: str) -> None:
    """Each `>>>` in it, with the output beneath."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_to_run() -> None:
    """So that the test above is not about nothing."""
    found = [doctest.DocTestFinder().find(importlib.import_module(name)) for name in MODULES]
    assert sum(bool(test.examples) for tests in found for test in tests) >= 6
