"""Lines of the log."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

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
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()


def fail(row: dict[str, float]) -> None:
    """Log a failure in which a row is a local variable."""
    try:
        raise ValueError("half way")
    except ValueError as error:
        structlog.get_logger("mlref.serving").error(
            "request failed", request_id="r-1", exc_info=error
        )


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_machine_gets_json_and_a_person_lines_to_read_without_values(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure()
    fail({"area": 987654.25})
    text = stream.getvalue()
    assert "request failed" in text and "half way" in text and "987654" not in text
    assert text.startswith("{") == (not stream.isatty())
    if not stream.isatty():
        event = json.loads(text)
        assert (event["level"], event["request_id"]) == ("error", "r-1")
        assert event["timestamp"].endswith("Z") and "half way" in event["exception"]


def test_libraries_log_in_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    configure()
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.error").warning("invalid request of %s", "a client")
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "invalid request of a client"
