"""Real servers behind the pages that need one: their addresses replace those that the page shows."""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from botocore.config import Config
from botocore.session import Session

from tests.postgres import running

PATIENCE = 60
"""Seconds in which a server starts."""

Addresses = dict[str, str]
"""What a page shows, and what takes its place."""


@contextlib.contextmanager
def behind(page: str) -> Iterator[Addresses]:
    """Run the server that a page needs, and stop it; most pages need none."""
    if page not in SERVERS:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder, SERVERS[page](Path(folder)) as addresses:
        yield addresses


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Addresses]:
    """SeaweedFS with an empty bucket: the team may write it, everybody may read it."""
    key, secret = "mlref-team", "secret-of-the-team"  # pragma: allowlist secret
    team = {"name": "team", "credentials": [{"accessKey": key, "secretKey": secret}]}
    everybody = {"name": "anonymous", "actions": ["List:mlref", "Read:mlref"]}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [team | {"actions": ["Admin"]}, everybody]}))
    plain, rpc = free_ports(4), free_ports(4)
    ports = [f"-{name}.port={port}" for name, port in zip(PARTS, plain, strict=True)]
    ports += [f"-{name}.port.grpc={port}" for name, port in zip(PARTS, rpc, strict=True)]
    with (folder / "log").open("wb") as log:
        weed = subprocess.Popen(
            [Path(sys.prefix) / "bin" / "weed", "server", "-s3", f"-s3.config={config}",
             f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports,
             "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
             "-master.volumeSizeLimitMB=64"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{plain[-1]}"
        Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=address,
            aws_access_key_id=key, aws_secret_access_key=secret,
            config=Config(retries={"mode": "standard", "total_max_attempts": 12}),
        ).create_bucket(Bucket="mlref")  # fmt: skip
        yield {"https://s3.example.org": address}
    finally:
        weed.kill()  # it would take 17 seconds to say goodbye
        weed.wait(PATIENCE)
        for port in (*plain, *rpc):
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


PARTS = ("master", "volume", "filer", "s3")
"""The servers that make SeaweedFS."""


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[Addresses]:
    """PostgreSQL with an empty database and a user who needs a password; a port for MLflow too."""
    database, mlflow = free_ports(2)
    password = "password-of-mlflow"  # pragma: allowlist secret
    with running(database, "mlflow", password) as server:
        server.create("mlflow")
        yield {
            "db.example.org": f"127.0.0.1:{database}",
            "127.0.0.1:5000": f"127.0.0.1:{mlflow}",
            "--port 5000": f"--port {mlflow}",
        }


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[Addresses]:
    """A free port for the scheduler that the page itself starts."""
    [port] = free_ports(1)
    yield {
        "--port 8786": f"--host 127.0.0.1 --port {port}",
        "scheduler.example.org:8786": f"127.0.0.1:{port}",
    }


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback at which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


SERVERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Addresses]]] = {
    "docs/how-to/cluster.md": dask,
    "docs/how-to/data-remote.md": s3,
    "docs/how-to/tracking-server.md": postgresql,
}
"""Page to the server that it needs."""
