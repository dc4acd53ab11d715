"""The bundle store: every registered bundle by digest, and one pointer file per alias.

The service, the image and batch scoring read only this folder. ::

    models/store/
      DIGEST/        the bundle
      DIGEST.json    its registration record, written last: without it the bundle is not registered
      DIGEST.skops   the fitted Pipeline
      DIGEST.jsonl   the labels that it learned after its training, in order (``mlref learn``)
      DIGEST.rows    the names of the rows that it was trained on, one a line (``tables.row_ids``)
      champion       the digest that the alias points to
"""

import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlref.core.errors import BundleError, EnvironmentFault, ModelNotFound
from mlref.core.storage import digest, read_json, replacing, write_bytes, write_json

if TYPE_CHECKING:
    from mlref.bundle.predictor import Predictor

ALIASES = ("champion", "challenger")

POINTER = 200
"""Characters of a pointer file that are read; a longer file is no pointer."""


class Store:
    """The bundles under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def records(self) -> list[dict[str, Any]]:
        """Registration records, oldest version first."""
        records = [read_json(path) for path in self.folder.glob("*.json")]
        return sorted(records, key=lambda record: int(record["version"]))

    def record(self, digest: str) -> dict[str, Any] | None:
        """The registration record of a digest; None where it is not registered."""
        path = self.folder / f"{digest}.json"
        return read_json(path) if path.is_file() else None

    def alias(self, name: str) -> str | None:
        """The digest that an alias points to."""
        path = self.folder / name
        if not path.is_file():
            return None
        with path.open(errors="replace") as pointer:
            return pointer.read(POINTER).strip()

    def point(self, name: str, digest: str) -> None:
        """Point an alias to a digest, at once."""
        if self.alias(name) != digest:
            write_bytes(self.folder / name, f"{digest}\n".encode())

    def resolve(self, reference: str) -> str:
        """The digest that a version number, an alias, or the start of a digest (from 6 digits) names.

        Raises
        ------
        ModelNotFound
            When nothing, or more than one model, has that name.
        BundleError
            When an alias points to a bundle whose record is missing.
        """
        records = self.records()
        if reference in ALIASES:
            found = {self.alias(reference)} & {record["digest"] for record in records}
        else:
            found = {r["digest"] for r in records if reference == str(r["version"])}
            if re.fullmatch(r"[0-9a-f]{6,64}", reference):
                found |= {r["digest"] for r in records if r["digest"].startswith(reference)}
        if not found and reference in ALIASES and (name := self.alias(reference)):
            raise BundleError(
                f"{reference} points to {name[:12]}…, whose record {name[:12]}….json is missing from"
                f" {self.folder}. `make train` registers it again."
            )
        if len(found) != 1:
            known = [str(record["version"]) for record in records]
            raise ModelNotFound(reference, [*(a for a in ALIASES if self.alias(a)), *known])
        return str(found.pop())

    def intact(self, name: str) -> bool:
        """Whether the bundle's files are those that were registered."""
        folder = self.folder / name
        try:
            manifest = (folder / "MANIFEST.json").read_bytes()
            files = json.loads(manifest)["files"]
            return digest(manifest) == name and all(
                digest(folder / file) == wanted for file, wanted in files.items()
            )
        except (OSError, ValueError):
            return False

    def open(self, reference: str) -> "tuple[Predictor, dict[str, Any]]":
        """Load and check a bundle; with its registration record."""
        from mlref.bundle.predictor import (  # onnxruntime: a look at a pointer can spare it
            Predictor,
        )

        digest = self.resolve(reference)
        record = self.record(digest)
        assert record is not None, "resolve names registered digests only"
        return Predictor(self.folder / digest, digest), record

    def rows(self, digest: str) -> frozenset[str] | None:
        """The names of the rows that a model was trained on; None where they were not recorded."""
        path = self.folder / f"{digest}.rows"
        return frozenset(path.read_text().split()) if path.is_file() else None

    def journal(self, digest: str) -> Path:
        """Where the labels are that a model learned after its training; a trained model has none."""
        return self.folder / f"{digest}.jsonl"

    def add(
        self, bundle: Path, model: Path, record: dict[str, Any], rows: Collection[str] = (),
        journal: Path | None = None,
    ) -> None:  # fmt: skip
        """Register a bundle: its files first, the record that makes them count last.

        ``rows`` names those that it was trained on; without them what was recorded before stays.
        ``journal`` has what it learned after that.
        """
        digest = record["digest"]
        try:
            with replacing(self.folder / digest) as fresh:
                shutil.copytree(bundle, fresh)
            write_bytes(self.folder / f"{digest}.skops", model.read_bytes())
            if rows:
                names = "".join(f"{name}\n" for name in sorted(set(rows)))
                write_bytes(self.folder / f"{digest}.rows", names.encode())
            if journal and journal.is_file():
                write_bytes(self.journal(digest), journal.read_bytes())
        except OSError as error:
            raise EnvironmentFault(f"{self.folder} cannot be written", error) from error
        write_json(self.folder / f"{digest}.json", record)
