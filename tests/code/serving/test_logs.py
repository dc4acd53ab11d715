"""Lines of the log."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from mlref.serving.logs import configure


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logging of the tests comes back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = before[0], before[1]


def test_a_machine_gets_json() -> None:
    """One object a line, with level, time, what the event tells, and the trace of an error."""
    stream = io.StringIO()
    configure(stream)
    try:
        raise ValueError("half way")
    except ValueError:
        logging.getLogger("mlref.serving").exception(
            "request %s failed", "r-1", extra={"code": "x"}
        )
    [line] = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["code"]) == ("request r-1 failed", "error", "x")
    assert event["timestamp"].endswith("Z") and "half way" in event["exception"]


def test_a_person_gets_a_line_to_read() -> None:
    """On a terminal."""
    stream = Terminal()
    configure(stream)
    logging.getLogger("mlref.serving").info("ready", extra={"code": "x"})
    assert "ready" in stream.getvalue() and not stream.getvalue().startswith("{")
