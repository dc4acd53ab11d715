"""Where a registered model comes from, and whether it can be made again from that."""

import contextlib
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mlref.bundle.store import ALIASES, Store
from mlref.core import config
from mlref.core.contract import load as load_contract
from mlref.core.errors import EnvironmentFault, MlrefError, NotReproduced, SettingsError
from mlref.core.storage import Project, digest, read_json, rounded, write_bytes
from mlref.data.tables import read_parquet, row_ids
from mlref.registry.git import DIRTY, git, warning
from mlref.registry.learned import source
from mlref.tracking.run_log import libraries

SAME = ": the same"


def describe(store: Store, reference: str) -> dict[str, Any]:
    """What is recorded about the origin of a model.

    Raises
    ------
    ModelNotFound
        When the reference names no registered model.
    """
    record = store.record(store.resolve(reference))
    assert record is not None, "resolve names registered digests only"
    known = {
        "version": record["version"],
        "aliases": [name for name in ALIASES if store.alias(name) == record["digest"]],
        "model": record["model"],
        "parameters": record["parameters"],
        "bundle": record["digest"],
        "verdict": record["gate"]["verdict"],
        "created": record["created"],
        "run": record["run_id"],
        "commit": record["commit"],
        "data": record["data"],
        "contract": record["contract"],
        "params": record["params"],
        "packages": record["libraries"],
    }
    if origin := record.get("learned_from"):
        known["learned_from"] = origin
    return known | ({"warning": doubt} if (doubt := warning(record)) else {})


def verify(project: Project, model: dict[str, Any], report: Callable[[str], None]) -> str:
    """Train a model again from its commit and its data, in a folder of its own, and compare.

    Parameters
    ----------
    model : dict
        What ``describe`` gives.
    report : callable
        Takes a line for each step that is done.

    Returns
    -------
    str
        That the same bundle came out, to the byte.

    Raises
    ------
    NotReproduced
        Says of each input whether it is the recorded one, with both values where it is not.
    MlrefError
        When a stage of the commit fails with the packages that are installed now.
    """
    version, store = f"Version {model['version']}", Store(project.store)
    journals, trained, commit = list[Path](), model["bundle"], model["commit"]
    while (journal := store.journal(trained)).is_file():
        journals.insert(0, journal)
        trained = source(journal)
        commit = (store.record(trained) or {}).get("commit")
    if reason := _no_checkout(project, commit):
        what = f"{version} cannot be trained again: {reason}. Its inputs beside the files that are here"
        raise NotReproduced(what, list(compare(model, project)))
    with tempfile.TemporaryDirectory(prefix="mlref-lineage-") as folder:
        clone = _check_out(project, commit, Path(folder) / "clone")
        report(f"checked out {commit[:12]}")
        _refuse_edited_table(version, project)
        _give_raw_table(project, clone, commit)
        # DVC would hand back what it has stored, so the stages run without it.
        for name, stage in yaml.safe_load((clone.root / "dvc.yaml").read_bytes())["stages"].items():
            if not (clone.raw if name == "ingest" else clone.bundle).exists():
                report(_run_stage(clone, name, stage["cmd"]))
            _refuse_edited_table(version, clone)
        again = digest(clone.bundle / "MANIFEST.json")
        for journal in journals if again == trained else ():
            again = _replayed(clone, journal, report)
        if again != model["bundle"]:
            lines = list(compare(model, clone))
            if all(line.endswith(SAME) for line in lines):
                lines.append(
                    "Python, the machine or other packages differ, which are not recorded."
                )
            what = f"commit {commit[:12]} gives bundle {again[:12]}, not {model['bundle'][:12]}"
            raise NotReproduced(f"{version} is not reproduced: {what}", lines)
    return f"reproduced: trained again, it gives the same bundle {again[:12]}"


def _replayed(clone: Project, journal: Path, report: Callable[[str], None]) -> str:
    """Learn a journal again from the model that the clone has made; returns the digest of what comes out."""
    work = clone.online / "proposal"
    made = Project(clone.root, work) if work.is_dir() else clone
    store, name = Store(clone.root / "models" / "store"), digest(made.bundle / "MANIFEST.json")
    rows = row_ids(load_contract(clone.contract), read_parquet(made.train))
    record = {"digest": name, "version": "0", **read_json(clone.tuning)}
    store.add(made.bundle, made.model, record, rows, made.learned)
    store.point("champion", name)
    write_bytes(clone.online / name[:12] / "journal.jsonl", journal.read_bytes())
    report(_run_stage(clone, "learn", "mlref learn --replay"))
    return digest(Project(clone.root, work).bundle / "MANIFEST.json")


def compare(model: dict[str, Any], project: Project) -> Iterator[str]:
    """One line for each kind of input: the same, or what was recorded and what is there now."""
    params = config.read(project.params, SettingsError)
    present = {
        "data": read_json(project.profile)["data"], "contract": digest(project.contract),
        "params": rounded(params), "packages": libraries(),
    }  # fmt: skip
    for kind, now in present.items():
        before, now = _flat(kind, model[kind]), _flat(kind, now)
        changed = [
            f"{name}: recorded {before.get(name, 'nothing')}, now {now.get(name, 'nothing')}"
            for name in sorted(before | now)
            if before.get(name) != now.get(name)
        ]
        if kind == "data":
            changed += _edited_table(project)
        yield from changed or [f"{kind}{SAME}"]


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Leaves of nested mappings by the path to them, such as ``params.split.seed``."""
    if not isinstance(value, dict):
        return {name: value}
    parts = (_flat(f"{name}.{key}", item) for key, item in value.items())
    return {key: item for part in parts for key, item in part.items()}


def _no_checkout(project: Project, commit: str | None) -> str | None:
    """Why the files that a model was made from cannot be checked out."""
    if commit is None:
        return "its commit is not recorded"
    if commit.endswith(DIRTY):
        clean = commit.removesuffix(DIRTY)[:12]
        return f"its files differed from commit {clean}, and what they held is not recorded"
    if git(project.root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        return f"git does not know its commit {commit}; `git fetch` may bring it"
    return None


def _check_out(project: Project, commit: str, folder: Path) -> Project:
    """A clone that borrows the objects of this one, so that nothing here is written."""
    root, clone = str(project.root), str(folder)
    for words in (
        ("clone", "--quiet", "--shared", "--no-checkout", root, clone),
        ("-C", clone, "checkout", "--quiet", "--detach", commit),
    ):
        done = git(project.root, *words)
        if done.returncode:
            reason = RuntimeError(done.stderr)
            raise EnvironmentFault(f"commit {commit} cannot be checked out", reason)
    return Project(folder)


def _give_raw_table(project: Project, clone: Project, commit: str) -> None:
    """Copy the commit's raw table from DVC's cache or remote; where neither has it, the clone ingests it."""
    import dvc.api
    from dvc.exceptions import DvcException

    path, root = project.show(project.raw), str(project.root)
    with contextlib.suppress(DvcException, OSError):
        write_bytes(clone.raw, dvc.api.read(path, repo=root, rev=commit, mode="rb"))


def _refuse_edited_table(version: str, project: Project) -> None:
    if changed := _edited_table(project):
        raise NotReproduced(f"{version} is not reproduced: its data have changed", changed)


def _edited_table(project: Project) -> list[str]:
    """A line when the raw table is not the one of dvc.lock; the training rows alone would not show it."""
    path = project.show(project.raw)
    if not (project.raw.is_file() and project.lock.is_file()):
        return []
    outs = yaml.safe_load(project.lock.read_bytes())["stages"]["ingest"]["outs"]
    wanted = {out["path"]: out["md5"] for out in outs}[path]
    found = hashlib.md5(project.raw.read_bytes()).hexdigest()
    return [f"data: MD5 of {path}: recorded {wanted}, now {found}"] * (wanted != found)


def _run_stage(clone: Project, name: str, command: str) -> str:
    """Run a stage with the clone's own code; returns what it said."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    own = {"PATH": path, "PYTHONPATH": str(clone.root / "src")}
    own |= {"MLREF_STORE": str(clone.root / "models" / "store")}
    done = subprocess.run(
        shlex.split(command), cwd=clone.root, env=os.environ | own, capture_output=True, text=True
    )
    if done.returncode:
        raise MlrefError(f"The commit's stage {name} failed here: {done.stderr.strip()}")
    return done.stdout.strip()
