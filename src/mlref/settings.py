"""The settings: config/params.yaml as frozen objects, one per stage that has knobs."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mlref.documents import Frozen, check_parts, read_text, read_yaml
from mlref.errors import SettingsError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]
Values = Annotated[list[Any], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Validate(Frozen):
    """Knobs of the validate stage."""

    max_correlation: Share
    """Largest absolute correlation of a feature with the target before it counts as a copy of it."""


class Split(Frozen):
    """Knobs of the split stage."""

    seed: Seed
    """Decides which rows are held out."""
    holdout: Annotated[float, Field(ge=0.05, le=0.5)]
    """Share of the rows that no stage before `evaluate` may read."""
    bins: Count
    """Number of quantile bins of the target in which the split is stratified."""


class Tune(Frozen):
    """Knobs of the tune stage; ``candidates`` is ordered from simple to complex."""

    seed: Seed
    """Decides the folds."""
    folds: Annotated[int, Field(ge=2)]
    """Parts of the training rows in a round of cross-validation."""
    repeats: Count
    """Rounds of cross-validation, each with other folds."""
    candidates: Annotated[dict[str, dict[str, Values]], Field(min_length=1)]
    """Estimators by name, simplest first, each with the lists whose products are its grid."""


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
    evaluate: Bootstrap
    """Knobs of the stage that judges the bundle on the held-out rows."""
    gate: Bootstrap = Field(alias="register")
    """Knobs of the gate; a difference counts only when its interval excludes zero."""


def load(path: Path) -> Settings:
    """Read the settings.

    Raises
    ------
    SettingsError
        With every mistake in the file: its key, what it holds and what is allowed.
    """
    text = read_text(path, SettingsError)
    document = read_yaml(text, str(path), SettingsError)
    mistakes: list[str] = []
    parts = check_parts(Settings, document, mistakes)
    if mistakes:
        raise SettingsError(str(path), mistakes)
    return Settings(**parts)
