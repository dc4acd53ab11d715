"""The cluster gives what one machine gives."""

import contextlib
import socket

import pytest

from mlref.batch.distributed import arrived, cluster
from mlref.batch.run import run
from mlref.batch.score import LoadedModel
from mlref.core.errors import BundleError, NotPublished
from mlref.core.storage import Project
from tests.code.batch.conftest import ROWS, everything, score, write_csv, write_parquet

DASHBOARD = 8787
"""Where Dask's first cluster on a machine shows its figures."""


def test_a_cluster_started_for_the_run_gives_the_same_bytes(project: Project) -> None:
    write_csv("in/a.csv", [*ROWS, {**ROWS[0], "area": 1}])
    write_parquet("in/b.parquet", ROWS * 100)
    score(project, "in")
    (project.root / "in" / "c.csv").write_text("area\n1\n")
    with socket.socket() as beside:
        with contextlib.suppress(OSError):  # then it is taken already
            beside.bind(("127.0.0.1", DASHBOARD))
            beside.listen()
        with pytest.raises(NotPublished, match=r"(?s)1 of 3 files .* c.csv: lacks 'rooms'"):
            run(project, cluster(None, workers=1), ["in"], "cluster")
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
    altered = tuple((name, content.replace(b"80", b"8")) for name, content in bundle)
    with pytest.raises(BundleError, match="was altered"):
        arrived(altered, digest, "1")
