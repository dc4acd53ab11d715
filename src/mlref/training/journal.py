"""The memory of a search: what is finished is not fitted again after a kill."""

import contextlib
import json
from pathlib import Path
from typing import Any

from mlref.core.storage import digest


class Journal:
    """A file of JSON lines, one for each finished part; removed when the search is over.

    A part is found again only by all that it depends on, so a line of another search, of other data or
    of other code is never used. A line that was torn by a kill is passed over.

    Parameters
    ----------
    path : Path
    inputs : list
        What all parts depend on: digests of data and code, the knobs that every fit shares.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder) / "journal", ["data"])
    ...     journal.add(["ridge", 0], 54.7)
    ...     Journal(journal.path, ["data"]).find(["ridge", 0]), journal.find(["ridge", 1])
    (54.7, None)
    """

    def __init__(self, path: Path, inputs: list[Any]) -> None:
        self.path, self._inputs = path, inputs
        self._known: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    key, value = json.loads(line)
                    self._known[key] = value
        path.parent.mkdir(parents=True, exist_ok=True)

    def find(self, part: Any) -> Any:
        """What was found out about a part; None where it is not finished."""
        return self._known.get(self._key(part))

    def add(self, part: Any, found: Any) -> None:
        """Note a finished part."""
        line = json.dumps([self._key(part), found])
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{line}\n".encode())  # the first end of line closes what a kill has torn

    def remove(self) -> None:
        """Forget everything."""
        self.path.unlink(missing_ok=True)

    def _key(self, part: Any) -> str:
        return digest(json.dumps([self._inputs, part]).encode())
