"""The image, as far as it can be judged without an engine; `make probe` judges a running one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

import mlref
from tests.fakes import write_store

ROOT = Path(__file__).parents[2]
DOCKERFILE = re.sub(r"(?m)\\\n\s*|^#.*\n", "", (ROOT / "Dockerfile").read_text())
STAGES = {text.split("\n")[0].split()[-1]: text for text in DOCKERFILE.split("\nFROM ")[1:]}


def commands(stage: str) -> list[str]:
    """The shell commands of a stage of the Dockerfile."""
    return re.findall(r"^RUN (.*)$", STAGES[stage], re.MULTILINE)


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the Dockerfile here, as it stands there."""
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)


def test_every_package_is_compared_with_its_hash() -> None:
    """Except the project's own wheel, which brings no packages."""
    installs = re.findall(r"\b(?:pip install|uv build) [^&;\n]*", DOCKERFILE)
    assert len(installs) >= 5
    assert all("--require-hashes" in one or "--no-deps" in one for one in installs)


def test_the_service_listens_to_all_addresses_and_so_needs_keys() -> None:
    *_, last = STAGES
    assert last == "service"
    assert 'CMD ["serve", "--host", "0.0.0.0"]' in STAGES[last]
    assert "MLREF_API_KEYS" not in DOCKERFILE


NEEDED = {
    *("LICENSE", "README.md", "pyproject.toml", "requirements/serve.txt", "src/mlref/cli.py"),
    *("models/store/champion", "models/store/d1.json", "models/store/d1/model.onnx"),
}
PRIVATE = {
    *(".env", ".git/config", ".venv/bin/python", ".dvc/config.local", "id_rsa", "tests/secret.pem"),
    *("data/raw/dataset.csv", "data/source/patients.csv", "mlflow.db", "mlartifacts/1/model"),
    *("models/model.skops", "models/bundle/model.onnx", "models/store/d1.skops"),
    *("reports/metrics.json", "src/mlref/__pycache__/cli.pyc"),
}


def test_no_history_data_secret_or_pickled_model_reaches_the_build(tmp_path: Path) -> None:
    """Judged by Docker's own reading of .dockerignore."""
    for name in NEEDED | PRIVATE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = exclude_paths(str(tmp_path), [line for line in lines if not line.startswith("#")])
    assert {name for name in sent if (tmp_path / name).is_file()} == NEEDED


def test_without_a_champion_the_build_says_what_to_do(tmp_path: Path) -> None:
    check = commands("champion")[0]
    refused = shell(check, tmp_path)
    assert (refused.returncode, "run 'make train' first" in refused.stderr) == (1, True)
    write_store(tmp_path / "models" / "store")
    assert shell(check, tmp_path).returncode == 0


def test_the_image_takes_the_champion_alone(tmp_path: Path) -> None:
    """Not the challenger, no pickled model; readable for another user whatever the umask was."""
    store, taken = tmp_path / "store", tmp_path / "taken"
    digest = write_store(store)
    write_store(store, base=5.0, version=2, alias="challenger")
    (store / f"{digest}.skops").touch()
    for path in [store, *store.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    command = commands("champion")[1].replace(" /store", f" {taken}")
    assert shell(command, store).returncode == 0
    assert {path.name for path in taken.iterdir()} == {"champion", digest, f"{digest}.json"}
    assert all(path.stat().st_mode & 0o004 for path in taken.rglob("*"))


def test_the_list_of_components_is_the_lock_as_the_image_installs_it(tmp_path: Path) -> None:
    """One version of each package, nothing for Windows, the same bytes each time."""
    for name in ("Dockerfile", "requirements/serve.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "requirements/serve.txt").open("a") as lock:
        lock.write("planted==1.0 \\\n")
        lock.write("elsewhere==1.0 ; sys_platform == 'win32' \\\n")
    subprocess.run([sys.executable, ROOT / "tools" / "sbom.py"], cwd=tmp_path, check=True)
    bom = json.loads((tmp_path / "dist" / "sbom.cdx.json").read_text())
    names = [component["name"] for component in bom["components"]]
    assert len(names) == len(set(names)) and {"planted", "numpy", "fastapi"} <= set(names)
    assert "elsewhere" not in names
    assert bom["metadata"]["component"]["version"] == mlref.__version__
    assert not {"serialNumber", "timestamp"} & (bom.keys() | bom["metadata"].keys())


ENGINE = """\
#!/bin/sh
case "$*" in
  run*) echo container ;;
  wait*) echo "${WITHOUT_KEYS:-1}" ;;
  port*) echo "$ADDRESS" ;;
  *"id -u") echo "${RUNS_AS:-10001}" ;;
  *Healthcheck*) echo '{"Test": ["CMD", "'"${HEALTHCHECK:-true}"'"]}' ;;
  exec*) shift 2; exec "$@" ;;
  *ExitCode*) echo "${EXIT_CODE:-0}" ;;
esac
"""
"""An engine whose one container is whatever listens at $ADDRESS."""


@pytest.mark.xdist_group("service")
@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"WITHOUT_KEYS": "0"}, "does not start without keys"),
        ({"RUNS_AS": "0"}, "who is not root"),
        ({"HEALTHCHECK": "false"}, "exec"),
        ({}, "answers nobody without a key"),
    ],
)
def test_a_bad_image_is_refused(
    open_service: str, says: dict[str, str], reason: str, tmp_path: Path
) -> None:
    engine = tmp_path / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "probe.py", engine, "mlref:latest"],
        env={**os.environ, "ADDRESS": open_service.removeprefix("http://"), **says},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and reason in done.stderr
