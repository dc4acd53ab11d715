"""Stage 1: bring the contract's source, as it is, and the labelled rows added to it to data/raw/."""

import importlib
import os
from pathlib import Path

import pandas as pd

from mlref.core.contract import LABELS, Contract, FileSource, SklearnSource, SqlSource, load
from mlref.core.errors import DataError, EnvironmentFault, SettingsError, root
from mlref.core.storage import Project
from mlref.data.labelled import TIME, unseen
from mlref.data.parquet import read_dataset
from mlref.data.tables import checked, read_csv, write_csv


def ingest(contract: Contract, root: Path) -> pd.DataFrame:
    """Read the source and the files of labelled rows beside it, in the order of their names.

    The source is not validated here. Columns that the contract ignores are left out, and its ``missing``
    words and decimal commas are read. The added rows are validated, since later stages no longer know
    their files.

    Returns
    -------
    DataFrame, shape (n, columns of the source)
        Cells as the source gives them; text from a CSV file.

    Raises
    ------
    DataError, EnvironmentFault
        When the source cannot be read as a table.
    RowsRefused
        For added rows; see :func:`mlref.data.labelled.unseen`.
    """
    frame = _source(contract, root).drop(columns=[*contract.ignore], errors="ignore")
    if files := sorted((root / LABELS).glob("*.csv")):
        added, _ = unseen(contract, frame, files)
        added = added.drop(columns={TIME} - {*contract.header}, errors="ignore")
        frame = pd.concat([frame, added], ignore_index=True)
    return frame


def _source(contract: Contract, root: Path) -> pd.DataFrame:
    if isinstance(contract.source, SklearnSource):
        return _from_sklearn(contract, contract.source)
    if isinstance(contract.source, FileSource):
        return _from_file(contract, root / contract.source.path, contract.source)
    return _from_sql(contract.source)


def _from_file(contract: Contract, path: Path, source: FileSource) -> pd.DataFrame:
    if not path.exists():
        raise DataError(path, "there is no such file")
    if path.is_dir() or path.suffix.lower() == ".parquet":
        return read_dataset(path, contract.ignore)
    frame = read_csv(path, source.separator, source.encoding)
    frame = frame.mask(frame.isin(source.missing))
    if source.decimal == ",":
        for column in contract.columns:
            if column.is_number and column.name in frame:
                frame[column.name] = frame[column.name].str.replace(",", ".", regex=False)
    return frame


def _from_sklearn(contract: Contract, source: SklearnSource) -> pd.DataFrame:
    datasets = importlib.import_module("sklearn.datasets")
    name = f"sklearn.datasets.{source.loader}"
    loader = getattr(datasets, source.loader, None)
    if loader is None:
        raise DataError(name, f"cannot be loaded: the package has no attribute {source.loader!r}")
    try:
        features, target = loader(return_X_y=True, as_frame=True, **source.options)
    except TypeError as error:
        raise DataError(name, f"cannot be loaded: {error}") from error
    return features.assign(**{contract.target.name: target})


def _from_sql(source: SqlSource) -> pd.DataFrame:
    import sqlalchemy

    url = os.environ.get(source.url_from)
    if not url:
        remedy = "the URL of the database, for example sqlite:///clinic.db"
        raise SettingsError("environment", [f"{source.url_from}: is not set; allowed: {remedy}"])
    try:
        with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
            frame = pd.read_sql_query(sqlalchemy.text(source.query), connection)
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError) as error:
        raise EnvironmentFault(f"the query of {source.url_from} failed", root(error)) from error
    if frame.empty:
        raise DataError(f"the query of {source.url_from}", "returned no rows")
    return checked(f"the query of {source.url_from}", frame)


def run(project: Project) -> str:
    """Ingest the source of this clone."""
    frame = ingest(load(project.contract), project.root)
    write_csv(project.raw, frame)
    return f"{len(frame)} rows × {frame.shape[1]} columns → {project.show(project.raw)}"
