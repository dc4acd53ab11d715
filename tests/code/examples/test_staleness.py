"""The example's curves rise with age, and sooner where the relation drifts faster."""

from pathlib import Path

import numpy as np
import pytest
from examples import staleness

from mlref.core.storage import Project


def test_a_model_grows_old_and_sooner_where_the_world_moves_faster(
    trained: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(trained.root)
    monkeypatch.setattr(staleness, "encode", lambda *_: tables())
    kept = tmp_path / "picture.png"
    monkeypatch.setattr("sys.argv", ["staleness.py", "--seeds", "6", "--picture", str(kept)])
    assert staleness.main() == 0
    assert kept.read_bytes().startswith(b"\x89PNG")
    rows = capsys.readouterr().out.splitlines()[1:]
    days = [int(row.partition(" days")[0].split()[-1]) for row in rows]
    assert 0 < days[0] < days[1] < days[2] < staleness.DAYS


def test_without_drift_a_model_stays_as_good() -> None:
    curve = staleness.ages(staleness.table(*tables()), half_life=1e9, seed=1)
    assert np.ptp(curve) < 1e-3 and curve[0] > 1, "few rows leave it a little worse than the truth"


def tables() -> tuple[np.ndarray, np.ndarray]:
    """A linear relation with as much noise as signal."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(300, 5))
    return features, features.sum(axis=1) + draw.normal(0, 5**0.5, 300)
