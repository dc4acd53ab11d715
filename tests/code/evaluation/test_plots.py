"""Pictures for people."""

from pathlib import Path

import pytest

from mlref.contract import load
from mlref.evaluation import evaluate, plots
from mlref.storage import Project, read_json, write_json
from tests.projects import set_params

NAMES = ["predicted_vs_actual.png", "residuals.png", "candidates.png", "slices.png"]


def texts(figure: object) -> set[str]:
    """All that is written on a figure."""
    from matplotlib.text import Text

    return {str(text.get_text()) for text in figure.findobj(Text)}  # type: ignore[attr-defined]


@pytest.fixture
def drawn(project: Project) -> list[Path]:
    """The pictures of a trained project."""
    return plots.draw(project, load(project.contract))


def test_every_picture_is_drawn(project: Project, drawn: list[Path]) -> None:
    """PNG files of some size, under reports/pictures/."""
    assert drawn == [project.pictures / name for name in NAMES]
    for path in drawn:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n") and len(content) > 5_000


def test_drawing_twice_gives_equal_bytes(project: Project, drawn: list[Path]) -> None:
    """The pictures hold no time and no version."""
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in plots.draw(project, load(project.contract))] == before


def test_slices_that_were_not_judged_are_not_drawn(trained: Project) -> None:
    """Each that was has its number of rows in its name."""
    metrics = read_json(trained.metrics)
    written = texts(plots.slices(metrics, "Rent (euro)"))
    judged = {n: f["rows"] for n, f in metrics["slices"].items() if "rmse" in f}
    assert {f"{name} (n = {rows})" for name, rows in judged.items()} <= written
    assert not any(
        name in text for name in set(metrics["slices"]) - set(judged) for text in written
    )


def test_a_contract_without_slices_still_has_its_pictures(project: Project) -> None:
    """The picture of slices shows all rows only."""
    write_json(project.metrics, read_json(project.metrics) | {"slices": {}})
    assert len(plots.draw(project, load(project.contract))) == 4


def test_a_target_without_a_unit_is_shown_by_its_title(project: Project) -> None:
    """Nothing is written in its place."""
    project.contract.write_text(project.contract.read_text().replace("  unit: euro\n", ""))
    assert len(plots.draw(project, load(project.contract))) == 4


def test_the_picture_of_slices_does_not_claim_another_confidence(project: Project) -> None:
    """Its title names the confidence that the intervals were computed with, or none."""
    set_params(project, evaluate={"confidence": 0.8})
    evaluate.run(project)
    written = " ".join(texts(plots.slices(read_json(project.metrics), "Rent")))
    assert "RMSE by slice" in written and "95" not in written


def test_the_chosen_candidate_stands_out(trained: Project) -> None:
    """Its colour is orange; every candidate has its name."""
    figure = plots.candidates(read_json(trained.tuning), "Rent")
    assert {"mean", "single_feature", "elastic_net"} <= texts(figure)
    colours = {str(line.get_color()) for line in figure.axes[0].lines}
    assert plots.ORANGE in colours and plots.BLUE in colours


def test_a_picture_is_found_under_the_project_that_it_was_drawn_for(tmp_path: Path) -> None:
    """An empty folder has nothing to draw from, and gets no folder of pictures."""
    with pytest.raises(Exception, match="predictions.csv"):
        plots.draw(Project(tmp_path), None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
