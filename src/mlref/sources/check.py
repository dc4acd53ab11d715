"""What a sound contract still asks for, once there are rows: slices that are too small to judge."""

from collections.abc import Iterator

from mlref.core import settings
from mlref.core.contract import Contract
from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.data.tables import encode, read_stage
from mlref.evaluation.slices import slices


def small_slices(project: Project, contract: Contract) -> Iterator[str]:
    """A sentence for each slice with too few rows of the test set, where there is one of this contract."""
    if not contract.slices or not project.holdout.is_file():
        return
    least = settings.load(project.params).evaluate.smallest_slice
    try:
        features, _ = encode(contract, read_stage(contract, project.holdout, "split"))
    except MlrefError:  # of an earlier contract: the stages will say so
        return
    for name, rows in slices(contract, features):
        if rows.sum() < least:
            found = f"The slice {name} has {rows.sum()} rows in the test set"
            yield f"{found}: too few to judge, {least} are needed."
