"""A foreign table: find out how it is written, and what each of its columns is."""

import codecs
import difflib
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlref.core.contract import FORMATS
from mlref.core.errors import DataError
from mlref.core.rows import Array
from mlref.core.storage import Project, digest, replacing
from mlref.data.parquet import read_dataset
from mlref.data.tables import SEPARATORS, read_csv
from mlref.sources.columns import Draft, describe, relation

Document = dict[str, Any]
"""A contract, or a part of it, as YAML holds it."""

LEAK = 0.99
"""Correlation with the target above which a column is taken for its copy."""

COPY = 0.999
"""Correlation above which two features are near copies of each other."""

COMMA = r"^(-?\d+),(\d+)$"
"""A number with a decimal comma."""

MIXED = 0.2
"""Share of such numbers in a column; in a column of whole numbers there is none."""


MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "-", ".")
"""What statistics programs and databases write for a missing value."""


class Roles(NamedTuple):
    """What a person has said about columns: their names, and ``split`` as the contract has it."""

    target: str
    identity: Sequence[str] = ()
    split: Document | None = None
    ignore: Sequence[str] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name or divide rows."""
        return (*self.identity, *([self.split["column"]] if self.split else []))


class Table(NamedTuple):
    """A table, its columns as drafts, and how much of the target each knows by itself."""

    source: Document
    frame: pd.DataFrame
    roles: Roles
    target: Array
    drafts: dict[str, Draft]
    relations: dict[str, float]


def examine(file: Path, path: str, roles: Roles) -> Table:
    """Read a file, to lie under ``path``, and describe each column.

    Raises
    ------
    DataError
        For a file that is no table, a column that it lacks, and a target that is no number.
    """
    source: Document
    if file.is_dir() or file.suffix.lower() == ".parquet":
        source, frame = {"kind": "file", "path": path}, read_dataset(file)
    else:
        source, frame = _sniffed(file, path)
        if words := _missing(frame):
            source, frame = source | {"missing": words}, frame.mask(frame.isin(words))
    names = [str(name) for name in frame]
    named = (roles.target, *roles.keys, *roles.ignore)
    if unknown := [name for name in named if name not in names]:
        close = difflib.get_close_matches(unknown[0], names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(file, f"has no column {unknown[0]!r}.{hint} It has: {', '.join(names)}")
    cells = frame[roles.target]
    numbers = pd.to_numeric(cells, errors="coerce")
    target = np.asarray(numbers, np.float64)
    if (numbers.isna() & cells.notna()).any() or numbers.nunique() < 3:
        odd = cells[numbers.isna() & cells.notna()]
        seen = f"holds {odd.iloc[0]!r}" if len(odd) else f"has {numbers.nunique()} different values"
        problem = f"the target {roles.target!r} {seen}; a regression predicts a number"
        raise DataError(file, problem, "Classes cannot be predicted yet.")
    drafts = {name: describe(name, frame[name]) for name in names if name != roles.target}
    found = {name: relation(it, target) for name, it in drafts.items()}
    return Table(source, frame, roles, target, _marked(drafts, found), found)


def path_of(project: Project, file: Path) -> str:
    """Where the file lies, or will lie, in this clone."""
    if not file.exists():
        raise DataError(file, "there is no such file")
    if not file.is_dir() and not file.name.lower().endswith(FORMATS):
        raise DataError(file, f"ends in none of {', '.join(FORMATS)}", "Save it as one of these.")
    inside = project.root / "data" / "source"
    whole = file.resolve()
    return str(
        (whole if whole.is_relative_to(inside) else inside / file.name).relative_to(project.root)
    )


def bring(project: Project, file: Path) -> None:
    """Copy the file to its place, unless it is there."""
    place = project.root / path_of(project, file)
    if place.resolve() == file.resolve():
        return
    if place.is_file() and file.is_file() and digest(place) == digest(file):
        return
    if place.exists():
        raise DataError(place, "is there already, with another content", "Rename one of the two.")
    with replacing(place) as fresh:
        (shutil.copytree if file.is_dir() else shutil.copyfile)(file, fresh)


def _sniffed(file: Path, path: str) -> tuple[Document, pd.DataFrame]:
    """Read a CSV file of any separator, decimal sign and encoding that a contract can name."""
    refused: DataError | None = None
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encodings = ("utf-16",) if file.read_bytes()[:2] in marks else ("utf-8", "cp1252")
    for encoding, separator in itertools.product(encodings, SEPARATORS):
        source = {"kind": "file", "path": path}
        try:
            frame = read_csv(file, separator, encoding)
        except DataError as error:
            refused = refused or error
            continue
        source |= {"encoding": encoding} if encoding != "utf-8" else {}
        source |= {"separator": separator} if separator != "," else {}
        if separator != "," and any(
            frame[name].astype(str).str.fullmatch(COMMA).mean() > MIXED for name in frame
        ):
            source |= {"decimal": ","}
            frame = frame.replace(COMMA, r"\1.\2", regex=True)
        return source, frame
    raise refused or AssertionError(file)


def _missing(frame: pd.DataFrame) -> list[str]:
    """The words that stand for a missing value: in some column everything else is a number."""
    found = set[str]()
    for name in frame:
        cells = frame[name].dropna()
        words = cells.isin(MISSING)
        numbers = pd.to_numeric(cells[~words], errors="coerce")
        if words.any() and len(numbers) and numbers.notna().all():
            found |= {*cells[words]}
    return sorted(found)


def _marked(drafts: dict[str, Draft], found: Mapping[str, float]) -> dict[str, Draft]:
    """Leave out what follows the target too closely, and name near copies."""
    marked = dict(drafts)
    for name, it in drafts.items():
        if not it.left_out and found[name] > LEAK:
            evidence = f"leak? it follows the target with a correlation of {found[name]:.3f}"
            marked[name] = it._replace(left_out=True, evidence=evidence)
    numbers = {
        name: it.values
        for name, it in marked.items()
        if not it.left_out and it.declared["type"] != "category"
    }
    near = pd.DataFrame(numbers).corr().abs().to_numpy() > COPY
    for place, (name, earlier) in enumerate(zip(numbers, near, strict=True)):
        for other in np.flatnonzero(earlier[:place])[:1]:
            evidence = f"{marked[name].evidence}; near copy of {[*numbers][other]}"
            marked[name] = marked[name]._replace(evidence=evidence)
    return marked
