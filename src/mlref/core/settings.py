"""The settings: config/params.yaml as frozen objects, one per stage that has knobs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mlref.core import config
from mlref.core.config import Frozen
from mlref.core.errors import SettingsError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]
Values = Annotated[list[Any], Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Validate(Frozen):
    """Knobs of the validate stage."""

    max_correlation: Share
    """Largest absolute correlation of a feature with the target before it counts as a copy of it."""
    max_unusual: Share
    """Largest share of a column's values outside `expected` before its unit is in doubt."""


class Split(Frozen):
    """Knobs of the split stage."""

    seed: Seed
    """Decides, with a row's identity, whether it is held out."""
    holdout: Annotated[float, Field(ge=0.05, le=0.5)]
    """Share of the rows that no stage before `evaluate` may read."""


class Range(Frozen):
    """All values between two ends."""

    low: Number
    """Smallest value."""
    high: Number
    """Largest value."""
    log: bool = False
    """Whether it is the logarithm that is spaced or drawn evenly: for values of unknown magnitude."""
    integer: bool = False
    """Whether only whole numbers are meant."""
    steps: Annotated[int, Field(ge=2)] = 5
    """Values that a grid takes from the range, both ends among them."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        for key in given:
            if key not in cls.model_fields:
                raise ValueError(f"unknown key {key!r}; allowed: {', '.join(cls.model_fields)}")
        return given

    @model_validator(mode="after")
    def _sound(self) -> Self:
        seen = f"low is {self.low:g} and high is {self.high:g}"
        if not self.low < self.high:
            raise ValueError(f"{seen}; low must be below high")
        if self.log and self.low <= 0:
            raise ValueError(f"{seen}; with log both must be above 0")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"{seen}; with integer both must be whole numbers")
        return self


def _form(values: object) -> str | None:
    if isinstance(values, list):
        return "list"
    return "range" if isinstance(values, (Mapping, Range)) else None


Space = dict[
    str,
    Annotated[
        Annotated[Values, Tag("list")] | Annotated[Range, Tag("range")],
        Discriminator(
            _form,
            custom_error_type="space",
            custom_error_message="a list of values, or a range with low and high",
        ),
    ],
]
"""Argument of an estimator to the values that may be tried."""


class Tune(Frozen):
    """Knobs of the tune stage; ``candidates`` is ordered from simple to complex."""

    seed: Seed
    """Decides the folds, the draws from ranges, and the estimators' own random numbers."""
    folds: Annotated[int, Field(ge=3)]
    """Parts of the training rows in a round of cross-validation; the choice of a setting holds out two."""
    repeats: Count
    """Rounds of cross-validation, each with other folds."""
    sampler: Literal["grid", "quasi_random", "tpe"]
    """Makes settings of ranges: by steps, by draws that fill them evenly, by proposals from earlier errors.

    A proposal of `tpe` hangs on the last digits of earlier errors, which another processor may round
    otherwise, and has seen all training rows, so that its figures are a little too good.
    """
    trials: Count
    """Settings to try of a candidate that has a range, where the sampler is not `grid`."""
    candidates: Annotated[dict[str, Space], Field(min_length=1)]
    """Estimators by name, simplest first, each with its search space: a list or a range for each argument."""


class Train(Frozen):
    """Knobs of the train stage."""

    seed: Seed
    """Decides the folds, and the estimator's own random numbers."""
    folds: Annotated[int, Field(ge=2)]
    """Parts for the out-of-fold residuals from which the intervals are made."""
    coverage: Annotated[float, Field(ge=0.5, lt=1)]
    """Share of true values that the prediction intervals promise to hold."""


class Package(Frozen):
    """Knobs of the package stage."""

    seed: Seed
    """Decides the generated and the golden rows."""
    generated_rows: Count
    """Rows made from the contract and added to the real ones for the check of parity."""
    golden_rows: Count
    """Rows stored with their outputs and checked at every load."""
    tolerance: Annotated[float, Field(gt=0, le=0.01)]
    """Largest difference from scikit-learn, as a share of the target's valid width."""


class Bootstrap(Frozen):
    """Knobs of a stage that quotes bootstrap intervals."""

    seed: Seed
    """Decides the resamples."""
    resamples: Annotated[int, Field(ge=100)]
    """Bootstrap samples behind an interval."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    """Confidence of the intervals."""


class Evaluate(Bootstrap):
    """Knobs of the evaluate stage."""

    folds: Annotated[int, Field(ge=2)]
    """Parts of the training rows for what is measured out of fold: features, learning curve, path."""
    smallest_slice: Annotated[int, Field(ge=2)]
    """Held-out rows that a slice needs to be judged; the whole needs as many."""


class Gate(Bootstrap):
    """Knobs of the gate; a difference counts only when its interval excludes zero."""

    smallest_holdout: Count
    """Held-out rows from which a verdict may be drawn."""
    smallest_slice: Count
    """Rows from which a slice is compared with the champion's."""
    smallest_gain: Annotated[float, Field(ge=0, lt=1)]
    """Share of the champion's RMSE by which a model must be better to replace it."""
    largest_gain: Share
    """Share of the champion's RMSE beyond which a gain is more likely a leak than progress."""
    max_age_days: Annotated[float, Field(gt=0)]
    """Days after which a registered evaluation no longer counts for `mlref promote`."""


class Settings(Frozen):
    """Everything that can be turned, by stage."""

    validate_: Validate = Field(alias="validate")
    """Knobs of the stage that judges the raw rows."""
    split: Split
    """Knobs of the stage that divides the rows."""
    tune: Tune
    """Knobs of the stage that judges the candidates."""
    train: Train
    """Knobs of the stage that fits the chosen one."""
    package: Package
    """Knobs of the stage that makes the bundle."""
    evaluate: Evaluate
    """Knobs of the stage that judges the bundle on the held-out rows."""
    gate: Gate = Field(alias="register")
    """Knobs of the verbs that judge and promote registered models."""


def load(path: Path) -> Settings:
    """Read the settings.

    Raises
    ------
    SettingsError
        With every mistake in the file: its key, its value and what is allowed.
    """
    return config.load(Settings, path, SettingsError)
