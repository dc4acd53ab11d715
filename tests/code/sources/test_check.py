"""What `mlref contract check` says beyond mistakes."""

import pytest

from mlref.core.contract import load
from mlref.core.storage import Project
from mlref.sources.check import small_slices
from tests.projects import set_params


@pytest.mark.parametrize(("least", "named"), [(2, 0), (1000, 6)])
def test_slices_that_are_too_small_to_judge_are_named(
    project: Project, least: int, named: int
) -> None:
    """Each value of a category and each part between edges; nothing before there is a test set."""
    set_params(project, evaluate={"smallest_slice": least})
    contract = load(project.contract)
    said = [*small_slices(project, contract)]
    assert len(said) == named
    assert all(line.endswith(f"too few to judge, {least} are needed.") for line in said)
    project.contract.write_text(project.contract.read_text().replace("name: rooms", "name: halls"))
    assert [*small_slices(project, load(project.contract))] == []
    project.holdout.unlink()
    assert [*small_slices(project, contract)] == []
