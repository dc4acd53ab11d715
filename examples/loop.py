"""The closed loop: quiet, a change of concept, alarm, retraining, gate, promotion, recovery, and a rollback.

    python examples/loop.py [--quick] [--learn] [--seed N] [--folder FOLDER]

It trains and serves a copy of this clone in a folder of its own, sends rows whose truth is known, and runs
`mlref monitor --act` after each window of rows. Every decision is the monitor's and the gate's; a person
only forces the bad candidate. Decisions count rows and no seconds, so equal seeds decide equally. With
`--learn` the model is not retrained: `mlref learn` follows the labels after each window and proposes what it
has learned. It prints a line a step. The last one is `loop: closed`, or says which step failed, with exit
code 1.
"""

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mlref.bundle.store import Store
from mlref.cli import main as mlref
from mlref.core.digits import number
from mlref.core.storage import Project, read_json
from mlref.monitoring.simulate import SCENARIOS, Send, simulate, to_service
from mlref.registry import audit

ROOT = Path(__file__).parents[1]
ROWS = 200
"""Of a window."""
PATIENCE = 60.0
"""Seconds for what another process does; it only bounds a hang."""
QUICK = {
    "tune": {
        "repeats": 1,
        "candidates": {"mean": {}, "single_feature": {}, "ridge": {"alpha": [10.0, 30.0]}},
    },
    "train": {"folds": 5},
    "evaluate": {"resamples": 200},
    "register": {"resamples": 500},
}  # fmt: skip
"""Settings with which a training takes half the time; they decide nothing of the loop."""
LEARN = {"act": {"alarms": []}, "online": {"settle": 0, "quota": 1_000_000}}
"""The monitor asks for no retraining, and hours of labels come within seconds."""
LEARNED = 2_000
"""Rows after the change that are learned before a proposal."""
CHANGE = "level"
"""Of the concept; `mlref simulate` says what it does."""


class Broken(Exception):
    """A step that did not do what it should."""


def main() -> int:
    """Run the loop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer candidates, three quiet windows"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the rows that are sent")
    parser.add_argument("--learn", action="store_true", help="learn online instead of retraining")
    parser.add_argument(
        "--folder", type=Path, help="where it runs, kept at the end; else a temporary one"
    )
    options = parser.parse_args()
    # Whose log and store this shell uses is none of the loop's business.
    for name in [*os.environ]:
        if name.startswith(("MLREF_", "MLFLOW_TRACKING")):
            del os.environ[name]
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="loop-"))
        )
        stack.enter_context(contextlib.chdir(ROOT))  # out of the folder before it is removed
        try:
            loop(copy(folder.resolve() / "mlref", options), options)
        except Broken as error:
            print(f"loop: broken: {error}")
            return 1
    print("loop: closed")
    return 0


def copy(folder: Path, options: argparse.Namespace) -> Project:
    """Copy what git knows of this clone, with what is not committed yet, as a repository of its own."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("data/source/labels/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    settings = yaml.safe_load(project.params.read_text())
    for wanted, changes in ((options.quick, QUICK), (options.learn, LEARN)):
        for part, changed in changes.items() if wanted else ():
            settings[part] |= changed
    project.params.write_text(yaml.safe_dump(settings, sort_keys=False))
    identity = ("-c", "user.name=loop", "-c", "user.email=loop@example.org")
    for words in (("init",), ("add", "--all"), (*identity, "commit", "--no-verify", "-m", "loop")):
        subprocess.run(("git", *words), cwd=folder, capture_output=True, check=True)
    return project


def loop(project: Project, options: argparse.Namespace) -> None:
    """Go through the steps in the project's folder."""
    os.chdir(project.root)
    tell("training version 1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ("dvc", "repro"), env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    if done.returncode or run("register")[0]:
        raise Broken(f"the first training failed: {done.stdout[-500:]}{done.stderr}")
    with service() as url:
        steps(World(project, to_service(url), options.seed), options)


class World:
    """What the service is asked, what is true, and what the monitor says after each window."""

    def __init__(self, project: Project, send: Send, seed: int) -> None:
        self.project, self.store, self.send, self.seed = project, Store(project.store), send, seed
        self.rows, self.found = 0, project.root.parent / "monitor.json"

    def window(self, scenario: str) -> str:
        """Send a window of rows with their truth, and run the monitor; returns what it did."""
        self.rows += ROWS
        self.seed += 1
        sent = simulate(self.project, scenario, self._patient, ROWS, self.seed, world="1")
        if (sent.answered, sent.labels) != (ROWS, ROWS):
            raise Broken(
                f"the service answered {sent.answered} and took {sent.labels} labels of {ROWS}"
            )
        code, said = run("monitor", "--window", str(ROWS), "--act", "--json", str(self.found))
        if code not in (0, 3):
            raise Broken(f"the monitor ended with exit code {code}: {said}")
        return said.partition("ACT: ")[2].strip()

    def _patient(self, path: str, document: Any) -> Any:
        """Post; labels that came before their predictions reached the log are sent again."""
        answer, deadline = self.send(path, document), time.monotonic() + PATIENCE
        while answer.get("unknown") and time.monotonic() < deadline:
            time.sleep(0.1)
            again = self.send(path, document)
            answer |= {
                "unknown": again["unknown"],
                "accepted": answer["accepted"] + again["accepted"],
            }
        return answer

    def loss(self) -> tuple[float, float]:
        """RMSE of the newest window of labels, and what is expected of the model."""
        *_, window = (one for one in read_json(self.found)["windows"] if one["stream"] == "truth")
        return window["found"]["facts"]["loss"][1], window["found"]["facts"]["expected"]

    def page(self) -> str:
        """The alarm of performance that is open; empty where there is none."""
        alarms = [one for one in read_json(self.found)["alarms"] if one["severity"] == "page"]
        if not (alarms := [one for one in alarms if one["state"] == "open"]):
            return ""
        one = alarms[0]
        return (
            f"{one['monitor']} is {number(one['evidence']['value'])}, threshold"
            f" {number(one['evidence']['threshold'])}. {one['evidence']['cause']}"
        )

    def champion(self) -> str:
        """The version of the champion, once the service answers with it."""
        name, deadline = self.store.alias("champion"), time.monotonic() + PATIENCE
        while self.send("/v1/model", None)["model"]["digest"] != name:
            if time.monotonic() > deadline:
                raise Broken("the service has not taken on the champion")
            time.sleep(0.1)
        return str((self.store.record(name or "") or {})["version"])

    def newest(self, action: str) -> dict[str, Any]:
        """The newest entry of the audit trail, which must be of this kind."""
        entry = audit.read(self.store)[-1]
        if entry["action"] != action:
            raise Broken(f"the audit trail ends with {entry['action']}, not {action}")
        return entry


def steps(world: World, options: argparse.Namespace) -> None:
    """From a quiet service to a promotion that is rolled back."""
    quiet = 3 if options.quick else 10
    for _ in range(quiet):
        if (said := world.window("none")) or world.page():
            raise Broken(f"an alarm while nothing happened: {world.page()} {said}")
    loss, expected = world.loss()
    seen = f"RMSE {number(loss)}, expected {number(expected)}"
    say("quiet", f"{quiet} windows of {ROWS} rows, no alarm; {seen}")

    before, said = world.rows, ""
    say("change", f"after {before} rows {SCENARIOS[CHANGE]}")
    while not world.page():
        said = world.window(CHANGE)
        if world.rows > before + 15 * ROWS:
            raise Broken("no alarm in 15 windows")
    wrong, _ = world.loss()
    say("alarm", f"after {world.rows - before} rows: {world.page()} RMSE {number(wrong)}")

    if options.learn:
        learn(world, before)
    else:
        retrain(world, before, said)
    world.newest("promote")
    say("promote", f"version {world.champion()} answers, without a restart")

    for _ in range(2):
        world.window(CHANGE)
    loss, expected = world.loss()
    if world.page() or loss > (wrong + expected) / 2:
        raise Broken(f"RMSE is {number(loss)}: {world.page()}")
    say("recover", f"RMSE {number(loss)}, expected {number(expected)}; it was {number(wrong)}")

    good, reason = world.champion(), "the loop's bad candidate: it learned the old concept"
    if run("promote", "1", "--force", "--reason", reason)[0]:
        raise Broken("the bad candidate could not be forced")
    say("bad candidate", f"version {world.champion()} is forced over version {good}")
    forced = world.rows
    while world.champion() != good:
        world.window(CHANGE)
        if world.rows > forced + 10 * ROWS:
            raise Broken("the bad candidate is still the champion")
    why = world.newest("rollback")["reason"]
    say("rollback", f"after {world.rows - forced} rows version {good} answers again: {why}")


def retrain(world: World, before: int, said: str) -> None:
    """Wait until the monitor has retrained."""
    while not said.startswith("Retrained"):
        said = world.window(CHANGE)
        if world.rows > before + 20 * ROWS:
            raise Broken(f"no retraining: {said}")
    entry = next(one for one in reversed(audit.read(world.store)) if one["action"] == "retrain")
    added = said.partition("New rows: ")[2].partition(".")[0]
    why = entry["reason"].partition(" (")[0]
    say("retrain", f"{world.rows - before} rows after the change, for {why}: {added} new rows")
    gate = read_json(world.project.gate)
    reasons = {one["name"]: one["reason"] for one in gate["checks"] if not one["passed"]}
    shown = {one["name"]: one["reason"] for one in gate["checks"]}["better_than_champion"]
    say("gate", f"{gate['verdict']}: {' '.join(reasons.values()) or shown}")


def learn(world: World, before: int) -> None:
    """Follow the labels after each window, and propose what was learned of them."""
    while world.rows < before + LEARNED:
        world.window(CHANGE)
        run("learn")
    code, said = run("learn", "--propose")
    if code:
        raise Broken(f"the proposal ended with exit code {code}: {said}")
    counts, *_ = said.partition("\n")
    say("learn", f"{world.rows - before} rows after the change: {counts}")
    *_, verdict = said.partition("Verdict: ")
    reasons = [line.strip() for line in verdict.splitlines() if "the champion by" in line]
    say("gate", f"{verdict.partition('.')[0]}: {(reasons or [verdict])[0]}")


@contextlib.contextmanager
def service() -> Iterator[str]:
    """Serve the champion of this folder at an address of its own."""
    command = [sys.executable, "-m", "mlref.cli", "serve", "--port", "0", "--drain", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split("answers at ")[1].split()[0]
        finally:
            process.terminate()


def run(*words: str) -> tuple[int, str]:
    """Run a command of mlref in this process, which has the imports done: exit code and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = mlref([*words])
    return code, out.getvalue()


def say(step: str, text: str) -> None:
    """Print a step as it happens."""
    print(f"{step}: {text}", flush=True)


def tell(text: str) -> None:
    """Print on standard error what takes long."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
