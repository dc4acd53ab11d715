"""Check, offline, that the locks in requirements/ are what pyproject.toml asks for.

There is one lock per extra and none without an extra, so a fork that drops a plane deletes the two together.
The locks of extras that take in others, dev and docs, may go on holding its packages.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"^(?P<pin>\w\S*==.+?)(?: \\)?$\n(?P<details>(?:^[ #].*\n?)*)", re.MULTILINE)
Pins = dict[Requirement, str]  # each with the lines below it: its hashes and who asked for it
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("linux", "darwin", "win32")


def main() -> int:
    """Print every disagreement and return 1 when there is one."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].keys()
    locks = {path.stem: pins(path) for path in Path("requirements").glob("*.txt")}
    problems = [f"the extra {name} has no lock" for name in sorted(extras - locks.keys())]
    problems += [f"requirements/{name}.txt has no extra" for name in sorted(locks.keys() - extras)]
    for name in sorted(extras & locks.keys()):
        wanted = list(requirements(project, name))
        own = {Requirement(line).name for line in project["optional-dependencies"][name]}
        found = check(wanted, locks[name], locks.get("dev"), more=project["name"] in own)
        problems += [f"requirements/{name}.txt: {problem}" for problem in found]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("The locks are stale: run `make lock`.", file=sys.stderr)
    return bool(problems)


def requirements(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """Yield what the project with an extra needs; an extra may name others, as `mlref[train]`."""
    for line in project["dependencies"] + project["optional-dependencies"].get(extra, []):
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) != project["name"]:
            yield requirement
        for other in requirement.extras if requirement.name == project["name"] else ():
            yield from requirements(project, other)


def pins(lock: Path) -> Pins:
    """Return the pins of a lock."""
    text = lock.read_text(encoding="utf-8")
    return {Requirement(match["pin"]): match["details"] for match in PIN.finditer(text)}


def check(wanted: list[Requirement], lock: Pins, dev: Pins | None, more: bool) -> Iterator[str]:
    """Yield what is wrong with a lock, for every Python and platform; it may hold ``more`` than is wanted."""
    for requirement in wanted:
        for python, platform in product(PYTHONS, PLATFORMS):
            if applies(requirement, python, platform) and not any(
                satisfies(pin, requirement) and applies(pin, python, platform) for pin in lock
            ):
                yield f"nothing satisfies {requirement} on Python {python}, {platform}"
                break
    yield from (f"{pin} has no hash" for pin, details in lock.items() if "--hash=" not in details)
    if not more:
        names = {canonicalize_name(requirement.name) for requirement in wanted}
        for pin, details in lock.items():
            if "(pyproject.toml)" in details and pin.name not in names:
                yield f"{pin} is no longer asked for"
    if dev is not None:
        versions = {(pin.name, pin.specifier) for pin in dev}
        for pin in lock:
            if (pin.name, pin.specifier) not in versions:
                yield f"{pin} is not the version in requirements/dev.txt"


def applies(requirement: Requirement, python: str, platform: str) -> bool:
    """Say whether a marker, if any, holds on a Python and a platform."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def satisfies(pin: Requirement, requirement: Requirement) -> bool:
    """Say whether a pin is of the required package, in a version that is allowed."""
    version = str(pin.specifier).removeprefix("==")
    return pin.name == canonicalize_name(requirement.name) and requirement.specifier.contains(
        version, prereleases=True
    )


if __name__ == "__main__":
    sys.exit(main())
