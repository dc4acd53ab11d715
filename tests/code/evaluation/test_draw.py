"""All pictures of a project, as files."""

from pathlib import Path

import pytest

from mlref.core.contract import load
from mlref.core.storage import Project
from mlref.evaluation.draw import draw
from tests.projects import retrain

NAMES = [
    "predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png", "features.png",
    "effects.png", "learning_curve.png", "regularisation_path.png",
]  # fmt: skip


@pytest.fixture
def drawn(project: Project) -> list[Path]:
    """The pictures of a trained project."""
    return draw(project, load(project.contract))


def test_every_picture_is_drawn_and_is_the_same_when_drawn_again(
    project: Project, drawn: list[Path]
) -> None:
    """PNG files of some size, under reports/pictures/, without a time or a version."""
    assert drawn == [project.pictures / name for name in NAMES]
    before = [path.read_bytes() for path in drawn]
    assert all(content.startswith(b"\x89PNG\r\n") and len(content) > 5_000 for content in before)
    assert [path.read_bytes() for path in draw(project, load(project.contract))] == before


def test_a_model_without_a_penalty_has_no_path(project: Project) -> None:
    """Everything else is drawn: trees have effects and learn from rows as well."""
    retrain(project, gradient_boosting={"n_estimators": [30]})
    assert [path.name for path in draw(project, load(project.contract))] == NAMES[:-1]


def test_a_target_without_a_unit_is_shown_by_its_title(project: Project) -> None:
    """Nothing is written in its place."""
    project.contract.write_text(project.contract.read_text().replace("  unit: euro\n", ""))
    assert len(draw(project, load(project.contract))) == len(NAMES)


def test_an_empty_folder_has_nothing_to_draw_from(tmp_path: Path) -> None:
    """It gets no folder of pictures."""
    with pytest.raises(FileNotFoundError, match="predictions.csv"):
        draw(Project(tmp_path), None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
