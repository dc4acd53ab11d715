"""The error family: every refusal that a user can meet.

::

    MlrefError              exit 1   the user's data, configuration or request
    ├── ContractError                config/dataset.yaml breaks its own rules
    ├── SettingsError                config/params.yaml or an environment variable
    ├── RowsRefused                  rows that break the contract
    ├── DataError                    a file of data that cannot be read as a table
    ├── BundleError                  a bundle that is incomplete, altered or not convertible
    ├── ModelNotFound                no such version, alias or digest in the bundle store
    ├── RunNotFound                  no such run in the tracking store, or more than one
    ├── GateBlocked                  the gate refused the new model
    ├── NotReproduced                a registered model that its recorded inputs do not give again
    ├── NotPublished                 batch scoring ended without a complete output
    ├── PredictionLogError           a prediction log that is newer than mlref, or a URL that names none
    └── EnvironmentFault    exit 4   disk, network, database

Each class builds its own sentence: what was seen, what is allowed, what to do next. The command
line maps ``exit_code``; the service maps the classes to an HTTP status in one place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN = 20
"""How many violations a message lists before it only counts the rest."""


@dataclass(frozen=True)
class Violation:
    """One cell, key or row that breaks the contract.

    Parameters
    ----------
    row : int or None
        Zero-based position of the row; None when the whole table is meant.
    column : str or None
        Name of the column or key; None when the whole row is meant.
    got : str
        What was seen, printable.
    allowed : str
        What would have been accepted.
    """

    row: int | None
    column: str | None
    got: str
    allowed: str


class MlrefError(Exception):
    """Root of the family: a refusal with a sentence for its reader."""

    exit_code: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the finished message, so that no other process builds it again."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


class ContractError(MlrefError):
    """The contract has mistakes; all of them are listed.

    Remedy: correct the named keys of config/dataset.yaml and ask `mlref contract check` again.
    """

    def __init__(self, source: str, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{source} has {count}:\n" + "\n".join(f"  {line}" for line in mistakes))


class SettingsError(ContractError):
    """The settings have mistakes; all of them are listed.

    Remedy: correct the named keys of config/params.yaml, or the environment variable that is named.
    """


class DataError(MlrefError):
    """A file cannot be read as a table of the contract's columns.

    Remedy: save the file in the form that the message names, or correct the contract's `source`.
    """

    def __init__(self, source: Path | str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{source}: {problem}" + (f"\n  {remedy}" if remedy else ""))


class RowsRefused(MlrefError):
    """Rows break the contract; the first of their mistakes are listed.

    Remedy: correct the values, or, if they are possible after all, widen the column's `valid` range
    or its `allowed` values in the contract.

    Parameters
    ----------
    source : str
        The file or request that holds the rows.
    violations : sequence of Violation
        At least one.
    first_row : int
        Number that the source gives to its row 0, for example 2 in a CSV file with a header.
    """

    def __init__(
        self,
        source: Path | str,
        violations: Sequence[Violation],
        first_row: int = 0,
        remedy: str = "",
    ) -> None:
        self.violations = tuple(violations)
        lines = []
        for violation in violations[:SHOWN]:
            where = [] if violation.row is None else [f"row {violation.row + first_row}"]
            where += [] if violation.column is None else [f"column {violation.column!r}"]
            lines.append(f"  {', '.join(where)}: got {violation.got}; allowed: {violation.allowed}")
        if len(violations) > SHOWN:
            lines = [*_by_column(violations, first_row), *lines]
            lines.append(f"  … and {len(violations) - SHOWN} more")
        count = "1 value" if len(violations) == 1 else f"{len(violations)} values"
        lines += [f"  {remedy}"] if remedy else []
        super().__init__(f"{source}: {count} refused\n" + "\n".join(lines))


def _by_column(violations: Sequence[Violation], first_row: int) -> Iterator[str]:
    """A line for each column: how many, and an example."""
    columns: dict[str, list[Violation]] = {}
    for violation in violations:
        columns.setdefault(violation.column or "the whole row", []).append(violation)
    for name, found in columns.items():
        one = found[0]
        where = "" if one.row is None else f" in row {one.row + first_row}"
        yield f"  column {name!r}: {len(found)} refused, such as {one.got}{where}; allowed: {one.allowed}"


class BundleError(MlrefError):
    """A bundle is incomplete, altered, of another contract, or cannot be made.

    Remedy: `make train` makes it again; for an estimator that does not convert, choose one of those
    that are listed.
    """


class ModelNotFound(MlrefError):
    """The bundle store has no such version, alias or digest.

    Remedy: name one of those that are listed; where there is none, run `make train` first.
    """

    def __init__(self, reference: str, known: Sequence[str]) -> None:
        have = f"It has: {', '.join(known)}." if known else "It is empty: run `make train` first."
        if reference == "champion" and known:
            have += (
                " The gate has let none become champion: `mlref register --explain` says why;"
                f" `--model {known[-1]}` takes one all the same, where a command has that option."
            )
        super().__init__(f"The bundle store has no model {reference!r}. {have}")


class RunNotFound(MlrefError):
    """The tracking store has no run of this id, start of an id or name, or has more than one.

    Remedy: take the id of a run from `mlref runs list`; `--trials` lists the trials too.
    """

    def __init__(self, reference: str, candidates: Sequence[str] = ()) -> None:
        if candidates:
            have = "".join(f"\n  {candidate}" for candidate in candidates[:SHOWN])
            super().__init__(
                f"{reference!r} names {len(candidates)} runs; take one by its id:{have}"
            )
        else:
            super().__init__(
                f"There is no run {reference!r}. A run is named by its id or the start of it (from 6"
                " digits), its name, or the version or alias of its model; `mlref runs list` shows them."
            )


class GateBlocked(MlrefError):
    """The gate refused to promote the new model.

    Remedy: read the reasons; the champion goes on serving while the data, the features or the
    candidates are mended.
    """

    def __init__(self, reasons: Sequence[str], remedy: str = "", champion: bool = True) -> None:
        then = "the champion stays" if champion else "there is still no champion"
        lines = [f"The gate blocked this model; {then}:", *(f"  {r}" for r in reasons)]
        super().__init__("\n".join([*lines, *([remedy] if remedy else [])]))


class NotReproduced(MlrefError):
    """Training again from the recorded inputs gives another model.

    Remedy: restore the inputs that are named as changed: `git checkout` and `dvc checkout` for files,
    `make setup` for packages. If none has changed, a stage is not deterministic or the machine differs.
    """

    def __init__(self, what: str, inputs: Sequence[str]) -> None:
        super().__init__(f"{what}:\n" + "\n".join(f"  {line}" for line in inputs))


class NotPublished(MlrefError):
    """Batch scoring ended without a complete output.

    Remedy: mend the files that are named, or allow more rejected rows, then run the same command with
    `--resume`.
    """


class PredictionLogError(MlrefError):
    """The prediction log is newer than this mlref or of another program, or MLREF_LOG_URL names none.

    Remedy: update mlref where the log is newer; otherwise let `MLREF_LOG_URL` name a database of the
    form that the sentence allows.
    """


class EnvironmentFault(MlrefError):
    """Disk, network or database refused; nothing that was there before is lost.

    Remedy: make room, grant the permission or start the server that is named, then run the same
    command again.
    """

    exit_code = 4

    def __init__(
        self, what: str, error: BaseException, then: str = "What was there before is unchanged."
    ) -> None:
        super().__init__(f"{what}: {reason(error)}. {then}".strip())


def reason(error: BaseException) -> str:
    """What an error of the system or of a library says, on one line and without its number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def root(error: BaseException) -> BaseException:
    """The error that led to all the others: of a database, what its driver said."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error
