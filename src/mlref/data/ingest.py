"""Stage 1: bring the contract's source, as it is, and the labelled rows added to it to data/raw/."""

import importlib
import os
from pathlib import Path

import pandas as pd

from mlref.core.contract import LABELS, Contract, FileSource, SklearnSource, SqlSource, load
from mlref.core.errors import DataError, EnvironmentFault, SettingsError
from mlref.core.storage import Project
from mlref.data.labelled import TIME, unseen
from mlref.data.tables import checked, read_csv, read_parquet, write_csv


def ingest(contract: Contract, root: Path) -> pd.DataFrame:
    """Read the source and the files of labelled rows beside it, in the order of their names.

    The source is neither validated nor changed here. The added rows are validated, since later stages no
    longer know their files.

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
    frame = _source(contract, root)
    if files := sorted((root / LABELS).glob("*.csv")):
        added, _ = unseen(contract, frame, files)
        added = added.drop(columns={TIME} - {*contract.header}, errors="ignore")
        frame = pd.concat([frame, added], ignore_index=True)
    return frame


def _source(contract: Contract, root: Path) -> pd.DataFrame:
    if isinstance(contract.source, SklearnSource):
        return _from_sklearn(contract, contract.source)
    if isinstance(contract.source, FileSource):
        path = root / contract.source.path
        if not path.is_file():
            raise DataError(path, "there is no such file")
        return read_csv(path) if path.suffix == ".csv" else read_parquet(path)
    return _from_sql(contract.source)


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
    return features.assign(**{contract.target.name: target})  # type: ignore[no-any-return]


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
        cause = getattr(error, "__cause__", None) or error
        reason = RuntimeError(str(getattr(error, "orig", None) or getattr(cause, "orig", cause)))
        raise EnvironmentFault(f"the query of {source.url_from} failed", reason) from error
    if frame.empty:
        raise DataError(f"the query of {source.url_from}", "returned no rows")
    return checked(f"the query of {source.url_from}", frame)


def run(project: Project) -> str:
    """Ingest the source of this clone."""
    frame = ingest(load(project.contract), project.root)
    write_csv(project.raw, frame)
    return f"{len(frame)} rows × {frame.shape[1]} columns → {project.show(project.raw)}"
