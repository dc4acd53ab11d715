"""All pictures of a project, as files; that they are equal to the byte is tested with the stage."""

import pytest

from mlref.core.storage import Project
from mlref.evaluation import model_plots
from mlref.evaluation.draw import draw

NAMES = [
    "predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png", "features.png",
    "effects.png", "learning_curve.png", "validation_curve.png",
]  # fmt: skip


def test_a_picture_that_has_nothing_to_show_is_left_out(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the validation curve of a model without a penalty; and a target needs no unit."""
    project.contract.write_text(project.contract.read_text().replace("  unit: euro\n", ""))
    for name in ("effects", "learning_curve", "validation_curve"):
        monkeypatch.setattr(model_plots, name, lambda *_: None)
    assert [path.name for path in draw(project)] == NAMES[:5]
