"""A classifier tells rows apart by what no single column shows."""

import numpy as np
import pytest

from mlref.monitoring import explain
from mlref.monitoring.explain import ends, tell
from mlref.prediction_log.reader import Chunk
from tests.code.monitoring.conftest import quiet_rows
from tests.fakes import CONTRACT


@pytest.mark.parametrize(
    ("seed", "together", "least", "most"), [(1, 0, 0.35, 0.6), (2, 1, 0.75, 1)]
)
def test_only_a_difference_is_told(seed: int, together: int, least: float, most: float) -> None:
    before, after = quiet_rows(200, seed), quiet_rows(200, seed + 10)
    if together:  # area and rooms are as ever, each by itself
        after[:, :2] = np.sort(after[:, :2], axis=0)
    auc, _, alone = tell(CONTRACT, before, after, seed=0)
    assert least < auc < most
    assert alone < 0.65


def test_a_column_that_moved_is_named() -> None:
    after = quiet_rows(100, 3)
    after[:, 0] += 100
    _, column, alone = tell(CONTRACT, quiet_rows(100, 4), after, seed=0)
    assert (column, alone > 0.65) == ("area", True)
    area = CONTRACT.features[0].model_copy(update={"type": "date"})  # time goes on, always
    dated = CONTRACT.model_copy(update={"features": (area, *CONTRACT.features[1:])})
    assert tell(dated, quiet_rows(100, 4), after, seed=0)[1] != "area"


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_the_first_and_the_last_rows_do_not_overlap(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "SAMPLE", 10)
    cells = np.arange(count, dtype=float)[:, None]
    nothing = np.empty(3)
    parts = [cells[at : at + 11] for at in range(0, count, 11)]
    chunks = (Chunk((), nothing.astype(int), part, part > 0, *[nothing] * 3) for part in parts)
    first, last = (part.ravel().tolist() for part in ends(chunks, 1))
    half = min(10, count // 2)
    assert (first, last) == (list(range(half)), list(range(count - half, count)))
