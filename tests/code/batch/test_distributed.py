"""The cluster gives what one machine gives."""

import contextlib
import socket
from pathlib import Path

import pytest

from mlref.batch.distributed import arrived, cluster
from mlref.batch.run import run
from mlref.batch.score import LoadedModel
from mlref.core.errors import BundleError
from mlref.core.storage import Project
from tests.code.batch.conftest import ROWS, everything, score, write_csv, write_parquet

DASHBOARD = 8787
"""Where Dask's first cluster on a machine shows its figures."""


def test_a_cluster_started_for_the_run_gives_the_same_bytes(project: Project) -> None:
    write_csv("in/a.csv", [*ROWS, {**ROWS[0], "area": 1}])
    write_parquet("in/b.parquet", ROWS * 100)
    score(project, "in")
    with socket.socket() as beside:
        with contextlib.suppress(OSError):  # then it is taken already
            beside.bind(("127.0.0.1", DASHBOARD))
            beside.listen()
        run(project, cluster(None, workers=2), ["in"], "cluster")
    one, many = everything(project.root / "out"), everything(project.root / "cluster")
    assert {**one, "_SUCCESS": b""} == {**many, "_SUCCESS": b""}
    assert everything(Path("out.rejected")) == everything(Path("cluster.rejected"))


def test_without_files_to_score_no_cluster_is_asked(champion: LoadedModel) -> None:
    engine = cluster("tcp://127.0.0.1:9", workers=1)
    assert list(engine([], champion)) == []


def test_a_bundle_that_was_altered_on_its_way_is_refused(champion: LoadedModel) -> None:
    bundle = tuple((path.name, path.read_bytes()) for path in champion.folder.iterdir())
    digest = champion.predictor.digest
    assert arrived(bundle, digest, "1").identity == champion.identity
    assert arrived(bundle, digest, "1") is arrived(bundle, digest, "1")
    altered = tuple((name, content.replace(b"80", b"8")) for name, content in bundle)
    with pytest.raises(BundleError, match="was altered"):
        arrived(altered, digest, "1")
