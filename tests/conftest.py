"""What holds for every test: hypothesis draws the same examples on every machine, without a clock."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")

# As in ``mlref.cli.main``: what the libraries' imports leave behind is not searched for garbage all the time.
gc.set_threshold(100_000)


def pytest_collection_finish() -> None:
    """Nor at the end, when pytest looks five times for what tests have left open."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> Iterator[None]:
    """No variable of the developer's shell reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("MLREF_", "MLFLOW_TRACKING", "MLFLOW_REGISTRY")):
                patch.delenv(name)
        yield
