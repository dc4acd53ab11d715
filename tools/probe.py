"""Start an image of the service as it is meant to run, check what its users rely on, and stop it.

``python tools/probe.py docker mlref:latest``: read-only file system, no capabilities, not root.
"""

import hashlib
import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE = 60
"""Seconds in which a container must answer."""


def main() -> int:
    """Run every check; the first that fails ends it with a sentence."""
    engine, image = sys.argv[1:]
    key = secrets.token_urlsafe(32)
    closed = start(engine, image, "")
    container = start(engine, image, f"predict:{hashlib.sha256(key.encode()).hexdigest()}")
    try:
        check(run(engine, "wait", closed) == "1", "does not start without keys")
        address = f"http://{run(engine, 'port', container, '8000/tcp')}"
        check(is_ready(address), "is ready")
        user = run(engine, "exec", container, "id", "-u")
        check(user != "0", f"runs as user {user}, who is not root")
        health = json.loads(inspect(engine, container, "json .Config.Healthcheck"))
        run(engine, "exec", container, *health["Test"][1:])
        check(True, "passes its HEALTHCHECK")
        check(is_closed(address), "answers nobody without a key")
        features = ask(f"{address}/v1/model", key)["contract"]["features"]
        example = {column["name"]: column["example"] for column in features}
        answer = ask(f"{address}/v1/predict", key, {"instances": [example]})
        [one] = answer["predictions"]
        check(one["lower"] <= one["value"] <= one["upper"], f"predicts {one['value']:.4g}")
        run(engine, "stop", container)
        check(inspect(engine, container, ".State.ExitCode") == "0", "stops when told to")
    finally:
        subprocess.run([engine, "rm", "--force", closed, container], capture_output=True)
    return 0


def start(engine: str, image: str, keys: str) -> str:
    """Start a container; return its id."""
    return run(
        *(engine, "run", "--detach", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges", "--publish", "127.0.0.1::8000"),
        *("--env", f"MLREF_API_KEYS={keys}", image),
    )


def is_ready(address: str) -> bool:
    """Wait until the service answers."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            ask(f"{address}/health/ready")
            return True
        except OSError:
            time.sleep(0.1)
    return False


def is_closed(address: str) -> bool:
    """Whether a request without a key is refused."""
    try:
        ask(f"{address}/v1/model")
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 401
    return False


def ask(url: str, key: str = "", body: object = None) -> Any:
    """Send one request; return the decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def inspect(engine: str, container: str, field: str) -> str:
    """Return what the engine knows about a container."""
    return run(engine, "inspect", "--format", f"{{{{{field}}}}}", container)


def run(*command: str) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    check(done.returncode == 0, "", f"`{' '.join(command[:3])}` failed.")
    return done.stdout.strip()


def check(holds: bool, passed: str, failed: str = "") -> None:
    """Print what holds, or end with what does not."""
    if not holds:
        sys.exit(f"Error: {failed or f'It is not so that the image {passed}.'}")
    if passed:
        print(passed)


if __name__ == "__main__":
    sys.exit(main())
