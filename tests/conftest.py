"""What holds for every test, and one small project that is trained once a session."""

import fcntl
import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mlref.core.storage import Project

# The same examples on every machine, without a clock.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")

# Set before NumPy is imported. The tables here are small, and where workers share cores, the threads of
# linear algebra and of boosting wait for each other five times as long as they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder once for all workers of pytest-xdist; the first one makes it, the others wait."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name / "mlref", base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def trained(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after all stages, with one picture that is none; not to be changed."""

    def train(folder: Path) -> None:
        from tests.projects import run_data, run_model, write_project  # seconds of imports

        project = write_project(folder)
        run_data(project)
        run_model(project)
        project.pictures.mkdir()
        (project.pictures / "predicted_vs_actual.png").touch()

    return Project(made_once(tmp_path_factory, "trained-rents", train))


Told = Callable[[object], None]
MESSAGES = Path(__file__).parent / "messages.txt"
"""What people are told, by test: the one place where prose is kept. ``MESSAGES=write`` writes it."""
VARYING = ((r"\b[0-9a-f]{12,64}\b", "DIGEST"), (r"(:|port )\d{5}\b", r"\1PORT"), (r"\s+", " "))
"""What differs from run to run."""


@pytest.fixture
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Told:
    """Compare a message with the one that is kept for this test."""

    def compare(message: object) -> None:
        text = str(message).replace(str(tmp_path), "…").strip()
        for pattern, plain in VARYING:
            text = re.sub(pattern, plain, text)
        known = dict(re.findall(r"(?m)^(\S.*)\n    (.*)$", MESSAGES.read_text(encoding="utf-8")))
        name = f"{request.path.stem}: {request.node.name}"
        if os.environ.get("MESSAGES") == "write":
            known[name] = text
            lines = (f"{one}\n    {known[one]}\n" for one in sorted(known))
            MESSAGES.write_text("".join(lines), encoding="utf-8")
        assert text == known.get(name)

    return compare


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A trained project to change."""
    from tests.projects import copy

    return copy(trained, tmp_path / "clone")
