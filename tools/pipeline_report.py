"""Print, as Markdown, what a change does to the model: for the reviewer of a pull request.

``python tools/pipeline_report.py BASE`` compares the working tree, after `make train`, with the commit BASE.
"""

import json
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Print the gate's verdict, DVC's tables of metrics and settings, and results that are not committed."""
    base, gate = sys.argv[1], Path("reports/gate.json")
    print("## What this change does to the model\n")
    if not gate.exists():
        print("**No verdict**: the pipeline stopped before the gate. `make train` says why.")
        return 0
    decision = json.loads(gate.read_text(encoding="utf-8"))
    print(f"### Verdict: {decision['verdict']}\n")
    print(*(f"- {reason}" for reason in decision["reasons"]), sep="\n")
    print(f"\n### Metrics\n\n{output('dvc', 'metrics', 'diff', '--all', '--md', base)}")
    print(f"### Settings\n\n{output('dvc', 'params', 'diff', '--md', base)}")
    changed = output("git", "status", "--short", "dvc.lock", "reports")
    print("### Committed results\n")
    if changed:
        print(f"They are stale. Run `make train` and commit what it changes:\n\n```\n{changed}```")
    else:
        print("They are what the pipeline wrote here.")
    return 0


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
