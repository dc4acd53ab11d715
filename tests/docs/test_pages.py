"""README and the pages of the documentation do what they show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs import servers
from tests.docs.conftest import ready
from tests.docs.sessions import SERVES, Differs, run_page, steps
from tests.system.conftest import ROOT


def pages() -> Iterator[Any]:
    """Pages with sessions; those that start a server take turns, since it listens on one port."""
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]):
        commands = [step.command for step in steps(page.read_text(encoding="utf-8"))]
        marks = [pytest.mark.xdist_group("server")] if any(map(SERVES.match, commands)) else []
        if commands and "_build" not in page.parts:
            yield pytest.param(str(page.relative_to(ROOT)), marks=marks)


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
        assert run_page(page, text, clone, ready(clone)) > 0


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
    """With the line, the command, what the page shows and what was printed."""
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
