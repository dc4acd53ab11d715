"""The cluster gives what one machine gives."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from distributed import LocalCluster

from mlref.batch.distributed import arrived, cluster
from mlref.batch.run import run
from mlref.batch.score import LoadedModel
from mlref.core.errors import BundleError, NotPublished
from mlref.core.storage import Project
from tests.code.batch.conftest import ROWS, everything, score, write_csv, write_parquet


@contextlib.contextmanager
def threads_of_this_process() -> Iterator[str]:
    """The address of a cluster that starts in no time."""
    with LocalCluster(1, processes=False, dashboard_address="127.0.0.1:0") as local:
        yield local.scheduler_address


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """No address: the run starts a cluster, though the port of Dask's own pages is taken."""
    with socket.socket() as beside:
        with contextlib.suppress(OSError):  # it may be taken already
            beside.bind(("127.0.0.1", 8787))
            beside.listen()
        yield


@pytest.mark.parametrize(
    "started", [threads_of_this_process, pytest.param(own_process, marks=pytest.mark.load)]
)
def test_a_cluster_gives_the_same_bytes_as_this_machine(
    project: Project, started: Callable[[], contextlib.AbstractContextManager[str | None]]
) -> None:
    write_csv("in/a.csv", [*ROWS, {**ROWS[0], "area": 1}])
    write_parquet("in/b.parquet", ROWS * 100)
    score(project, "in")
    (project.root / "in" / "c.csv").write_text("area\n1\n")
    with started() as address:
        with pytest.raises(NotPublished, match=r"(?s)1 of 3 files .* c.csv: lacks 'rooms'"):
            run(project, cluster(address, workers=1), ["in"], "cluster")
    one, many = everything(project.root / "out"), everything(project.root / "cluster")
    assert {**one, "_SUCCESS": b""} == {**many, "_SUCCESS": b""}
    assert everything(project.root / "out.rejected") == everything(
        project.root / "cluster.rejected"
    )


def test_a_bundle_that_was_altered_on_its_way_is_refused(champion: LoadedModel) -> None:
    bundle = tuple((path.name, path.read_bytes()) for path in champion.folder.iterdir())
    digest = champion.predictor.digest
    assert arrived(bundle, digest, "1").identity == champion.identity
    assert arrived(bundle, digest, "1") is arrived(bundle, digest, "1")
    with pytest.raises(BundleError, match="was altered"):
        arrived(bundle, "0" * 64, "1")
