"""Put the parts of a log together: the database that the environment names, the spool and the writer."""

import logging

from mlref.core.errors import EnvironmentFault, PredictionLogError
from mlref.core.storage import Project
from mlref.prediction_log.database import Database
from mlref.prediction_log.sink import Sink
from mlref.prediction_log.spool import Spool
from mlref.prediction_log.writer import Writer

_LOG = logging.getLogger("mlref.prediction_log")


def open_log(project: Project, patient: bool = False) -> Writer:
    """Open the log of a clone, written off the request path; see :func:`open_sink`."""
    return Writer(open_sink(project, patient))


def open_sink(project: Project, patient: bool = False) -> Sink:
    """Open the log of a clone: the database of MLREF_LOG_URL or the clone's file, and its spool.

    Parameters
    ----------
    project : Project
        Whose log it is.
    patient : bool
        Whether to go on, with a warning, when the database cannot be reached now.

    Raises
    ------
    PredictionLogError
        For a URL that is none, or tables of another version.
    EnvironmentFault
        When the spool cannot be written, or the database not be reached.
    """
    database, spool = Database.of(project), Spool(project.spool)
    try:
        database.check()
    except PredictionLogError:
        database.close()
        raise
    except EnvironmentFault as error:
        if not patient:
            raise
        _LOG.warning("%s Rows wait in %s.", error, spool.folder)
    return Sink(database, spool)
