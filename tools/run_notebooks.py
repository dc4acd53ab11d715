"""Execute the notebooks on this trained clone and write them as they are committed.

They hold text, pictures, and nothing of the machine, so the same results give the same file.
"""

import base64
import copy
import io
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image
from traitlets.config import Config

from mlref.bundle.store import Store
from mlref.core.errors import MlrefError
from mlref.core.storage import Project, write_json
from mlref.registry.comparison import judge

ROOT = Path(__file__).parents[1]
PRIVATE = Config({"KernelManager": {"transport_encryption": "auto"}})
KEPT = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> int:
    """Execute every notebook of this clone where it stands."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            first_registration(Project(Path(folder)))
            for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
                path.write_text(text(execute(path, Path(folder))), encoding="utf-8")
                print(f"{path.relative_to(ROOT)} is written.")
        except (CellExecutionError, MlrefError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def first_registration(project: Project) -> None:
    """Show this clone's results in a folder, with the verdict of a clone without a champion."""
    for name in ("config", "data", "models"):
        (project.root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "reports", project.root / "reports")
    write_json(project.gate, judge(project, Store(project.root / "store")))


def execute(path: Path, folder: Path) -> NotebookNode:
    """Run a notebook's cells in a folder; the first that raises or warns ends it."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, kernel_name="python3", timeout=600, resources=place, config=PRIVATE
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}, cell {cell.id}:\n{output.text}")
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = reduced(output.data["image/png"])
    return notebook


def reduced(png: str) -> str:
    """The same picture in 64 colours, a third of the bytes: plots have few."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    written = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return base64.b64encode(written.getvalue()).decode() + " "  # or it looks like a secret key


def text(notebook: NotebookNode) -> str:
    """A notebook as a file, without times, versions and what an editor adds."""
    plain = copy.deepcopy(notebook)
    plain.metadata = KEPT
    for cell in plain.cells:
        cell.metadata = {"tags": cell.metadata.tags} if "tags" in cell.metadata else {}
    return str(nbformat.writes(plain)) + "\n"  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.exit(main())
