"""All pictures of a project, as files."""

from pathlib import Path

import pandas as pd
import pytest

from mlref.core.contract import load
from mlref.core.storage import Project
from mlref.evaluation.draw import draw

NAMES = [
    "predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png", "features.png",
    "effects.png", "learning_curve.png", "regularisation_path.png",
]  # fmt: skip


def test_every_picture_is_a_png_file_without_a_time_or_a_version(project: Project) -> None:
    """That two drawings are equal to the byte is tested with the stage."""
    draw(project, load(project.contract))
    contents = [(project.pictures / name).read_bytes() for name in NAMES]
    assert len(list(project.pictures.iterdir())) == len(NAMES)
    assert all(content.startswith(b"\x89PNG\r\n") and len(content) > 5_000 for content in contents)
    assert not any(b"matplotlib" in content.lower() for content in contents)


def test_without_a_penalty_or_a_unit_everything_else_is_drawn(project: Project) -> None:
    """Trees have effects and learn from rows as well, but no path."""
    path = project.plots / "regularisation_path.csv"
    pd.read_csv(path)[:0].to_csv(path, index=False)
    project.contract.write_text(project.contract.read_text().replace("  unit: euro\n", ""))
    assert [path.name for path in draw(project, load(project.contract))] == NAMES[:-1]


def test_an_empty_folder_has_nothing_to_draw_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="predictions.csv"):
        draw(Project(tmp_path), None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
