"""Write one hash-pinned lock per extra of pyproject.toml: `make lock`."""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path


def main() -> int:
    """Resolve the dev extra, the superset, first; the others may only repeat its versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions allowed")
    upgrade = parser.parse_args().upgrade
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in sorted(project["optional-dependencies"], key=lambda name: (name != "dev", name)):
        print(f"requirements/{extra}.txt", flush=True)
        command = [
            *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
            *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"),
            *("--custom-compile-command", "make lock", "--extra", extra),
            *("pyproject.toml", "--output-file", f"requirements/{extra}.txt"),
        ]
        if extra != "dev":
            command += ["--constraints", "requirements/dev.txt"]
        elif upgrade:
            command += ["--upgrade"]
        if status := subprocess.call(command):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
