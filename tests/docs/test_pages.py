"""README and the pages of the documentation do what they show."""

import hashlib
import os
import subprocess
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs import servers
from tests.docs.conftest import reader
from tests.docs.sessions import SERVES, Differs, run_page, steps
from tests.system.conftest import ROOT


def git(*command: str) -> str:
    """What git says of this tree; nothing where it cannot."""
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout


ALWAYS = ("README.md", "docs/how-to/own-data.md")
"""The first minutes of a reader, and those of a fork."""


def chosen(page: str, changed: Container[str], commit: str) -> bool:
    """Whether a page runs where not all do: the first ones, what changed, and an eighth of the rest."""
    eighth = hashlib.sha256(f"{commit} {page}".encode()).digest()[0] % 8 == 0
    return page in ALWAYS or page in changed or eighth


def pages() -> Iterator[Any]:
    """Pages with sessions; those that start a server take turns, since it listens on one port.

    All of them, or with ``PAGES=some`` those that are chosen.
    """
    changed = git("diff", "--name-only", "HEAD~5").split()
    commit = git("rev-parse", "HEAD")
    for path in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]):
        page = str(path.relative_to(ROOT))
        commands = [step.command for step in steps(path.read_text(encoding="utf-8"))]
        if not commands or "_build" in path.parts:
            continue
        if os.environ.get("PAGES") == "some" and not chosen(page, changed, commit):
            continue
        marks = [pytest.mark.xdist_group("server")] if any(map(SERVES.match, commands)) else []
        yield pytest.param(page, marks=marks)


@pytest.mark.docs
@pytest.mark.parametrize("page", list(pages()))
def test_a_page_does_what_it_shows(page: str, request: pytest.FixtureRequest) -> None:
    """In a fresh clone where it begins with `make train`, else in a trained one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    begins = next(steps(text)).command
    clone = request.getfixturevalue("fresh" if begins == "make train" else "trained")
    with servers.behind(page) as addresses:
        for shown, real in addresses.items():
            text = text.replace(shown, real)
        assert run_page(page, text, clone, reader(clone)) > 0


FAULTS = {
    "other output": ("$ echo one\ntwo", "printed something else"),
    "more output": ("$ printf 'one\\ntwo\\n'\none", "printed something else"),
    "no output": ("$ true\none", "printed something else"),
    "failure": ("$ false", "exit code 1"),
    "unknown command": ("$ mlreff", "exit code 127"),
    "exit of the shell": ("$ exit 3", "printed something else"),
}


@pytest.mark.parametrize("session, problem", FAULTS.values(), ids=FAULTS)
def test_a_page_that_shows_something_else_is_refused(
    session: str, problem: str, tmp_path: Path
) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    text = f"# A page\n\n```console\n$ echo first\nfirst\n{session}\n```\n"
    with pytest.raises(Differs, match=rf"(?s)page\.md:6: .*{problem}.*Mend the page"):
        run_page("page.md", text, folder, {"PATH": "/usr/bin:/bin"})


def test_a_session_keeps_its_folder_and_variables(tmp_path: Path) -> None:
    """Commands run in one shell; quotes and backslashes go on over lines."""
    folder = tmp_path / "clone"
    (folder / "inner").mkdir(parents=True)
    text = "```console\n$ cd inner && name='a\nb'\n$ echo \"$name\" \\\n    end; pwd\na\nb end\n…inner\n```\n"
    assert run_page("page.md", text, folder, {"PATH": "/usr/bin:/bin"}) == 2
