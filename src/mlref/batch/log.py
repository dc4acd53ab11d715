"""`mlref score --to-log`: what was scored also goes into the prediction log.

A part is logged after it is published, by reading it back, in the process that the user started. So a
part that failed leaves nothing in the log, no worker of a cluster needs the database, and the part
stays the same to the byte: the ids are in the log alone.
"""

from collections.abc import Iterator
from typing import Self

from mlref.batch.cells import cells, numpy
from mlref.batch.counts import Counts
from mlref.batch.files import Job, Source
from mlref.batch.model import Model
from mlref.batch.part import Part
from mlref.batch.read import opened
from mlref.core.errors import Violation
from mlref.core.rows import masks
from mlref.core.storage import Project
from mlref.prediction_log import records
from mlref.prediction_log.encode import encode
from mlref.prediction_log.ids import new_ids
from mlref.prediction_log.open import open_sink
from mlref.prediction_log.records import Predicted, Refused

ROWS = 10_000
"""Rows of one transaction; decoded they take some ten megabytes."""

ANSWER = ("prediction", "lower", "upper")


class Log:
    """The log of one run; a context manager, which at its end writes what waits in the spool.

    Parameters
    ----------
    project : Project
        Whose log it is.
    model : Model
        What scores.

    Attributes
    ----------
    rows : int
        Predictions logged so far.

    Raises
    ------
    PredictionLogError
        For a URL that is none, or tables of another version.
    EnvironmentFault
        When the database cannot be reached, or the spool not be written.
    """

    def __init__(self, project: Project, model: Model) -> None:
        self.model, self.rows = model, 0
        self._model = records.Model(model.version, model.predictor.digest, model.contract)
        self._sink = open_sink(project)

    def add(self, job: Job, part: Part) -> None:
        """Log a published part: its rows, and how many cells were refused for which reason.

        Raises
        ------
        EnvironmentFault
            When the part is not there any more, or neither database nor spool takes its rows.
        """
        for predicted in self._predicted(job):
            self._sink.write(encode([predicted]))
            self.rows += len(predicted.ids)
        if refused := [*self._refused(job, part.counts)]:
            self._sink.write(encode(refused))

    def _predicted(self, job: Job) -> Iterator[Predicted]:
        columns, key = self.model.contract.features, job.key
        only = {*self.model.contract.names, *ANSWER, *([] if key is None else [key])}
        with opened(Source(job.part, job.part, 0)) as table:
            for batch in table.batches(sorted(only)):
                for start in range(0, batch.rows.num_rows, ROWS):
                    rows = batch.rows.slice(start, ROWS)
                    given = {one.name: cells(one, rows.column(one.name), False) for one in columns}
                    marks = masks(columns, given)
                    value, lower, upper = (numpy(rows.column(name)) for name in ANSWER)
                    subjects = None if key is None else [*map(str, rows.column(key).to_pylist())]
                    yield Predicted(
                        self._model, new_ids(rows.num_rows), marks.array, value, lower, upper,
                        marks.unusual, subjects=subjects, source="batch",
                    )  # fmt: skip

    def _refused(self, job: Job, counts: Counts) -> Iterator[Refused]:
        names = [*self.model.contract.names, job.key or "record", "record"]
        for reason, count in counts.reasons.items():
            name = next(name for name in names if reason.startswith(f"{name}: "))
            violation = Violation(0, name, "", reason.removeprefix(f"{name}: "))
            yield Refused(self._model, [violation], "batch", count)

    def said(self) -> str:
        """What is logged, and where rows wait when the database went away."""
        lines = f"Logged: {self.rows:,} rows"
        if self._sink.spooled and self._sink.spool.files():
            lines += f"; some wait in {self._sink.spool.folder} for the database"
        return lines

    def __enter__(self) -> Self:
        """Begin a run."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, as far as the database is there, and end the connections."""
        try:
            while self._sink.replay():
                pass
        finally:
            self._sink.close()
