"""Console sessions of a Markdown page, run in a clone and compared with what the page shows.

A fenced block of language ``console`` is a session: a line that starts with ``$ `` is a command, with
``> `` before the further lines of an open quote; the lines beneath are its output. In the output
``…`` stands for any text, and alone on a line for any lines. A command must succeed, unless the page
shows its output, which then must be right. A block in another language is not run.
"""

import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from markdown_it import MarkdownIt

SERVES = re.compile(r"(make|mlref) (serve|ui)\b[^;]*$|mlflow server\b")
"""Commands that go on until they are stopped; the session continues once their output is there."""

PATIENCE, SERVER_PATIENCE = 900, 60
"""Seconds after which a command, or a server's first words, are given up."""

DRAINED = 30
"""Seconds in which a server that was told to stop has ended."""


@dataclass(frozen=True)
class Step:
    """One command of a page and the output that the page shows for it."""

    line: int
    command: str
    expected: str


class Differs(AssertionError):
    """The page shows something else than what happens."""

    def __init__(self, page: str, step: Step, status: int | None, said: str) -> None:
        how = f"ended with exit code {status}" if status else "printed something else than it shows"
        super().__init__(
            f"{page}:{step.line}: `{step.command}` {how}.\n\n"
            f"The page shows:\n{step.expected or '(nothing)'}\n\nIt printed:\n{said or '(nothing)'}\n\n"
            "Mend the page, or what changed its output."
        )


def steps(text: str) -> Iterator[Step]:
    """Read the commands of a page.

    Examples
    --------
    >>> list(steps("```console\\n$ echo 'a\\n> b'\\na\\n…\\n```"))
    [Step(line=2, command="echo 'a\\nb'", expected='a\\n…')]
    """
    for token in MarkdownIt().parse(text):
        if token.type != "fence" or token.info.strip() != "console" or token.map is None:
            continue
        found: list[tuple[int, list[str], list[str]]] = []
        for number, line in enumerate(token.content.splitlines(), start=token.map[0] + 2):
            if line.startswith("$ "):
                found.append((number, [line[2:]], []))
            elif found and _goes_on(found[-1][1]):
                found[-1][1].append(line.removeprefix("> "))
            elif found:
                found[-1][2].append(line)
            else:
                raise AssertionError(f"line {number}: a session starts with a command, `$ …`")
        for number, command, output in found:
            yield Step(number, "\n".join(command), "\n".join(output).rstrip())


def _goes_on(lines: list[str]) -> bool:
    """Say whether a command has an open quote or ends with a backslash."""
    try:
        shlex.split("\n".join(lines), comments=True)
    except ValueError:
        return True
    return lines[-1].endswith("\\")


def matches(expected: str, said: str) -> bool:
    """Say whether an output is what a page shows.

    Examples
    --------
    >>> matches("a…c\\n…\\nz", "abc\\n1\\n2\\nz"), matches("a\\nz", "a\\nb\\nz")
    (True, False)
    """
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r".*?".join(map(re.escape, re.split("…", line.rstrip()))) + r"[ \t]*\n"
    return re.fullmatch(pattern, said.rstrip("\n") + "\n" if said.strip() else "") is not None


def run_page(page: str, text: str, folder: Path, environment: Mapping[str, str]) -> int:
    """Run a page's sessions, in order and in one shell; return how many commands there were.

    Raises
    ------
    Differs
        At the first command that does not do what the page shows.
    """
    given = list(steps(text))
    with Shell(folder, environment) as shell:
        for step in given:
            if SERVES.match(step.command):
                status, said = shell.start(step.command, f"{step.expected}\n…")
                expected = f"{step.expected}\n…"
            else:
                status, said = shell.run(step.command)
                expected = step.expected
            if status is None or (status and not step.expected):
                raise Differs(page, step, status, said)
            if step.expected and not matches(expected, said):
                raise Differs(page, step, None, said)
    return len(given)


def _lives(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Shell:
    """A bash that runs one command after the other; what it started ends with it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.log = folder.parent / "shell.txt"
        self.statuses, status = os.pipe()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["bash", "--noprofile", "--norc"], cwd=folder, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                pass_fds=[status],
            )  # fmt: skip
        os.close(status)
        self.status = status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.communicate()
        os.close(self.statuses)
        until = time.monotonic() + DRAINED
        while _lives(self.process.pid) and time.monotonic() < until:
            time.sleep(0.1)  # a server answers what it has begun; the next page needs its port

    def run(self, command: str) -> tuple[int | None, str]:
        """Run a command to its end; give its exit code, None when the shell itself ended, and words."""
        start = self.log.stat().st_size
        self._tell(f"{command}\necho $? >&{self.status}\n")
        assert select.select([self.statuses], [], [], PATIENCE)[0], f"{command} does not end"
        status = os.read(self.statuses, 100).decode()
        return int(status) if status else None, self._said(start)

    def start(self, command: str, expected: str) -> tuple[int | None, str]:
        """Start a command that goes on; wait until it said what is expected."""
        start = self.log.stat().st_size
        self._tell(f"{command} {self.status}>&- &\n")
        until = time.monotonic() + SERVER_PATIENCE
        while not matches(expected, said := self._said(start)) and time.monotonic() < until:
            time.sleep(0.1)
        return 0, said

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def _said(self, start: int) -> str:
        """Everything that was printed since, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_bytes()[start:].decode())
