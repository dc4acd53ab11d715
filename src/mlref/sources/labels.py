"""Labelled rows of people: added to the contract's source, all of a file's or none."""

from pathlib import Path

from mlref.core.contract import LABELS, load
from mlref.core.storage import Project, digest, write_bytes
from mlref.data.ingest import ingest
from mlref.data.labelled import unseen


def add(project: Project, file: Path, dry_run: bool = False) -> str:
    """Add the labelled rows of a CSV file to this clone's source; all of them, or none.

    They go into a file that is named by its content, so that adding them twice changes nothing.

    Raises
    ------
    RowsRefused
        With every value that the contract forbids, and every row that contradicts one that is there.
    """
    contract = load(project.contract)
    rows, skipped = unseen(contract, ingest(contract, project.root), [file])
    said = f"New rows: {len(rows)}. Already there: {skipped}."
    if rows.empty or dry_run:
        return f"{said} Nothing was written."
    content = rows.to_csv(index=False, lineterminator="\n").encode()
    path = project.root / LABELS / f"{digest(content)[:16]}.csv"
    write_bytes(path, content)
    return f"{said} Written to {project.show(path)}: run `make train`, and commit the file with the reports."
