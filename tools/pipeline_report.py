"""Print, as Markdown, what a change does to the model: for the reviewer of a pull request.

``python tools/pipeline_report.py BASE`` compares the working tree, after `make train`, with the commit
BASE, whose model is the champion where it was trained here before. Figures and knobs are DVC's own tables.
Bars are text: neither a job summary nor a comment shows a picture that is not on the web.
"""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

Lock = dict[str, Any]
WIDTH = 30
"""Characters of the longest bar."""


def main() -> int:
    """Print the report."""
    base, gate = sys.argv[1], Path("reports/gate.json")
    print("## What this change does to the model\n")
    if not gate.exists():
        print("**No verdict**: the pipeline stopped before the gate. `make train` says why.\n")
        return 0
    before = yaml.safe_load(committed(base, "dvc.lock"))
    after = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))
    same = made(before, "package") == made(after, "package")
    sections = {
        "Verdict": verdict(json.loads(gate.read_text(encoding="utf-8")), same),
        "Figures": [output("dvc", "metrics", "diff", "--all", "--md", base)],
        "Candidates, by cross-validated RMSE": bars(*map(candidates, tuning(base))),
        "Held-out rows, by size of the error": bars(*map(errors, plot(base, "predictions"))),
        "Knobs": [output("dvc", "params", "diff", "--md", base)],
        "Stages": stages(before, after),
        "Committed results": stale(output("git", "status", "--porcelain", "dvc.lock", "reports")),
    }
    for title, lines in sections.items():
        print(f"### {title}\n", *(line.rstrip() for line in lines), "", sep="\n")
    return 0


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def committed(base: str, path: str) -> str:
    """Return a file as it is in a commit."""
    return output("git", "show", f"{base}:{path}")


def verdict(gate: dict[str, Any], same: bool) -> Iterator[str]:
    """Yield the verdict of the gate and its reasons."""
    if same:
        yield "**The same model as before**, to the byte."
    else:
        yield f"**{gate['verdict']}**"
        yield ""
        yield from (f"- {reason}" for reason in gate["reasons"])


def plot(base: str, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the data of a plot before and after the change."""
    path = f"reports/plots/{name}.csv"
    return pd.read_csv(io.StringIO(committed(base, path))), pd.read_csv(path)


def tuning(base: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the comparison of candidates before and after the change."""
    path = "reports/tuning.json"
    return json.loads(committed(base, path)), json.loads(Path(path).read_text(encoding="utf-8"))


def candidates(tuning: dict[str, Any]) -> "pd.Series[float]":
    """Return each candidate's RMSE, in the order of the trials."""
    found = sorted(tuning["candidates"].items(), key=lambda item: item[1]["trial"])
    return pd.Series({name: scores["rmse"] for name, scores in found})


def errors(frame: pd.DataFrame) -> "pd.Series[float]":
    """Return how many rows have an error of each size, in steps of half a standard deviation."""
    off = (frame["value"] - frame["actual"]).abs()
    edges = frame["actual"].std() / 2 * np.arange(5)
    counts, _ = np.histogram(off, [*edges, np.inf])
    return pd.Series(counts, index=[f"from {edge:.3g}" for edge in edges], dtype=float)


def bars(before: "pd.Series[float]", after: "pd.Series[float]") -> Iterator[str]:
    """Yield a table of two series, with a bar for the latter."""
    labels = after.index.union(before.index, sort=False)
    before, after = before.reindex(labels), after.reindex(labels)
    scale = WIDTH / after.max()
    yield from ("| | before | now | |", "|:--|--:|--:|:--|")
    for label, old, new in zip(labels, before, after, strict=True):
        bar = "█" * round(scale * new) if new == new else ""
        yield f"| {label} | {old:.5g} | {new:.5g} | {bar} |".replace("nan", "–")


def stages(before: Lock, after: Lock) -> Iterator[str]:
    """Yield a table of the stages whose inputs have changed."""
    rows = []
    for name, stage in after["stages"].items():
        old, new = inputs(before["stages"].get(name, {})), inputs(stage)
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if changed:
            results = "as before" if made(before, name) == made(after, name) else "new"
            rows.append(f"| {name} | {'<br>'.join(changed)} | {results} |")
    if not rows:
        yield "No stage has other data, code or knobs than before."
    else:
        yield from ("| stage | what changed | results |", "|:--|:--|:--|", *rows)


def inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of a stage in dvc.lock: its command, files and knobs."""
    knobs = {
        f"{key} in {path}": value
        for path, params in stage.get("params", {}).items()
        for key, value in params.items()
    }
    return {dep["path"]: dep["md5"] for dep in stage.get("deps", [])} | knobs


def made(lock: Lock, stage: str) -> dict[str, str]:
    """Return the outputs of a stage in dvc.lock, with their hashes."""
    return {out["path"]: out["md5"] for out in lock["stages"].get(stage, {}).get("outs", [])}


def stale(status: str) -> Iterator[str]:
    """Yield the committed files that the pipeline has changed here."""
    if not status:
        yield "They are what the pipeline wrote here."
    else:
        yield "The pipeline wrote something else here. Run `make train` and commit what it changes:"
        yield ""
        yield from (f"- {line[3:]}" for line in status.splitlines())


if __name__ == "__main__":
    sys.exit(main())
