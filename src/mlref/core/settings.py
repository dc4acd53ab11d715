"""The settings: config/params.yaml as frozen objects, one for each stage or command that has any."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mlref.core import config
from mlref.core.config import Frozen
from mlref.core.errors import SettingsError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]
Values = Annotated[list[Any], Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Validate(Frozen):
    """Settings of the validate stage."""

    max_correlation: Share
    """Largest absolute correlation of a feature with the target before it counts as a copy of it."""
    max_unusual: Share
    """Largest share of a column's values outside `expected` before its unit is in doubt."""


class Split(Frozen):
    """Settings of the split stage."""

    seed: Seed
    """Decides, with a row's identity or group, whether it is in the test set; by time nothing."""
    holdout: Annotated[float, Field(ge=0.05, le=0.5)]
    """Share of the rows in the test set, which no stage before `evaluate` reads."""


class Range(Frozen):
    """All values between two ends."""

    low: Number
    """Smallest value."""
    high: Number
    """Largest value."""
    log: bool = False
    """Whether to space or draw evenly on the log scale, for values of unknown magnitude."""
    integer: bool = False
    """Whether to take whole numbers only."""
    steps: Annotated[int, Field(ge=2)] = 5
    """How many values a grid takes from the range, both ends included."""

    def mistakes(self) -> Iterator[str]:
        """Ends that do not fit."""
        seen = f"low is {self.low:g} and high is {self.high:g}"
        if not self.low < self.high:
            yield f"{seen}; low must be below high"
        if self.log and self.low <= 0:
            yield f"{seen}; with log both must be above 0"
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            yield f"{seen}; with integer both must be whole numbers"


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
    """Settings of the tune stage; ``candidates`` is ordered from simple to complex."""

    seed: Seed
    """Decides the folds, the draws from ranges, and the estimators' own random numbers."""
    folds: Annotated[int, Field(ge=3)]
    """Folds of a round of cross-validation; nested cross-validation leaves out two of them."""
    repeats: Count
    """Rounds of cross-validation, each with new folds."""
    rows: Annotated[int, Field(ge=100)]
    """Most training rows that candidates are compared on, drawn by the seed; `train` takes all."""
    memory: Annotated[float, Field(gt=0)]
    """Gigabytes that a fit on all training rows may take; a candidate that needs more is left out."""
    sampler: Literal["grid", "quasi_random", "tpe"]
    """How hyperparameters are taken from ranges: a grid, quasi-random draws, or Optuna's TPE.

    TPE proposes from earlier errors. Their last digits may differ on another processor, and they were
    measured on all training rows, so its metrics are slightly optimistic.
    """
    trials: Count
    """Trials of a candidate that has a range, where the sampler is not `grid`."""
    candidates: Annotated[dict[str, Space], Field(min_length=1)]
    """Estimators, simplest first, each with its search space: a list or range for each hyperparameter."""


class Train(Frozen):
    """Settings of the train stage."""

    seed: Seed
    """Decides the folds, and the estimator's own random numbers."""
    folds: Annotated[int, Field(ge=2)]
    """Folds for the out-of-fold residuals that calibrate the intervals."""
    coverage: Annotated[float, Field(ge=0.5, lt=1)]
    """Share of true values that the prediction intervals should contain."""


class Package(Frozen):
    """Settings of the package stage."""

    seed: Seed
    """Decides the generated and the golden rows."""
    generated_rows: Count
    """Rows generated from the contract, added to the real ones for the parity check."""
    golden_rows: Count
    """Rows stored with their predictions and checked at every load."""
    tolerance: Annotated[float, Field(gt=0, le=0.01)]
    """Largest difference from scikit-learn, as a share of the target's valid range."""


class Bootstrap(Frozen):
    """Settings of a stage that computes bootstrap intervals."""

    seed: Seed
    """Decides the resamples."""
    resamples: Annotated[int, Field(ge=100)]
    """Bootstrap samples for an interval."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    """Confidence of the intervals."""


class Evaluate(Bootstrap):
    """Settings of the evaluate stage."""

    folds: Annotated[int, Field(ge=2)]
    """Folds for what is measured out of fold: importance, learning curve, validation curve."""
    rows: Annotated[int, Field(ge=100)]
    """Most training rows that these are measured on."""
    smallest_slice: Annotated[int, Field(ge=2)]
    """Test rows that a slice needs to be evaluated; so does the whole test set."""


class Gate(Bootstrap):
    """Settings of the gate; a difference counts only when its interval excludes zero."""

    smallest_holdout: Count
    """Smallest test set from which the gate draws a verdict."""
    largest_forgotten: Annotated[float, Field(ge=0, lt=1)]
    """Share of the champion's training rows that may no longer be in the table as they were."""
    smallest_slice: Annotated[int, Field(ge=2)]
    """Rows that a slice needs to be compared with the champion."""
    slice_margin: Annotated[float, Field(ge=0, lt=1)]
    """Loss on a slice that is no harm yet, as a share of the champion's RMSE there."""
    smallest_gain: Annotated[float, Field(ge=0, lt=1)]
    """Smallest gain that replaces the champion, as a share of its RMSE."""
    largest_old_loss: Annotated[float, Field(ge=0)]
    """Loss on rows from before `--since` that is allowed, as a share of the champion's RMSE there."""
    leak_alarms: Share
    """Share of sound models in which the leak check may name a column."""
    max_age_days: Annotated[float, Field(gt=0)]
    """Age in days at which an evaluation no longer allows `mlref promote`."""


class Monitor(Frozen):
    """Settings of `mlref monitor`."""

    seed: Seed
    """Decides the simulated months."""
    months: Annotated[int, Field(ge=50)]
    """Quiet months that are simulated for the thresholds of a model."""
    alarms_a_month: Annotated[float, Field(gt=0, le=2)]
    """False alarms in 30 windows, over all monitors."""
    smallest_window: Annotated[int, Field(ge=50)]
    """Rows that a window needs to be judged; smaller ones are pooled."""
    max_age_days: Annotated[float, Field(gt=0)]
    """Days after which a model, and labels that stopped, count as stale."""


class Retrain(Frozen):
    """Settings of `mlref retrain`."""

    rows: Count
    """Labelled rows from after the change that a retraining with `--since` needs."""
    old_rows: Literal["drop", "keep"]
    """Whether a retraining with `--since` goes on learning from the rows before the change."""
    sources: Count
    """Sources that the new labels must come from, at least."""
    largest_strange: Annotated[float, Field(ge=0, lt=1)]
    """Share of new labels that may be far from their predictions, beside training and the other new ones."""


class Online(Frozen):
    """Settings of `mlref learn`."""

    batch: Annotated[int, Field(ge=8)]
    """Labels that are taken at once; fewer wait for the next run."""
    rate: Share
    """Learning rate: by how much of its error a row moves the prediction for standardised inputs."""
    settle: Annotated[float, Field(ge=0)]
    """Seconds that a label must be old, so that most corrections come before it is learned."""
    quota: Count
    """Labels that are learned from one source in an hour."""
    fading: Share
    """Weight of a row in the comparison with the champion, relative to the row after it."""
    label_coverage: Share
    """Share of labelled predictions below which nothing is learned, relative to what it was before."""
    largest_shift: Annotated[float, Field(gt=0)]
    """Largest mean error of a batch that is believed to be a change of concept, in RMSEs of training."""
    largest_step: Annotated[float, Field(gt=0)]
    """Largest change of a prediction by one batch, in RMSEs of training."""


class Act(Frozen):
    """What `mlref monitor --act` may do by itself."""

    command: Literal["retrain", "learn --propose"]
    """What an alarm starts: a retraining, or the proposal of what was learned online."""
    alarms: list[Literal["bias", "loss", "misses"]]
    """Monitors whose alarms ask for a retraining."""
    cool_down: Annotated[int, Field(ge=0)]
    """Windows of labels after a retraining in which no other begins."""
    budget: Annotated[int, Field(ge=0)]
    """Retrainings in 30 windows of labels."""
    rollback_error: Share
    """Chance that a promotion that made nothing worse is rolled back, over all looks at it."""


class Settings(Frozen):
    """All settings, by the stage or command that they are of; a few are read by others too."""

    validate_: Validate = Field(alias="validate")
    """Settings of the stage that validates the raw rows."""
    split: Split
    """Settings of the stage that divides the rows."""
    tune: Tune
    """Settings of the stage that compares the candidates."""
    train: Train
    """Settings of the stage that fits the chosen candidate."""
    package: Package
    """Settings of the stage that makes the bundle."""
    evaluate: Evaluate
    """Settings of the stage that evaluates the bundle on the test set."""
    gate: Gate = Field(alias="register")
    """Settings of the gate, which `register` and `promote` ask."""
    monitor: Monitor
    """Settings of the monitor of the prediction log."""
    retrain: Retrain
    """Settings of a retraining on labelled predictions."""
    online: Online
    """Settings of online learning."""
    act: Act
    """What the monitor may do by itself."""


def load(path: Path) -> Settings:
    """Read the settings.

    Raises
    ------
    SettingsError
        With every mistake in the file: its key, its value and what is allowed.
    """
    return config.load(Settings, path, SettingsError)
