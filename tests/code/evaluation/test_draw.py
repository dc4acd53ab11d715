"""All pictures of a project, as files; that they are equal to the byte is tested with the stage."""

from mlref.core.storage import Project
from mlref.evaluation.draw import draw
from tests.projects import retrain

NAMES = [
    "predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png", "features.png",
    "effects.png", "learning_curve.png", "validation_curve.png",
]  # fmt: skip


def test_without_a_penalty_or_a_unit_everything_else_is_drawn(project: Project) -> None:
    project.contract.write_text(project.contract.read_text().replace("  unit: euro\n", ""))
    retrain(project, random_forest={"n_estimators": [3]})
    assert [path.name for path in draw(project)] == NAMES[:-1]
