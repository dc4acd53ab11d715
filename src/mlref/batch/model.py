"""A model that travels: a loaded bundle that other processes get by its content."""

import functools
import tempfile
from pathlib import Path
from typing import Any, Self

from mlref.bundle.predictor import Predictor
from mlref.bundle.store import Store

Files = tuple[tuple[str, bytes], ...]


class Model:
    """A loaded bundle and its version.

    Pickled it is the files of the bundle; whoever unpickles it checks and loads them.

    Parameters
    ----------
    predictor : Predictor
        The loaded bundle.
    files : tuple of (str, bytes)
        Its files: names and contents.
    version : str
        Its version in the bundle store.
    """

    def __init__(self, predictor: Predictor, files: Files, version: str) -> None:
        self.predictor, self.files, self.version = predictor, files, version
        self.contract = predictor.contract

    @classmethod
    def open(cls, store: Store, reference: str) -> Self:
        """Load a model of the bundle store; see :meth:`mlref.bundle.store.Store.open`."""
        predictor, record = store.open(reference)
        paths = sorted((store.folder / predictor.digest).iterdir())
        files = tuple((path.name, path.read_bytes()) for path in paths)
        return cls(predictor, files, str(record["version"]))

    @property
    def identity(self) -> dict[str, str]:
        """The model as the service's answers name it."""
        digest = self.predictor.digest
        return {"name": self.contract.name, "version": self.version, "digest": digest}

    @property
    def content(self) -> tuple[Files, str, str]:
        """What :func:`arrive` makes the model of."""
        return self.files, self.predictor.digest, self.version

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as content."""
        return arrive, self.content


@functools.lru_cache(maxsize=1)
def arrive(files: Files, digest: str, version: str) -> Model:
    """Check and load a model that came as content; once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files:
            (Path(folder) / name).write_bytes(content)
        return Model(Predictor(Path(folder), digest), files, version)
