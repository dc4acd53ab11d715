"""Where a model comes from, and whether it can be made again: on a repository with small stages."""

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError, ModelNotFound, NotReproduced
from mlref.core.storage import Project, digest, read_json
from mlref.registry.lineage import describe, verify
from mlref.tracking.run_log import libraries
from tests.fakes import CONTRACT_TEXT
from tests.projects import PARAMS

DVC_YAML = """\
stages:
  ingest: {cmd: python stage.py ingest, outs: [data/raw/dataset.csv]}
  split: {cmd: python stage.py split}
  package: {cmd: python stage.py package}
  evaluate: {cmd: python stage.py evaluate}
"""
STAGE = """\
import hashlib, json, pathlib, sys
name = sys.argv[1]
raw, params = pathlib.Path("data/raw/dataset.csv"), pathlib.Path("config/params.yaml")
if name == "ingest":
    raw.parent.mkdir(parents=True)
    raw.write_bytes(pathlib.Path("data/source/rows.csv").read_bytes())
elif name == "split":
    profile = pathlib.Path("reports/profile.json")
    profile.parent.mkdir(exist_ok=True)
    profile.write_text(json.dumps({"data": hashlib.sha256(raw.read_bytes()).hexdigest()}))
elif name == "package":
    pathlib.Path("models/bundle").mkdir(parents=True)
    pathlib.Path("models/bundle/MANIFEST.json").write_bytes(raw.read_bytes() + params.read_bytes())
else:
    sys.exit("evaluate is not needed")
print(name, "done")
"""
ROWS = "area,rent\n70,900\n"


def git(project: Project, *words: str) -> str:
    """Run git as a user of its own."""
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
    done = subprocess.run(command, cwd=project.root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(project: Project) -> str:
    """Commit all that is not ignored; returns the commit."""
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "a commit")
    return git(project, "rev-parse", "HEAD")


def set_rows(project: Project, rows: str) -> None:
    """Write source, raw table, profile and dvc.lock, as the stages would."""
    for path in (project.root / "data" / "source" / "rows.csv", project.raw):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rows)
    md5 = hashlib.md5(rows.encode()).hexdigest()
    out = {"path": "data/raw/dataset.csv", "hash": "md5", "md5": md5, "size": len(rows)}
    stage = {"cmd": "python stage.py ingest", "outs": [out]}
    project.lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"ingest": stage}}))
    project.profile.parent.mkdir(exist_ok=True)
    project.profile.write_text(f'{{"data": "{hashlib.sha256(rows.encode()).hexdigest()}"}}')


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone whose stages take no time, and a temporary folder of its own beside it."""
    made = Project(tmp_path / "clone")
    made.contract.parent.mkdir(parents=True)
    made.contract.write_text(CONTRACT_TEXT)
    made.params.write_text(yaml.safe_dump(PARAMS))
    (made.root / "dvc.yaml").write_text(DVC_YAML)
    (made.root / "stage.py").write_text(STAGE)
    (made.root / ".gitignore").write_text("/data/raw/\n/.dvc/cache/\n/.dvc/tmp/\n")
    (made.root / ".dvc").mkdir()
    (made.root / ".dvc" / "config").touch()
    set_rows(made, ROWS)
    git(made, "init", "--quiet")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return made


@pytest.fixture
def model(project: Project) -> dict[str, Any]:
    """What is recorded about a model that was made from the first commit."""
    return {
        "version": "3", "commit": commit(project), "data": read_json(project.profile)["data"],
        "contract": digest(project.contract), "params": PARAMS, "packages": libraries(),
        "bundle": digest(ROWS.encode() + project.params.read_bytes()),
    }  # fmt: skip


def tried(project: Project, model: dict[str, Any]) -> tuple[str, list[str]]:
    """What verification ends with and what it reported on the way; it must leave nothing behind."""
    lines: list[str] = []
    before = snapshot(project)
    try:
        return verify(project, model, lines.append), lines
    except NotReproduced as refusal:
        return str(refusal), lines
    finally:
        assert snapshot(project) == before
        assert list(Path(tempfile.gettempdir()).iterdir()) == []


def snapshot(project: Project) -> dict[str, int]:
    """Time of every file of the clone, those of git included and the notes of DVC left out."""
    paths = [path for path in project.root.rglob("*") if ".dvc" not in path.parts]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def test_what_is_recorded_is_shown(registered: Project) -> None:
    store = Store(registered.store)
    (record,) = store.records()
    found = describe(store, "champion")
    assert found == describe(store, "1") == describe(store, record["digest"][:8])
    assert found["aliases"] == ["champion", "challenger"]
    assert found["params"] == PARAMS
    assert (found["run"], found["verdict"]) == (record["run_id"], "promote")
    for name in ("version", "commit", "data", "contract", "created"):
        assert found[name] == record[name]
    with pytest.raises(ModelNotFound):
        describe(store, "9")


def cache(project: Project, rows: str) -> None:
    """Put a table into the cache of DVC."""
    name = hashlib.md5(rows.encode()).hexdigest()
    folder = project.root / ".dvc" / "cache" / "files" / "md5" / name[:2]
    folder.mkdir(parents=True)
    (folder / name[2:]).write_text(rows)


@pytest.mark.parametrize("cached", [True, False])
def test_a_model_is_made_again_from_its_commit_whatever_was_changed_here_since(
    project: Project, model: dict[str, Any], cached: bool
) -> None:
    """The commit's table comes from the cache; where that has none, it is ingested again."""
    if cached:
        cache(project, ROWS)
    set_rows(project, f"{ROWS}80,1000\n")
    (project.root / "stage.py").write_text("raise SystemExit('broken')")
    commit(project)
    project.params.write_text("seed: 1")
    said, lines = tried(project, model)
    assert said == f"reproduced: trained again, it gives the same bundle {model['bundle'][:12]}"
    ingested = [] if cached else ["ingest done"]
    assert lines == [f"checked out {model['commit'][:12]}", *ingested, "split done", "package done"]


def test_a_byte_changed_in_the_raw_table_is_named_before_anything_is_trained(
    project: Project, model: dict[str, Any]
) -> None:
    name = hashlib.md5(ROWS.encode()).hexdigest()
    project.raw.write_text(ROWS.replace("900", "901"))
    said, lines = tried(project, model)
    now = hashlib.md5(project.raw.read_bytes()).hexdigest()
    assert said == (
        "Version 3 is not reproduced: its data have changed:\n"
        f"  data: MD5 of data/raw/dataset.csv: recorded {name}, now {now}"
    )
    assert len(lines) == 1
    said, _ = tried(project, model | {"commit": None})
    assert "\n  data: MD5 of data/raw/dataset.csv: recorded " in said
    assert "data: the same" not in said and "  contract: the same" in said


def test_a_source_that_gives_other_rows_now_is_named(
    project: Project, model: dict[str, Any]
) -> None:
    source = 'pathlib.Path("data/source/rows.csv").read_bytes()'
    (project.root / "stage.py").write_text(STAGE.replace(source, "b'other'"))
    said, lines = tried(project, model | {"commit": commit(project)})
    assert said.startswith("Version 3 is not reproduced: its data have changed:\n  data: MD5 of ")
    assert lines[-1] == "ingest done"


def test_every_input_that_differs_is_named_and_where_none_does_the_rest_is_blamed(
    project: Project, model: dict[str, Any]
) -> None:
    planted = {
        "data": "abc", "contract": "abc", "packages": libraries() | {"numpy": "1.0"},
        "params": PARAMS | {"split": {"seed": 5, "holdout": 0.25}, "more": {"depth": 2}},
    }  # fmt: skip
    first, *lines = tried(project, model | {"bundle": "f" * 64} | planted)[0].splitlines()
    made = digest(ROWS.encode() + project.params.read_bytes())
    assert first == (
        f"Version 3 is not reproduced: commit {model['commit'][:12]} gives bundle {made[:12]}, not"
        " ffffffffffff:"
    )
    assert [line[: len(known)] for line, known in zip(lines, DIFFERENT, strict=True)] == DIFFERENT
    said, _ = tried(project, model | {"bundle": "f" * 64})
    assert said.splitlines()[1:] == [
        "  data: the same", "  contract: the same", "  params: the same", "  packages: the same",
        "  Python, the machine or other packages differ, which are not recorded.",
    ]  # fmt: skip


DIFFERENT = [
    "  data: recorded abc, now ",
    "  contract: recorded abc, now ",
    "  params.more.depth: recorded 2, now nothing",
    "  params.split.seed: recorded 5, now 4",
    "  packages.numpy: recorded 1.0, now ",
]


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        ("{commit}-dirty", "its files differed from commit {start}, and what they held is not recorded"),
        ("0" * 40, "git does not know its commit 000000"),
        (None, "its commit is not recorded"),
    ],
)  # fmt: skip
def test_a_commit_that_cannot_be_checked_out_is_said_and_the_rest_compared(
    project: Project, model: dict[str, Any], recorded: str | None, reason: str
) -> None:
    start, name = model["commit"][:12], model["commit"]
    made_from = recorded and recorded.format(commit=name)
    planted = {"params": PARAMS | {"train": {}}, "commit": made_from}
    said, lines = tried(project, model | planted)
    assert said.startswith(f"Version 3 cannot be trained again: {reason.format(start=start)}")
    assert "Its inputs beside the files that are here:\n  data: the same" in said
    assert "  params.train.seed: recorded nothing, now 1" in said
    assert lines == []


def test_a_stage_that_fails_says_so_in_its_own_words(
    project: Project, model: dict[str, Any]
) -> None:
    (project.root / "stage.py").write_text("raise SystemExit('no such option')")
    planted = model | {"commit": commit(project)}
    with pytest.raises(MlrefError, match="^The commit's stage ingest failed here: no such option"):
        verify(project, planted, print)
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
