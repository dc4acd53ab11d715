"""The example tells by rows what it should not, and by groups what is so."""

from pathlib import Path

import pytest
from examples import splitting

from mlref.core.storage import Project


def test_by_rows_groups_and_days_flatter_the_model(
    trained: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """New rows are the truth; by groups the error holds it, by time it comes nearer."""
    monkeypatch.setitem(splitting.MODELS, "group", ("random_forest", {"n_estimators": 5}))
    monkeypatch.chdir(trained.root)
    kept, found = tmp_path / "picture.png", {}
    honest = splitting.measure
    monkeypatch.setattr(
        splitting, "measure", lambda contract: found.setdefault("it", honest(contract, draws=2))
    )
    monkeypatch.setattr("sys.argv", ["splitting.py", "--picture", str(kept)])
    assert splitting.main() == 0
    assert kept.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert printed.startswith("RMSE of 90 groups of 5") and printed.count("draw 2") == 2
    for group in found["it"]["group"]:
        new = group["on new rows"]
        assert group["by rows"]["upper"] < min(group["by group"]["lower"], new["lower"])
        assert group["by group"]["lower"] < new["upper"]
        assert new["lower"] < group["by group"]["upper"]
    for time in found["it"]["time"]:
        assert time["by rows"]["value"] < time["by time"]["value"] < time["on new rows"]["value"]
