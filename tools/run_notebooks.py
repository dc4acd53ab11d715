"""Execute the notebooks in this trained clone and store their outputs, without what a machine adds."""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
PRIVATE = Config({"KernelManager": {"transport_encryption": "auto"}})
KEPT = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> int:
    """Execute every notebook; the first that raises or warns ends it and stays as it was."""
    try:
        for path in sorted(ROOT.glob("notebooks/*.ipynb")):
            nbformat.write(execute(path, ROOT), path)  # type: ignore[no-untyped-call]
            print(f"{path.relative_to(ROOT)} is written.")
    except (CellExecutionError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def execute(path: Path, folder: Path) -> NotebookNode:
    """Run a notebook's cells in a folder."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        config=PRIVATE,
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}, cell {cell.id}:\n{output.text}")
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = reduced(output.data["image/png"])
    notebook.metadata = KEPT
    return notebook


def reduced(png: str) -> str:
    """Give the same picture in 64 colours and a third of the bytes: plots have few colours."""
    picture, written = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    colours = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    colours.save(written, "png", optimize=True)
    return base64.b64encode(written.getvalue()).decode() + " "  # else it looks like a secret


if __name__ == "__main__":
    sys.exit(main())
