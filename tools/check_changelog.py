"""Check CHANGELOG.md: the form of Keep a Changelog, and an entry for the version of the package.

Only the newest entry may be without a date: ``[1.2.0] - Unreleased``. An ``[Unreleased]`` may stand above it.
Where the last commit carries a release tag, the tag is the version of that commit, and its entry has a date.
"""

import datetime
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

CHANGELOG, PACKAGE = "CHANGELOG.md", "src/mlref/__init__.py"
ENTRY = re.compile(r"\[(?P<version>\S+)\] - (?P<date>\d{4}-\d\d-\d\d|Unreleased)")
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def main() -> int:
    """Print every mistake and return 1 when there is one."""
    changelog, package = (Path(name).read_text(encoding="utf-8") for name in (CHANGELOG, PACKAGE))
    problems = list(check(changelog, package))
    for tag in output("git", "tag", "--points-at", "HEAD", "--list", "v*").split():
        changelog, package = (
            output("git", "show", f"{tag}:{name}") for name in (CHANGELOG, PACKAGE)
        )
        problems += check(changelog, package, tag)
    for problem in problems:
        print(f"{CHANGELOG}: {problem}", file=sys.stderr)
    return bool(problems)


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def check(changelog: str, package: str, tag: str | None = None) -> Iterator[str]:
    """Yield what is wrong with a changelog, given the text of the module that holds the version.

    With a tag, also what is wrong with releasing this version under it.
    """
    version = re.findall(r'^__version__ = "(.*)"$', package, re.MULTILINE)[0]
    headings = re.findall(r"^(#+) (.*?) *$", changelog, re.MULTILINE)
    if [title for level, title in headings if level == "#"] != ["Changelog"]:
        yield "its one heading of the first level is not # Changelog"
    entries: list[tuple[Version, str]] = []
    if ("##", "[Unreleased]") in headings[:2]:
        headings.remove(("##", "[Unreleased]"))
    for level, title in headings:
        if level == "##":
            try:
                entries.append(entry(title))
            except ValueError as error:
                yield f"## {title}: {error}"
        elif level == "###" and title not in KINDS:
            yield f"### {title}: not one of {', '.join(KINDS)}"
    for (newer, until), (older, since) in zip(entries, entries[1:], strict=False):
        if not (newer > older and until >= since):  # "Unreleased" sorts after every date
            yield f"{newer} ({until}) stands above {older} ({since}): newest first"
        if since == "Unreleased":
            yield f"{older}: only the newest entry may be without a date"
    dates = {str(name): date for name, date in entries}
    if version not in dates:
        yield f"has no entry for {version}, the version in {PACKAGE}"
    if tag is not None:
        if tag != f"v{version}":
            yield f"the tag {tag} is on version {version}; it would be v{version}"
        if dates.get(version) == "Unreleased":
            yield f"{version} is tagged, but its entry has no date"


def entry(title: str) -> tuple[Version, str]:
    """Return the version and the date of a heading such as ``[1.2.0] - 2026-11-23``."""
    match = ENTRY.fullmatch(title)
    if match is None:
        raise ValueError("not of the form [1.2.0] - 2026-11-23")
    if match["date"] != "Unreleased":
        datetime.date.fromisoformat(match["date"])
    return Version(match["version"]), match["date"]


if __name__ == "__main__":
    sys.exit(main())
