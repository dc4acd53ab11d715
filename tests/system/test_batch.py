"""Batch scoring as a user meets it: processes that are killed, a cluster, object storage, the service."""

import contextlib
import http.client
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlref.core.rows import generate
from mlref.core.storage import read_json
from tests.code.batch.conftest import everything, rejected
from tests.docs.servers import free_ports, s3
from tests.fakes import CONTRACT, write_store

SCORE = [sys.executable, "-m", "mlref.cli", "score"]
PATIENCE = 300
"""Seconds; generous, as it only bounds a hang on a busy machine."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose bundle store is in tmp_path."""
    write_store(tmp_path / "store")
    plain = {key: value for key, value in os.environ.items() if key != "MLREF_MODEL"}
    return {**plain, "MLREF_STORE": str(tmp_path / "store")}


def write_rows(folder: Path, files: int, rows: int) -> Path:
    """Files of generated rows, of which every 1,000th is bad."""
    folder.mkdir()
    for number in range(files):
        array = generate(CONTRACT, rows, seed=number)
        array[::1000, 0] = -1
        columns = {
            one.name: (
                pa.array(one.allowed).take(pa.array(array[:, place].astype(int)))
                if one.allowed
                else pa.array(array[:, place], from_pandas=True)
            )
            for place, one in enumerate(CONTRACT.features)
        }
        pq.write_table(pa.table(columns), folder / f"{number:02}.parquet")
    return folder


def score(environment: dict[str, str], *arguments: str | Path) -> str:
    """Run `mlref score` to its good end."""
    command = [*SCORE, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def same(one: Path, other: Path) -> None:
    """Fail where two outputs differ in a part, a digest or a rejected row, or one has more files."""
    for first, second in (one, other), (Path(f"{one}.rejected"), Path(f"{other}.rejected")):
        first_files, second_files = everything(first), everything(second)
        assert list(first_files) == list(second_files)
        differing = [name for name in first_files if first_files[name] != second_files[name]]
        assert set(differing) <= {"_SUCCESS"}
    successes = [read_json(folder / "_SUCCESS") for folder in (one, other)]
    for success in successes:
        del success["finished"]
    assert successes[0] == successes[1]


@pytest.mark.load
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_was_not(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """`kill -9` at random moments, `--resume` each time: the same digests, nothing half-written."""
    files, rows, kills = 25, 200_000, 10
    given = write_rows(tmp_path / "in", files, rows)
    start = time.monotonic()
    score(environment, given, tmp_path / "straight")
    took = time.monotonic() - start
    moments = random.Random(5)
    for _ in range(kills):
        process = subprocess.Popen(
            [*SCORE, given, tmp_path / "killed", "--resume"], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, took))
        process.kill()
        process.wait()
    said = score(environment, given, tmp_path / "killed", "--resume")
    assert f"{files * rows:,} rows of {files} files" in said
    same(tmp_path / "straight", tmp_path / "killed")


def wait_for(condition: Any) -> Any:
    """Ask until something is there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail("it did not happen")


@contextlib.contextmanager
def running(
    *command: str, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the test."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.load
def test_a_cluster_that_loses_a_worker_gives_what_one_machine_gives(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Scheduler and workers are processes of their own, known by an address; one is killed."""
    given = write_rows(tmp_path / "in", 12, 100_000)
    score(environment, given, tmp_path / "one")
    [port] = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    dask = (sys.executable, "-m", "dask")
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            running(*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard",
                    environment=environment, log=tmp_path / "scheduler.log")
        )  # fmt: skip
        workers = [
            stack.enter_context(
                running(*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                        "--host", "127.0.0.1", "--local-directory", str(tmp_path),
                        environment=environment, log=tmp_path / f"worker{number}.log")
            )
            for number in range(2)
        ]  # fmt: skip
        process = stack.enter_context(
            running(*SCORE, str(given), str(tmp_path / "many"), "--engine", "dask", "--scheduler",
                    address, environment=environment, log=tmp_path / "score.log")
        )  # fmt: skip
        wait_for(lambda: list((tmp_path / "many").glob("*.parquet")) or process.poll() is not None)
        assert process.poll() is None, "it was over before a worker could be killed"
        workers[0].send_signal(signal.SIGKILL)
        said = (process.wait(PATIENCE), (tmp_path / "score.log").read_text())
    assert said[0] == 0, said[1]
    assert "1,200,000 rows of 12 files" in said[1]
    same(tmp_path / "one", tmp_path / "many")


@pytest.mark.load
def test_object_storage_is_read_and_written(environment: dict[str, str], tmp_path: Path) -> None:
    """A real server that speaks S3; the parts are those of a folder; an object that vanishes is named."""
    given = write_rows(tmp_path / "in", 3, 1000)
    score(environment, given, tmp_path / "out")
    (tmp_path / "s3").mkdir()
    with s3(tmp_path / "s3") as addresses:
        keys = {
            "AWS_ACCESS_KEY_ID": "mlref-team",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-team",  # pragma: allowlist secret
            "AWS_ENDPOINT_URL": addresses["https://s3.example.org"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        storage = fsspec.filesystem(
            "s3", key=keys["AWS_ACCESS_KEY_ID"], secret=keys["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=keys["AWS_ENDPOINT_URL"],
        )  # fmt: skip
        storage.put(f"{given}/", "mlref/in/", recursive=True)
        score(environment | keys, "s3://mlref/in", "s3://mlref/out")
        again = score(environment | keys, "s3://mlref/in", "s3://mlref/out", "--resume")
        for folder in "out", "out.rejected":
            storage.get(f"mlref/{folder}/", f"{tmp_path}/from-s3{folder[3:]}/", recursive=True)
        storage.rm("mlref/in/01.parquet")
        done = subprocess.run(
            [*SCORE, "s3://mlref/in/01.parquet", "s3://mlref/x"], env=environment | keys,
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    assert "3 files (3 scored before)" in again
    assert done.returncode == 1 and "there is no such CSV or Parquet file" in done.stderr
    same(tmp_path / "out", tmp_path / "from-s3")


if importlib.util.find_spec("mlref.serving"):

    def mutated(count: int) -> list[dict[str, Any]]:
        """Rows of which about every other has a bad cell, each as JSON and a file can hold it."""
        generator = np.random.default_rng(3)
        array = generate(CONTRACT, count, seed=3)
        rows = []
        for values in array.tolist():
            row = {
                one.name: None if np.isnan(x) else one.allowed[int(x)] if one.allowed else x
                for one, x in zip(CONTRACT.features, values, strict=True)
            }
            if generator.random() < 0.5:
                name = generator.choice(CONTRACT.names)
                good = row[name]
                bad = ["coal", "", "Oil"] if name == "heating" else [-3.5, 1e9, 2.5, 1e308, good]
                row[name] = [None, *bad][generator.integers(len(bad) + 1)]
            rows.append(row)
        return rows

    def served(address: str, rows: list[dict[str, Any]]) -> list[Any]:
        """What the service answers about each row by itself: its prediction, or the bad columns."""
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE)
        found = []
        for row in rows:
            connection.request("POST", "/v1/predict", json.dumps({"instances": [row]}))
            answer = json.load(connection.getresponse())
            if "error" in answer:
                found.append({detail["column"] for detail in answer["error"]["details"]})
            else:
                [one] = answer["predictions"]
                found.append([one["value"], one["lower"], one["upper"], one["warnings"]])
        connection.close()
        return found

    def scored(output: Path, count: int) -> list[Any]:
        """The same of batch scoring."""
        found: list[Any] = [set() for _ in range(count)]
        for line in rejected(f"{output}.rejected/in.csv"):
            found[int(line["row"])].add(line["column"])
        for row in pq.read_table(output).to_pylist():
            found[row["place"]] = [row["prediction"], row["lower"], row["upper"], row["warnings"]]
        return found

    @pytest.mark.xdist_group("service")
    @pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.load)])
    def test_batch_and_service_give_each_row_the_same_values_and_the_same_verdict(
        environment: dict[str, str], open_service: str, tmp_path: Path, count: int
    ) -> None:
        """Good and bad rows, through HTTP one by one and through Parquet at once."""
        rows = mutated(count)
        columns = {name: pa.array([row[name] for row in rows]) for name in CONTRACT.names}
        pq.write_table(pa.table({**columns, "place": np.arange(count)}), tmp_path / "in.parquet")
        score(environment, tmp_path / "in.parquet", tmp_path / "out")
        found = scored(tmp_path / "out", count)
        expected = served(open_service, rows)
        bad = [one for one in expected if isinstance(one, set)]
        assert 0.2 * count < len(bad) < 0.6 * count
        assert [one for one in found if isinstance(one, set)] == bad
        for ours, theirs in zip(found, expected, strict=True):
            if isinstance(theirs, list):
                assert ours[:3] == pytest.approx(theirs[:3], rel=1e-12)
                assert ours[3] == theirs[3]
