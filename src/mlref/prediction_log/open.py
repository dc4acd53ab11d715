"""Open the log of a clone: its database, its fallback and the writer."""

import logging

from mlref.core.errors import EnvironmentFault
from mlref.core.storage import Project
from mlref.prediction_log.database import WAITING, Database
from mlref.prediction_log.writer import Writer

_LOG = logging.getLogger("mlref.prediction_log")


def open_log(project: Project, patient: bool = False) -> Writer:
    """Open the database of MLREF_LOG_URL or the clone's file, and the fallback in MLREF_LOG_SPOOL.

    Parameters
    ----------
    project : Project
        Whose log it is.
    patient : bool
        Whether to go on, with a warning, when the database cannot be reached now.

    Raises
    ------
    PredictionLogError
        For text that is no URL, or tables of a newer version.
    EnvironmentFault
        When the fallback cannot be written, or the database not be reached.
    """
    database, fallback = Database.of(project), Database.fallback(project)
    try:
        project.spool.mkdir(parents=True, exist_ok=True)
        fallback.check()
    except (OSError, EnvironmentFault) as error:
        remedy = "Let MLREF_LOG_SPOOL name a folder where rows may wait for the database."
        raise EnvironmentFault(f"{project.spool} cannot be used", error, remedy) from error
    if old := [
        path.name for path in project.spool.glob("*.*") if not path.name.startswith(WAITING)
    ]:
        _LOG.warning(
            "%s has files of the first edition, left alone: %s", project.spool, ", ".join(old)
        )
    try:
        database.check()
    except EnvironmentFault as error:
        if not patient:
            raise
        _LOG.warning("%s Rows wait in %s.", error, fallback.file)
    return Writer(database, fallback)
