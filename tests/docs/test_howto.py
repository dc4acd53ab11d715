"""What the how-to pages promise beyond their sessions."""

import base64
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from tests.docs import servers
from tests.docs.conftest import reader
from tests.docs.sessions import Shell

pytestmark = pytest.mark.docs


def test_the_storage_takes_the_keys_of_the_page_and_no_others() -> None:
    """Else the page would not show that keys are needed. Everybody may read, and it ends with the page."""
    with servers.behind("docs/how-to/data-remote.md") as addresses:
        address = addresses["https://s3.example.org"]
        client = Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=address,
            aws_access_key_id="mlref-team", aws_secret_access_key="guessed",
        )  # fmt: skip
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            client.put_object(Bucket="mlref", Key="key", Body=b"content")
    assert is_free(address.removeprefix("http://"))


def test_the_database_takes_the_password_of_the_page_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the page would not show that one is needed. It ends with the page."""
    with servers.behind("docs/how-to/tracking-server.md") as addresses:
        host, port = addresses["db.example.org"].split(":")
        monkeypatch.setenv("PGPASSWORD", "guessed")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host=host, port=int(port), user="mlflow", dbname="mlflow")
    assert is_free(addresses["db.example.org"])


def is_free(address: str) -> bool:
    """Whether nothing listens there."""
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


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
