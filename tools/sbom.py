"""List the packages of the service image in CycloneDX: `make sbom`."""

import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from mlref import __version__

OUTPUT = Path("dist/sbom.cdx.json")


def main() -> None:
    """Write the list, without what the lock pins for other Pythons and platforms."""
    [python] = re.findall(r"^ARG BASE=python:(3\.\d+)", Path("Dockerfile").read_text(), re.M)
    image = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
    }
    pins = re.findall(r"^(\w.*?) \\$", Path("requirements/serve.txt").read_text(), re.MULTILINE)
    held = [pin for pin in map(Requirement, pins) if not pin.marker or pin.marker.evaluate(image)]
    lines = "".join(f"{pin.name}{pin.specifier}\n" for pin in held)
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "-"]
    bom = json.loads(
        subprocess.run(command, input=lines, check=True, capture_output=True, text=True).stdout
    )
    bom["metadata"]["component"] = {"type": "application", "name": "mlref", "version": __version__}
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")
    print(f"{OUTPUT} lists {len(held)} packages of mlref {__version__}")


if __name__ == "__main__":
    main()
