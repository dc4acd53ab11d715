"""List what the service image holds, in CycloneDX: `make sbom`.

The lock also names what other Pythons and Windows need; the list leaves that out.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from check_locks import applies, pins

from mlref import __version__

LOCK, OUTPUT = Path("requirements/serve.txt"), Path("dist/sbom.cdx.json")
SILENT = "ignore::UserWarning:cyclonedx.model.bom"
"""A lock does not say which package needs which; the tool warns that its own list does not either."""


def main() -> int:
    """Write the list; the tool checks it against the standard's schema."""
    base = re.search(r"^ARG BASE=python:(3\.\d+)", Path("Dockerfile").read_text(), re.MULTILINE)
    assert base, "Dockerfile names its Python"
    held = [pin for pin in pins(LOCK) if applies(pin, base[1], "linux")]
    OUTPUT.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as project:
        # The tool does not follow pyproject.toml to a version that stands in the code.
        text = Path("pyproject.toml").read_text()
        project.write(text.replace('dynamic = ["version"]', f'version = "{__version__}"'))
        project.flush()
        tool = [sys.executable, "-W", SILENT, "-m", "cyclonedx_py", "requirements"]
        options = ["--output-reproducible", "--pyproject", project.name, "-o", str(OUTPUT), "-"]
        lines = "".join(f"{pin.name}{pin.specifier}\n" for pin in held)
        status = subprocess.run([*tool, *options], input=lines, text=True).returncode
    if status == 0:
        print(f"{OUTPUT} lists {len(held)} packages of mlref {__version__}")
    return status


if __name__ == "__main__":
    sys.exit(main())
