"""What the how-to pages promise beyond their sessions."""

import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import reader
from tests.docs.sessions import Shell

pytestmark = pytest.mark.docs


@pytest.fixture
def guarded() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that lets nobody in, and the credentials that it was shown."""
    shown: list[str] = []

    class Guard(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization", "none"))
            self.send_error(401)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guard) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", shown
        server.shutdown()


def test_the_credentials_of_mlflow_reach_the_server_and_no_message(
    trained: Path, guarded: tuple[str, list[str]]
) -> None:
    """A server that refuses them is a fault of the environment."""
    address, shown = guarded
    variables = {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_USERNAME": "reader",
        "MLFLOW_TRACKING_PASSWORD": "the-word",  # pragma: allowlist secret
    }
    with Shell(trained, reader(trained) | variables) as shell:
        status, said = shell.run("mlref register")
    assert status == 4
    assert f"MLflow at {address} failed" in said and "401" in said
    assert "the-word" not in said
    assert set(shown) == {"Basic " + base64.b64encode(b"reader:the-word").decode()}
