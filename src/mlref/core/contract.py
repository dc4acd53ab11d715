"""The contract: config/dataset.yaml as frozen objects.

It is the one place that names columns, units and ranges. Every other module asks it.
"""

import datetime
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from mlref.core import config
from mlref.core.config import Frozen
from mlref.core.errors import ContractError

Value = float | int | bool | str

OUTPUTS = ("prediction", "lower", "upper", "warnings", "model_version")
"""Columns that batch scoring adds to those of its input; no column of the contract has their names."""

BOOLEANS = (False, True)
"""Values of a boolean column, in the order of their codes."""

NUMBER = {"valid", "expected", "error"}
TAKES = {
    "number": NUMBER,
    "integer": NUMBER,
    "category": {"allowed"},
    "date": {"origin"},
    "boolean": set[str](),
}
"""Keys of a column that only some types take."""

TYPED = set[str]().union(*TAKES.values())

DAYS = re.compile(r"\d{4}-\d\d-\d\d")
"""How the text of a date begins."""


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"[lo, hi] with lo < hi, not {list(bounds)}")
    return bounds


def _categories(values: tuple[Any, ...]) -> tuple[int | str, ...]:
    kinds = {type(value) for value in values}
    if kinds not in ({int}, {str}) or len(set(values)) != len(values) or len(values) < 2:
        raise ValueError(
            "two or more different values, all whole numbers or all text (quote yes, no, on and"
            f" off), not {list(values)}"
        )
    return values


def _two_values(given: dict[str, Any]) -> tuple[Any, ...] | None:
    """A boolean is a category of two values that need not be written."""
    return BOOLEANS if given.get("type") == "boolean" else None


Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
Sentences = Annotated[tuple[Text, ...], Field(min_length=1)]
Lines = Annotated[str, Field(pattern=r"\S")]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Range = Annotated[tuple[Bound, Bound], AfterValidator(_ordered)]
Categories = Annotated[tuple[Any, ...], AfterValidator(_categories)]


class Column(Frozen):
    """One column: what it means and which values it may hold.

    ``valid`` bounds what is possible: a value outside is refused. ``expected`` bounds what is
    usual: a value outside is accepted with a warning. Both include their ends.
    """

    name: Text
    """Name of the column in files and requests."""
    title: Text
    """Name for people: in tables, plots and the service's documentation."""
    meaning: Text
    """What was measured, and how."""
    unit: Text | None = None
    """Unit of the values; leave it out where there is none."""
    type: Literal["number", "integer", "boolean", "category", "date"]
    """`number`, `integer`, `boolean`, `category` (one of a few values), or `date`, learned as days."""
    nullable: bool = False
    """Whether a value may be missing."""
    allowed: Categories | None = Field(default_factory=_two_values)
    """For a category: all its values, whole numbers or text."""
    valid: Range | None = None
    """For a number: `[lo, hi]`; a row with a value outside is refused. Left out, any number is possible."""
    expected: Range | None = None
    """For a number: `[lo, hi]`; a value outside is unusual and its row accepted with a warning."""
    error: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """For a feature that is a number: standard deviation of its measurement error, in its unit."""
    origin: datetime.date | None = None
    """For a date: the day that counts as 0, such as `2020-01-01`."""
    transform: Literal["none", "log"] = "none"
    """For the target: `log` learns and compares its logarithm, for positive values with a heavy tail."""
    example: Value
    """A usual value; the examples of all features make the example request."""
    sensitive: bool = False
    """Whether it is about a person's protected characteristics."""

    @property
    def is_text(self) -> bool:
        """Whether its values are text: a category of words."""
        return self.allowed is not None and isinstance(self.allowed[0], str)

    @property
    def is_number(self) -> bool:
        """Whether files and requests write its values as numbers, category codes included."""
        return self.type not in ("boolean", "date") and not self.is_text

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest possible number; without ``valid`` any finite one."""
        lowest = math.ulp(0.0) if self.transform == "log" else -sys.float_info.max
        return self.valid or (lowest, sys.float_info.max)

    @property
    def span(self) -> tuple[float, float]:
        """A range of its encoded values, for plots, made rows and numbers of digits: what is known best."""
        if known := self.expected or self.valid:
            return known
        if self.type == "date":
            return 0.0, abs(self.days(self.example) or 0.0) + 1.0
        middle = 0.0 if isinstance(self.example, str) else abs(self.example)
        return (0.5 * middle, 2 * middle) if middle else (0.0, 1.0)

    def days(self, cell: object) -> float | None:
        """Days from ``origin`` to the UTC day of a date, a time or ISO text; None for anything else.

        Examples
        --------
        >>> sold = Column(name="sold", title="S", meaning="S", type="date", example="2024-05-31",
        ...               origin=datetime.date(2020, 1, 1))
        >>> sold.days("2020-01-31"), sold.days("2020-01-31T23:30:00-02:00"), sold.days("soon")
        (30.0, 31.0, None)
        """
        found = day(cell)
        if found is None or self.origin is None:
            return None
        return float(found.toordinal() - self.origin.toordinal())

    @property
    def accepts(self) -> str:
        """What the column accepts, as words: ``a number from 0 to 120 (years)``."""
        words = "a whole number" if self.type == "integer" else "a number"
        if self.type == "boolean":
            words = "true or false"
        elif self.type == "date":
            words = f"a date such as {self.example}"
        elif self.allowed is not None:
            words = "one of " + ", ".join(map(str, self.allowed))
        elif self.valid is not None:
            words += f" from {self.valid[0]:.12g} to {self.valid[1]:.12g}"
        elif self.transform == "log":
            words += " above 0"
        return words + (f" ({self.unit})" if self.unit else "") + " or null" * self.nullable

    def mistakes(self) -> Iterator[str]:
        """Keys that the type does not take or lacks, and values outside of others."""
        for key in sorted(self.model_fields_set & TYPED - TAKES[self.type]):
            if getattr(self, key) is not None:
                yield f"a column of type {self.type} takes no `{key}`"
        if self.type == "date" and self.origin is None:
            yield "a date needs `origin`, the day that counts as 0"
        if self.type == "category" and self.allowed is None:
            yield "a category needs `allowed`: the list of its values"
        if self.bounds[0] <= 0 and self.transform == "log":
            yield f"transform: the logarithm needs `valid` above 0, not {list(self.bounds)}"
        if allowed := self._not_its_example():
            yield f"example: {allowed}, not {self.example!r}"
        if self.valid and self.expected and not all(_within(x, self.valid) for x in self.expected):
            yield f"expected: inside `valid` {list(self.valid)}, not {list(self.expected)}"

    def _not_its_example(self) -> str:
        """What the example has to be; empty where it is."""
        example = self.example
        if self.type == "boolean":
            return "" if isinstance(example, bool) else "true or false"
        if self.type == "date":
            return "" if day(example) else "a date such as 2020-05-31"
        if self.type == "category":
            return "" if example in (self.allowed or [example]) else "one of `allowed`"
        if isinstance(example, (bool, str)) or not _within(example, self.bounds):
            return "a number" + (f" inside `valid` {list(self.valid)}" if self.valid else "")
        return "" if self.type == "number" or example == int(example) else "a whole number"


def day(cell: object) -> datetime.date | None:
    """The UTC day of a date, a time or ISO text; a time without a zone is UTC; None for anything else."""
    if isinstance(cell, str) and DAYS.match(cell):
        try:
            cell = datetime.datetime.fromisoformat(cell)
        except ValueError:
            return None
    if isinstance(cell, datetime.datetime):
        return (cell.astimezone(datetime.UTC) if cell.tzinfo else cell).date()
    return cell if isinstance(cell, datetime.date) else None


LABELS = "data/source/labels"
"""Folder of the files that `mlref labels import` writes; their rows are added to any source."""


FORMATS = (".csv", ".csv.gz", ".parquet")
"""Ends of the names of files that are read, in any case."""


def _a_source(path: str) -> str:
    steps = PurePosixPath(path).parts
    if steps[:2] != ("data", "source") or len(steps) < 3 or ".." in steps:
        raise ValueError(f"a file or folder under data/source/, not {path!r}")
    if path.startswith(f"{LABELS}/") or path == LABELS:
        raise ValueError(f"a file outside of {LABELS}/, whose files are added to the source")
    name = steps[-1].lower()
    if "." in name and not name.endswith(FORMATS):
        raise ValueError(f"ends in {', '.join(FORMATS)}, or is a folder of Parquet, not {path!r}")
    return path


SourcePath = Annotated[str, AfterValidator(_a_source)]


class Use(Frozen):
    """What the model is for, whom it serves, and what it must not decide."""

    intended: Text
    """What a prediction may be used for."""
    users: Text
    """Who uses it, and what they have to know."""
    not_for: Sentences
    """Uses that are ruled out, each with its reason."""


class SklearnSource(Frozen):
    """A dataset that ships inside scikit-learn: ``loader(return_X_y=True, **options)``."""

    kind: Literal["scikit-learn"]
    loader: Annotated[str, Field(pattern=r"^load_\w+$")]
    """Name of a function in `sklearn.datasets`."""
    options: Mapping[str, Any] = {}
    """Its keyword arguments."""


class FileSource(Frozen):
    """A CSV or Parquet file of your own, or a folder of Parquet files, tracked under data/source/."""

    kind: Literal["file"]
    path: SourcePath
    """Under `data/source/`, ending in `.csv`, `.csv.gz` or `.parquet`, or a folder of Parquet files."""
    separator: Literal[",", ";", "\t", "|"] = ","
    """What separates the columns of a CSV file."""
    decimal: Literal[".", ","] = "."
    """What separates whole from fraction in the numbers of a CSV file."""
    encoding: Literal["utf-8", "latin-1", "cp1252", "utf-16"] = "utf-8"
    """How the text of a CSV file is encoded."""
    missing: tuple[Text, ...] = ()
    """What a CSV file writes for a missing value, such as `NA`; an empty cell always is one."""


class SqlSource(Frozen):
    """A query; the database URL is read from the environment variable that ``url_from`` names."""

    kind: Literal["sql"]
    url_from: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    """Name of the environment variable; the URL itself, with its password, is never in a file."""
    query: Lines
    """A `SELECT` whose columns are the contract's."""


class SplitBy(Frozen):
    """By what rows are divided, for the test set and for the folds of a cross-validation."""

    by: Literal["hash", "group", "time"] = "hash"
    """`hash`: each row by itself; `group`: rows of one value together; `time`: the last ones are tested."""
    column: Text | None = None
    """For `group` and `time`: a column of the source, which need not be a feature."""

    def mistakes(self) -> Iterator[str]:
        """A column for what needs one."""
        if (self.by == "hash") != (self.column is None):
            yield "`by: group` and `by: time` need a `column`, `by: hash` takes none"


class Slice(Frozen):
    """A division of the rows by one column: by its categories, or at ``edges`` of a number."""

    column: Text
    """A feature."""
    edges: tuple[Bound, ...] = ()
    """For a number: where to cut, rising; each part includes its lower end."""
    reason: Text
    """Why the model must be evaluated on these groups."""


class Monotone(Frozen):
    """Raising ``column`` moves the prediction one way, up to ``tolerance`` (target units)."""

    kind: Literal["monotone"]
    column: Text
    """A feature of type number or integer."""
    direction: Literal["increasing", "decreasing"]
    """Where the prediction goes when the column rises."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """Largest step the other way that is forgiven, in units of the target."""
    reason: Text
    """Why every model must pass it."""


class Invariant(Frozen):
    """Changing ``column`` alone moves the prediction by ``tolerance`` (target units) at most."""

    kind: Literal["invariant"]
    column: Text
    """A feature."""
    tolerance: Annotated[float, Field(ge=0)]
    """Largest move of the prediction that is forgiven, in units of the target."""
    reason: Text
    """Why every model must pass it."""


class Bounded(Frozen):
    """Predictions for usual rows stay inside ``range`` (target units)."""

    kind: Literal["bounded"]
    range: Range
    """`[lo, hi]`, in units of the target."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far outside is forgiven, in units of the target."""
    reason: Text
    """Why every model must pass it."""


Source = Annotated[SklearnSource | FileSource | SqlSource, Field(discriminator="kind")]
Promise = Annotated[Monotone | Invariant | Bounded, Field(discriminator="kind")]


class Contract(Frozen):
    """Everything that is declared about the dataset."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """Name of the dataset and of its model, in lower case."""
    title: Text
    """Name for people."""
    task: Literal["regression"]
    """What is learned; only `regression` so far."""
    source: Source
    """Where the rows come from."""
    homepage: Text
    """Where the dataset is described."""
    licence: Text
    """What may be done with the data, or that nothing is stated."""
    citation: Text
    """How to cite the data."""
    use: Use
    """What the model is for, and what it is not."""
    collection: Text
    """Who collected the rows, of whom or what, when and how, or that it is not known."""
    known_issues: Sentences
    """What is wrong with the data or not known about it; that nothing is known, where that is so."""
    identity: tuple[Text, ...] = ()
    """Columns that name a row, so that its copies land on one side of the split; empty: all features."""
    split: SplitBy = SplitBy()
    """By what rows are divided; rows of one identity always stay together."""
    ignore: tuple[Text, ...] = ()
    """Columns of the source that are left out: neither features nor target."""
    target: Column
    """The column to predict."""
    missing_target: Literal["drop", "refuse"] = "refuse"
    """Rows without a target: refused, or counted and dropped."""
    features: Annotated[tuple[Column, ...], Field(min_length=1)]
    """The columns to predict from, in the order of the encoded array."""
    slices: tuple[Slice, ...] = ()
    """Groups of rows in which the model is also evaluated by itself."""
    promises: tuple[Promise, ...] = ()
    """Behavioural checks that every model must pass, whatever its error."""

    def mistakes(self) -> Iterator[str]:
        """Names that clash or point nowhere."""
        names = [column.name for column in self.features]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield f"features: the name {twice!r} is there more than once; allowed: different names"
        if self.target.name in names:
            yield f"features: holds the target {self.target.name!r}; a model would be given its answer"
        if self.target.type not in ("number", "integer") or self.target.nullable:
            yield "target: a regression needs a target of type number or integer that is not nullable"
        if self.target.error is not None:
            yield "target: takes no `error`; it is for measured features"
        if len(set(self.identity)) < len(self.identity) or self.target.name in self.identity:
            yield f"identity: different names, none of them the target's, not {list(self.identity)}"
        for name in {*self.header} & {*OUTPUTS}:
            yield f"the name {name!r} is that of a column that scoring adds; rename the column"
        for name in {*self.header} & {*self.ignore}:
            yield f"ignore: {name!r} is a feature, the target, or named by `identity` or `split`"
        for feature in self.features:
            if feature.transform != "none":
                yield f"features ({feature.name}): `transform` is for the target"
        columns = dict(zip(names, self.features, strict=True))
        divides = columns.get(self.split.column or "")
        if self.split.column == self.target.name:
            yield f"split.column: another column than the target {self.target.name!r}"
        if divides and divides.nullable:
            yield f"split.column: {divides.name!r} may be null, and such a row has no side"
        if divides and divides.type == "category" and self.split.by == "time":
            yield f"split.column: {divides.name!r} is a category, which has no order in time"
        for key, parts in (("slices", self.slices), ("promises", self.promises)):
            for index, part in enumerate(parts):
                column = getattr(part, "column", None)
                where = f"{key}[{index}]" + (f" ({column})" if column else "")
                if column in columns:
                    yield from _about(where, part, columns[column])
                elif column is not None:
                    yield f"{where}.column: no such feature; allowed: {', '.join(names)}"

    @property
    def columns(self) -> tuple[Column, ...]:
        """Features, then the target."""
        return (*self.features, self.target)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the encoded array."""
        return tuple(column.name for column in self.features)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that name a row or divide the rows without being features or the target."""
        named = dict.fromkeys((*self.identity, *filter(None, [self.split.column])))
        return tuple(name for name in named if name not in self.names)

    @property
    def header(self) -> tuple[str, ...]:
        """Columns of a file of labelled rows: those that name or divide rows, the features, the target."""
        return (*self.keys, *self.names, self.target.name)

    @property
    def example(self) -> dict[str, Value]:
        """One row that is accepted: the example of each feature."""
        return {column.name: column.example for column in self.features}


def load(path: Path) -> Contract:
    """Read a contract.

    Raises
    ------
    ContractError
        With every mistake in the file: its key, its value and what is allowed.
    """
    return config.load(Contract, path, ContractError)


def parse(text: str, source: str = "config/dataset.yaml") -> Contract:
    """Turn the text of a contract into objects; see :func:`load`."""
    return config.parse(Contract, text, source, ContractError)


def _about(where: str, part: Slice | Promise, column: Column) -> Iterator[str]:
    """Mistakes of a slice or a behavioural check about its column."""
    if isinstance(part, Slice):
        if column.type == "date":
            yield f"{where}: a slice needs a number, a category or a boolean"
        elif (column.allowed is not None) == bool(part.edges):
            yield f"{where}: `edges` for a number, none for a category"
        elif part.edges and (
            list(part.edges) != sorted(set(part.edges))
            or not all(_within(edge, column.bounds) for edge in part.edges)
        ):
            yield f"{where}.edges: rising numbers inside `valid`, not {list(part.edges)}"
    elif isinstance(part, Monotone) and column.type not in ("number", "integer"):
        yield f"{where}: monotone needs a column of type number or integer"


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]
