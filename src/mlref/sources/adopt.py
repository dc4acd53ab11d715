"""Adopt a table: draft its contract, fill the blanks of one that is there, or compare the two."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from mlref.core import config, settings
from mlref.core.errors import SHOWN, ContractError, DataError
from mlref.core.storage import Project, write_bytes
from mlref.features import MANY
from mlref.sources.draft import answered, draft, fill, heavy, to_text
from mlref.sources.table import Document, Roles, Table, bring, examine, path_of

LARGE = 10_000_000
"""Cells from which a table is said to be large; of 2.4 million validation took 0.6 GB and 24 s."""


def adopt(
    project: Project, file: Path, roles: Roles, answers: Document, update: bool = False
) -> tuple[Table, list[str]]:
    """Write a draft of the contract of this clone, or fill the blanks of the one that is there.

    What a person has filled in stays. The contract of another table is kept beside the new one.

    Parameters
    ----------
    file : Path
        CSV or Parquet; copied to data/source/ where it lies elsewhere.
    roles : Roles
        What its columns are for.
    answers : dict
        Keys of the contract; ``columns`` has those of a column by its name, ``every_column`` what all share.
    update : bool
        Compare file and contract; nothing is changed.

    Returns
    -------
    table : Table
    said : list of str
        What was done and what was found, a sentence each.

    Raises
    ------
    DataError
        For a file that is no table, and a target that is no number.
    ContractError
        For answers about columns that the file does not have.
    """
    path, shown = path_of(project, file), project.show(project.contract)
    there = config.read(project.contract, ContractError) if project.contract.is_file() else {}
    same = dict(there.get("source") or {}).get("path") == path
    if update and not same:
        raise DataError(file, f"is not the source of {shown}", "Without --update it is adopted.")
    table = examine(file, path, roles)
    if update:
        return table, [*differences(table, there)] or [f"{shown} says what the file says."]
    current = project.contract.read_text("utf-8") if same else ""
    drafted = draft(table)
    kept = list[str]()
    if same and current != to_text(drafted, table):  # somebody has worked on it
        text, kept = fill(current, there, answers)
    else:
        text = to_text(answered(drafted, answers, table.drafts), table)
        bring(project, file)
        if there and not same:
            previous = project.contract.with_name("dataset.previous.yaml")
            shutil.copyfile(project.contract, previous)
    write_bytes(project.contract, text.encode())
    made = yaml.safe_load(text)
    left = len([*config.blanks(made)])
    said = [f"{shown} is written; {left or 'no'} questions in it are open."]
    if kept:
        said.append(f"Not taken over, since the contract says otherwise: {', '.join(kept)}.")
    if there and not same:
        said.append(f"The former contract is {project.show(previous)}.")
    return table, [*said, *warnings(project, table, made)]


def differences(table: Table, there: Document) -> Iterator[str]:
    """What the file says otherwise than the contract."""
    features = {column["name"]: column for column in there.get("features", [])}
    aside = {*(there.get("ignore") or []), *(there.get("identity") or []), table.roles.target}
    aside |= {dict(there.get("split") or {}).get("column")}
    for name, it in table.drafts.items():
        if name not in features and name not in aside:
            yield f"{name} is new: {it.evidence}"
    for name, column in features.items():
        if name not in table.drafts:
            yield f"{name} is no longer in the file"
            continue
        declared = table.drafts[name].declared
        for key in ("type", "nullable"):
            found, known = declared.get(key), column.get(key)
            if found and found != known:
                yield f"{name}: {key} is {found} in the file, {known} in the contract"
        if new := [it for it in declared.get("allowed", ()) if it not in column.get("allowed", ())]:
            yield f"{name}: not in `allowed`: {', '.join(map(str, new[:SHOWN]))}"
        lo, hi = column.get("expected") or (-np.inf, np.inf)
        a, b = declared.get("expected") or (lo, hi)
        if b < lo or a > hi or (b - a) > 2 * (hi - lo):
            yield f"{name}: usually {a:g} to {b:g} in the file, {lo:g} to {hi:g} in the contract"


def warnings(project: Project, table: Table, document: Document) -> Iterator[str]:
    """What this table is too small or too wide for, and what its target asks for."""
    limits = settings.load(project.params)
    used = [it for name, it in table.drafts.items() if not it.left_out]
    rows = int(np.isfinite(table.target).sum())
    tested = int(rows * limits.split.holdout)
    counts = (len(it.declared.get("allowed", [0])) for it in used)
    width = sum(count if count <= MANY else 1 for count in counts)
    if words := table.source.get("missing"):
        yield f"{', '.join(words)} in any column counts as missing (source.missing)."
    if not document["features"]:
        yield "No column is left to predict from: each is constant, names a row, is free text or a leak."
    if rows < len(table.target):
        yield f"{len(table.target) - rows} rows have no target and are dropped (missing_target)."
    if tested < limits.gate.smallest_holdout:
        least = limits.gate.smallest_holdout
        yield f"{rows} rows are few: of about {tested} test rows the gate draws no verdict; it needs {least}."
    if width > (rows - tested) / 5:
        yield f"{width} columns after encoding are many for {rows - tested} training rows."
    if (cells := table.frame.size) > LARGE:
        need = f"about {0.3 + cells * 140e-9:.0f} GB of memory and {cells / 6e6:.0f} minutes"
        yield f"{cells / 1e6:.0f} million cells are many: `mlref validate` alone takes {need}."
    if hint := heavy(document, table):
        yield hint
