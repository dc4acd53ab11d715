"""Nothing phones home: the switches are set before anything that asks for them is imported."""

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes import write_bundle

SWITCHES = (
    "MLFLOW_DISABLE_TELEMETRY", "GX_ANALYTICS_ENABLED", "DVC_NO_ANALYTICS", "ORT_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
)  # fmt: skip


def python(code: str, **changed: str) -> str:
    """Run code in a process that was told nothing but these variables."""
    told = {key: value for key, value in os.environ.items() if key not in SWITCHES}
    done = subprocess.run(
        [sys.executable, "-c", code], env=told | changed, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_the_package_turns_telemetry_off_unless_the_user_has_set_the_switch() -> None:
    code = f"import mlref, os; print(*(os.environ[name] for name in {SWITCHES!r}))"
    assert set(python(code).split()) <= {"1", "true", "false"}
    assert python(code, **dict.fromkeys(SWITCHES, "mine")).split() == ["mine"] * len(SWITCHES)


def test_a_prediction_leaves_nothing_at_home(tmp_path: Path) -> None:
    """ONNX Runtime from 1.29 on keeps a device's id and its events there when it reports its use."""
    home = tmp_path / "home"
    home.mkdir()
    write_bundle(tmp_path / "bundle")
    code = (
        "import pathlib, mlref.bundle.predictor as p\n"
        f"p.Predictor(pathlib.Path({str(tmp_path / 'bundle')!r}))"
    )
    python(code, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    assert list(home.rglob("*")) == []
