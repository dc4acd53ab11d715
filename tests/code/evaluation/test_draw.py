"""All pictures of a project, as files."""

from mlref.core.storage import Project
from mlref.evaluation.draw import draw
from tests.projects import retrain

NAMES = [
    "predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png", "features.png",
    "effects.png", "learning_curve.png", "validation_curve.png",
]  # fmt: skip


def test_every_picture_is_a_png_file_without_a_time_or_a_version(project: Project) -> None:
    """That two drawings are equal to the byte is tested with the stage."""
    draw(project)
    contents = [(project.pictures / name).read_bytes() for name in NAMES]
    assert len(list(project.pictures.iterdir())) == len(NAMES)
    assert all(content.startswith(b"\x89PNG\r\n") and len(content) > 5_000 for content in contents)
    assert not any(b"matplotlib" in content.lower() for content in contents)


def test_without_a_penalty_or_a_unit_everything_else_is_drawn(project: Project) -> None:
    project.contract.write_text(project.contract.read_text().replace("  unit: euro\n", ""))
    retrain(project, random_forest={"n_estimators": [3]})
    assert [path.name for path in draw(project)] == NAMES[:-1]
