"""The image, as far as it can be judged without an engine; tools/image.py judges a running one."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from packaging.requirements import Requirement

import mlref
from mlref.serving.keys import new
from tests.fakes import write_store
from tests.system.test_service import service

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def stages(text: str) -> dict[str, list[str]]:
    """Name and instructions of each stage, in order; continued lines are joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("FROM "):
            found[line.split()[-1]] = []
        elif found:
            found[list(found)[-1]].append(line)
    return found


def runs(stage: str) -> list[str]:
    """The shell commands of a stage."""
    return [line[4:] for line in stages(DOCKERFILE)[stage] if line.startswith("RUN ")]


def lint(text: str) -> subprocess.CompletedProcess[str]:
    """Judge a Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([hadolint, "-"], input=text, capture_output=True, text=True)


def test_the_dockerfile_is_clean() -> None:
    """hadolint finds nothing."""
    assert lint(DOCKERFILE).stdout == ""


def test_a_faulty_dockerfile_is_refused() -> None:
    """A service that runs as root is found, so hadolint is not asleep."""
    done = lint(DOCKERFILE.replace("USER 10001:10001", "USER root"))
    assert (done.returncode, "DL3002" in done.stdout) == (1, True)


def unchecked(text: str) -> list[str]:
    """Installations of packages whose hashes nobody compares."""
    commands = re.split(r"&&|;", " ; ".join(sum(stages(text).values(), [])))
    installs = [c.strip() for c in commands if re.search(r"\b(pip install|uv build) ", c)]
    assert len(installs) >= 5
    return [c for c in installs if "--require-hashes" not in c and "--no-deps" not in c]


def test_every_package_is_compared_with_its_hash() -> None:
    """From pip to the build of the wheel; mlref's own wheel brings no packages."""
    assert unchecked(DOCKERFILE) == []


def test_an_unchecked_package_is_found() -> None:
    """The check above sees an installation without hashes."""
    text = DOCKERFILE.replace("--require-hashes --requirement serve.txt", "--requirement serve.txt")
    assert unchecked(text) == ["RUN uv pip install --requirement serve.txt"]


def test_the_last_stage_is_the_service_with_its_own_lock() -> None:
    """What `docker build .` makes; of the packages, it copies those of requirements/serve.txt alone."""
    found = stages(DOCKERFILE)
    *_, last = found
    copied = re.findall(r"COPY --from=(\S+)", "\n".join(found[last]))
    assert (last, copied) == ("service", ["service-packages", "mlref", "champion"])
    locks = re.findall(r"--requirement (\S+)", "\n".join(runs("service-packages")))
    assert locks == ["serve.txt"]
    assert "COPY requirements/serve.txt ." in found["service-packages"]


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


def test_only_what_is_built_from_reaches_the_build(tmp_path: Path) -> None:
    """Judged by Docker's own reading of .dockerignore: no history, data, secret or pickled model."""
    for name in NEEDED | PRIVATE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = exclude_paths(str(tmp_path), [line for line in lines if not line.startswith("#")])
    assert {name for name in sent if (tmp_path / name).is_file()} == NEEDED
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    folders = {source.split("/")[0] for line in copied for source in line.split()} - {"."}
    assert folders and folders <= {name.split("/")[0] for name in NEEDED}


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the Dockerfile here, as it stands there."""
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)


def test_without_a_champion_the_build_says_what_to_do(tmp_path: Path) -> None:
    """And goes on where there is one."""
    check = runs("champion")[0]
    refused = shell(check, tmp_path)
    assert (refused.returncode, "run 'make train' first" in refused.stderr) == (1, True)
    write_store(tmp_path / "models" / "store")
    assert shell(check, tmp_path).returncode == 0


def test_the_image_takes_the_champion_alone(tmp_path: Path) -> None:
    """Not the challenger, no pickled model; readable for another user whatever the umask was."""
    store = tmp_path / "store"
    digest = write_store(store)
    write_store(store, base=5.0, version=2, alias="challenger")
    (store / f"{digest}.skops").touch()
    for path in [store, *store.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    taken = tmp_path / "taken"
    command = runs("champion")[1]
    assert command.count(" /store") == 3
    assert shell(command.replace(" /store", f" {taken}"), store).returncode == 0
    assert {path.name for path in taken.iterdir()} == {"champion", digest, f"{digest}.json"}
    assert all(path.stat().st_mode & 0o004 for path in taken.rglob("*"))


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on a free port that answers every request so; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_ready_from_not_ready(status: int, healthy: bool) -> None:
    """The very command, against a server."""
    [line] = [line for line in stages(DOCKERFILE)["service"] if line.startswith("HEALTHCHECK")]
    command = json.loads(line.split("CMD ")[1])
    with answering(status) as port:
        command[-1] = command[-1].replace("/8000", f"/{port}")
        assert (subprocess.run(command, timeout=30).returncode == 0) == healthy


def test_the_list_of_components_is_the_lock_and_mlref(tmp_path: Path) -> None:
    """As the image's Python installs it: one numpy, nothing for Windows; from the lock, not from here."""
    for name in ("Dockerfile", "pyproject.toml", "requirements/serve.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "requirements/serve.txt").open("a") as lock:
        lock.write(f"planted==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via fastapi\n")
    command = [sys.executable, ROOT / "tools" / "sbom.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    bom = json.loads((tmp_path / "dist" / "sbom.cdx.json").read_text())
    components = [(c["name"], c["version"]) for c in bom["components"]]

    python = {"python_full_version": "3.12.0", "python_version": "3.12", "sys_platform": "linux"}
    lines = re.findall(r"^(\w.*?) \\$", (ROOT / "requirements/serve.txt").read_text(), re.MULTILINE)
    pins = [Requirement(line) for line in lines]
    held = [p for p in pins if p.marker is None or p.marker.evaluate(python)]
    assert len(held) < len(pins)
    assert sorted(components) == sorted(
        [("planted", "1.0"), *((pin.name, str(pin.specifier)[2:]) for pin in held)]
    )
    assert bom["metadata"]["component"]["version"] == mlref.__version__
    assert not {"serialNumber", "timestamp"} & (bom.keys() | bom["metadata"].keys()), "repeatable"


ENGINE = """\
#!/bin/sh
case "$*" in
  info) [ "${0##*/}" = "$ENGINE" ] ;;
  build*) echo "$ENGINE $*" ;;
  port*) echo "$ADDRESS" ;;
  wait*) echo "$WITHOUT_KEYS" ;;
  *Running*) echo "$RUNNING" ;;
  *Healthcheck*) echo "$HEALTHCHECK" ;;
  *ExitCode*) echo "$EXIT_CODE" ;;
  *"id -u") echo "$RUNS_AS" ;;
  exec*) shift 2; exec "$@" ;;
esac
"""
"""An engine whose one container is whatever listens at $ADDRESS."""
GOOD = {
    "ENGINE": "docker",
    "ADDRESS": "127.0.0.1:1",
    "RUNNING": "true",
    "HEALTHCHECK": '{"Test": ["CMD", "true"]}',
    "EXIT_CODE": "0",
    "RUNS_AS": "10001",
    "WITHOUT_KEYS": "1",
}
KEY, ENTRY = new("predict")


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder with a fake Docker and a fake Podman, one of which answers."""
    folder = tmp_path / "engines"
    folder.mkdir()
    for name in ("docker", "podman"):
        (folder / name).write_text(ENGINE)
        (folder / name).chmod(0o755)
    return folder


def image(engines: Path, *arguments: str, **says: str) -> tuple[int, str]:
    """Run tools/image.py with engines that say so; exit code and all that is printed."""
    path = f"{engines}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "tools/image.py", *arguments],
        cwd=ROOT, env={**os.environ, **GOOD, **says, "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_the_engine_that_answers_builds(engines: Path) -> None:
    """Docker's command without its daemon does not count; Podman is told to keep the HEALTHCHECK."""
    code, said = image(engines, "build", "--target", "pipeline", ENGINE="podman")
    assert code == 0
    assert f"podman build --tag mlref:{mlref.__version__} --tag mlref:latest" in said
    assert "--format docker --target pipeline ." in said


def test_without_an_engine_there_is_a_sentence(engines: Path) -> None:
    """No trace."""
    code, said = image(engines, "build", ENGINE="none")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("Error: Neither Docker nor Podman answers")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real service answers."""
    store = tmp_path_factory.mktemp("image") / "store"
    write_store(store)
    with service({**os.environ, "MLREF_STORE": str(store), "MLREF_API_KEYS": ENTRY}) as (_, url):
        yield url.removeprefix("http://")


def test_a_good_image_passes(engines: Path, address: str) -> None:
    """Each thing that was checked is told, with the prediction of a real service."""
    code, said = image(engines, "probe", "--key", KEY, ADDRESS=address)
    door, ready, user, health, prediction, stopped = said.splitlines()
    assert (code, user, health) == (0, "runs as user 10001", "HEALTHCHECK passes")
    assert door == "does not start without keys"
    assert ready.startswith("ready after") and stopped.startswith("stopped in")
    assert re.match(r"predicts \S+ \[\S+, \S+\] by rents version 1 \([0-9a-f]{12}\)", prediction)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"RUNS_AS": "0"}, "runs as root"),
        ({"HEALTHCHECK": "null"}, "has no HEALTHCHECK"),
        ({"HEALTHCHECK": '{"Test": ["NONE"]}'}, "has no HEALTHCHECK"),
        ({"HEALTHCHECK": '{"Test": ["CMD", "false"]}'}, "The HEALTHCHECK fails"),
        ({"EXIT_CODE": "137"}, "ended with code 137 on SIGTERM"),
        ({"WITHOUT_KEYS": "0"}, "ended with code 0 without keys, instead of 1"),
        ({"ADDRESS": "127.0.0.1:1", "RUNNING": "false"}, "ended before it was ready"),
    ],
)
def test_a_bad_image_is_refused(
    engines: Path, address: str, says: dict[str, str], reason: str
) -> None:
    """One planted fault each."""
    code, said = image(engines, "probe", "--key", KEY, **{"ADDRESS": address} | says)
    assert code == 1
    assert reason in said.splitlines()[-1]


def test_an_image_that_asks_for_no_key_is_refused(engines: Path, tmp_path: Path) -> None:
    """Whoever reaches its port could ask it."""
    write_store(tmp_path / "store")
    with service({**os.environ, "MLREF_STORE": str(tmp_path / "store")}) as (_, url):
        code, said = image(engines, "probe", ADDRESS=url.removeprefix("http://"))
    assert (code, said.splitlines()[-1]) == (1, "Error: The service answers without a key.")


def test_the_image_listens_to_all_and_so_needs_keys() -> None:
    """Its command does not say `--insecure`, and no key is in the image."""
    command = [line for line in stages(DOCKERFILE)["service"] if line.startswith("CMD ")]
    assert command == ['CMD ["serve", "--host", "0.0.0.0"]']
    assert "MLREF_API_KEYS" not in "".join(sum(stages(DOCKERFILE).values(), []))
