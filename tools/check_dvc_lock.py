"""Check that dvc.lock belongs to this code, these params and these committed reports.

DVC itself is the judge; what it says about outputs that are merely absent, as in a fresh clone, is left out.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def main() -> int:
    """Print every reason why dvc.lock is stale and return 1 when there is one."""
    if not Path("dvc.yaml").exists():
        return 0
    lock = Path("dvc.lock")
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    made = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    committed = set(output("git", "ls-files").splitlines())
    status = json.loads(output("dvc", "status", "--json"))
    unknown = [f"{stage}: has not run yet" for stage in status if stage not in stages]
    problems = [*unknown, *stale(status, set(made), committed), *disagreements(stages, made)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("dvc.lock is stale: run `make train` and commit what it changed.", file=sys.stderr)
    return bool(problems)


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def stale(status: dict[str, Any], made: set[str], committed: set[str]) -> Iterator[str]:
    """Yield what DVC found changed, except outputs and what was made from them."""
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):
                yield f"{stage}: {change}"
                continue
            for path, state in change.get("changed deps", {}).items():
                if path not in made:
                    yield f"{stage}: {path}: {state}"
            for path, state in change.get("changed outs", {}).items():
                if path in committed and state == "modified":
                    yield f"{stage}: {path}: not the file that the stage wrote"


def disagreements(stages: dict[str, Any], made: dict[str, str]) -> Iterator[str]:
    """Yield the stages that ran on another version of a file than the last that was made."""
    for name, stage in stages.items():
        for dep in stage.get("deps", []):
            if dep["md5"] != made.get(dep["path"], dep["md5"]):
                yield f"{name}: did not run on the latest {dep['path']}"


if __name__ == "__main__":
    sys.exit(main())
