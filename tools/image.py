"""Build the image of the service with Docker or Podman, or start an image and prove that it serves.

`make image` calls ``build``, which hands other options to the engine. ``probe`` runs an image as it
is meant to be run: with a read-only file system, without capabilities, and not as root.
"""

import argparse
import hashlib
import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, NoReturn

PATIENCE = 60
"""Seconds in which a container must answer."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="build mlref:VERSION and mlref:latest")
    probing = verbs.add_parser("probe", help="start an image, ask it, stop it")
    probing.add_argument("image", nargs="?", default="mlref:latest")
    probing.add_argument("--key", default=secrets.token_urlsafe(32), help="instead of a new key")
    arguments, options = parser.parse_known_args()
    engine = find_engine()
    if arguments.verb == "build":
        build(engine, options)
    else:
        probe(engine, arguments.image, arguments.key)


def find_engine() -> str:
    """Give the first engine that answers; a command without its daemon does not count."""
    for name in ("docker", "podman"):
        try:
            subprocess.run([name, "info"], capture_output=True, check=True)
            return name
        except (OSError, subprocess.CalledProcessError):
            continue
    fail("Neither Docker nor Podman answers on this machine. `make serve` needs none of them.")


def build(engine: str, options: list[str]) -> None:
    """Build the service, labelled with version and commit."""
    from mlref import __version__
    from mlref.core.storage import Project
    from mlref.registry.register import commit

    command = [
        *(engine, "build", "--tag", f"mlref:{__version__}", "--tag", "mlref:latest"),
        *("--build-arg", f"VERSION={__version__}"),
        *("--build-arg", f"REVISION={commit(Project.here()) or 'unknown'}"),
        *(["--format", "docker"] if engine == "podman" else []),  # its own has no HEALTHCHECK
    ]
    if status := subprocess.call([*command, *options, "."]):
        sys.exit(status)
    print("Next: python tools/image.py probe")


def probe(engine: str, image: str, key: str) -> None:
    """Start an image, check all that its users rely on, and stop it."""
    check_door(engine, image)
    container = started(engine, image, f"predict:{hashlib.sha256(key.encode()).hexdigest()}")
    try:
        address = f"http://{said(engine, 'port', container, '8000/tcp')}"
        print(f"ready after {ready(engine, container, address):.1f} s")
        check_user(engine, container)
        check_health(engine, container)
        check_prediction(address, key)
        check_stop(engine, container)
    finally:
        subprocess.run([engine, "rm", "--force", container], capture_output=True)


def started(engine: str, image: str, keys: str) -> str:
    """Start a container as it is meant to be run; return its id."""
    return said(
        *(engine, "run", "--detach", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges", "--publish", "127.0.0.1::8000"),
        *("--env", f"MLREF_API_KEYS={keys}", image),
    )


def check_door(engine: str, image: str) -> None:
    """Without keys the service must not start, since it listens on all addresses of the container."""
    container = started(engine, image, "")
    try:
        command = [engine, "wait", container]
        code = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
        if code.strip() != "1":
            fail(f"The container ended with code {code.strip()} without keys, instead of 1.")
    except subprocess.TimeoutExpired:
        fail("The container starts without keys, so anybody could ask.")
    finally:
        subprocess.run([engine, "rm", "--force", container], capture_output=True)
    print("does not start without keys")


def ready(engine: str, container: str, address: str) -> float:
    """Wait until the service answers; return the seconds that it took."""
    start = time.monotonic()
    while time.monotonic() < start + PATIENCE:
        try:
            ask(f"{address}/health/ready")
            return time.monotonic() - start
        except OSError:
            time.sleep(0.1)
        if inspect(engine, container, ".State.Running") is False:
            subprocess.run([engine, "logs", container])
            fail("The container ended before it was ready.")
    fail(f"The container was not ready within {PATIENCE} s.")


def check_user(engine: str, container: str) -> None:
    """The service must not run as root."""
    user = said(engine, "exec", container, "id", "-u")
    if user == "0":
        fail("The container runs as root.")
    print(f"runs as user {user}")


def check_health(engine: str, container: str) -> None:
    """Run the image's own HEALTHCHECK, which an engine would run by the clock."""
    check = inspect(engine, container, ".Config.Healthcheck") or {"Test": ["NONE"]}
    _, *command = check["Test"]
    if not command:
        fail("The image has no HEALTHCHECK; Podman keeps it with `--format docker`.")
    if subprocess.run([engine, "exec", container, *command]).returncode:
        fail("The HEALTHCHECK fails in a container that is ready.")
    print("HEALTHCHECK passes")


def check_prediction(address: str, key: str) -> None:
    """Ask for a prediction of the contract's example; a request without the key must be refused."""
    try:
        ask(f"{address}/v1/model")
        fail("The service answers without a key.")
    except urllib.error.HTTPError as error:
        error.close()
    about = ask(f"{address}/v1/model", key=key)
    example = {column["name"]: column["example"] for column in about["contract"]["features"]}
    answer = ask(f"{address}/v1/predict", {"instances": [example]}, key)
    [one], model = answer["predictions"], answer["model"]
    if not one["lower"] <= one["value"] <= one["upper"]:
        fail(f"The prediction is not within its interval: {one}.")
    print(
        f"predicts {one['value']:.1f} [{one['lower']:.1f}, {one['upper']:.1f}]"
        f" by {model['name']} version {model['version']} ({model['digest'][:12]})"
    )


def check_stop(engine: str, container: str) -> None:
    """The service must end by itself on SIGTERM; an engine kills it after ten seconds."""
    start = time.monotonic()
    said(engine, "stop", container)
    code = inspect(engine, container, ".State.ExitCode")
    if code != 0:
        fail(f"The container ended with code {code} on SIGTERM; 137 means that it was killed.")
    print(f"stopped in {time.monotonic() - start:.1f} s")


def ask(url: str, body: object = None, key: str = "") -> Any:
    """Send one request; return the decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def inspect(engine: str, container: str, field: str) -> Any:
    """Return what the engine knows about a container."""
    return json.loads(said(engine, "inspect", "--format", f"{{{{json {field}}}}}", container))


def said(*command: str) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        fail(f"`{' '.join(command[:2])}` failed.")
    return done.stdout.strip()


def fail(sentence: str) -> NoReturn:
    """End with a sentence."""
    sys.exit(f"Error: {sentence}")


if __name__ == "__main__":
    main()
