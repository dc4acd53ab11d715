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


class Split(Frozen):
    """Knobs of the split stage."""

    seed: Seed
    holdout: Annotated[float, Field(ge=0.05, le=0.5)]
    bins: Count


class Tune(Frozen):
    """Knobs of the tune stage; ``candidates`` is ordered from simple to complex."""

    seed: Seed
    folds: Annotated[int, Field(ge=2)]
    repeats: Count
    candidates: Annotated[dict[str, dict[str, Values]], Field(min_length=1)]


class Train(Frozen):
    """Knobs of the train stage."""

    seed: Seed
    folds: Annotated[int, Field(ge=2)]
    coverage: Annotated[float, Field(ge=0.5, lt=1)]


class Package(Frozen):
    """Knobs of the package stage."""

    seed: Seed
    generated_rows: Count
    golden_rows: Count
    tolerance: Annotated[float, Field(gt=0, le=0.01)]


class Bootstrap(Frozen):
    """Knobs of a stage that quotes bootstrap intervals."""

    seed: Seed
    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]


class Settings(Frozen):
    """Everything that can be turned, by stage."""

    validate_: Validate = Field(alias="validate")
    split: Split
    tune: Tune
    train: Train
    package: Package
    evaluate: Bootstrap
    gate: Bootstrap = Field(alias="register")


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
