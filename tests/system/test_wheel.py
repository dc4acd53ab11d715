"""The package as it would be published: built, installed into an empty environment, and used there."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import mlref
from tests.system.conftest import environment, git, make_clone, run

Content = dict[str, bytes]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with an sdist and a wheel in dist/."""
    clone = make_clone(tmp_path_factory.mktemp("package") / "clone")
    build(clone)
    return clone


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    """The wheel."""
    return only(clone / "dist", "*.whl")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the dependencies where the tests have them."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = only(folder / "lib", "python*/site-packages")
    # Of a folder that a .pth file names, Python reads no .pth files: not the one of the editable install.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert "No module named 'mlref'" in use(folder, "python", "-c", "import mlref").stderr
    uv = Path(sys.executable).with_name("uv")
    command = (uv, "pip", "install", "--offline", "--no-deps", "--python", folder, wheel)
    subprocess.run(command, check=True, capture_output=True)
    return folder


def build(source: Path, *targets: str) -> None:
    """Build sdist and wheel, or only the targets, with the hatchling of this environment."""
    run(source, "hatchling", "build", *targets)


def only(folder: Path, pattern: str) -> Path:
    """The one path that matches."""
    [path] = folder.glob(pattern)
    return path


def content(archive: Path) -> Content:
    """Every file of a wheel or of an sdist, in the latter below its top folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as sdist:
        files = [member for member in sdist.getmembers() if member.isfile()]
        return {
            member.name.partition("/")[2]: file.read()
            for member in files
            if (file := sdist.extractfile(member))
        }


def tracked(clone: Path, *folders: str) -> Content:
    """Every file that git knows."""
    names = git(clone, "ls-files", "-z", *folders).rstrip("\0").split("\0")
    return {name: (clone / name).read_bytes() for name in names}


def use(
    environment_folder: Path, command: str, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment, without the source on its path."""
    plain = environment(environment_folder) | {"PYTHONPATH": ""}
    return subprocess.run(
        [environment_folder / "bin" / command, *arguments],
        cwd=cwd or environment_folder, env=plain, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_wheel_holds_the_package_and_its_licence_and_the_sdist_all_that_git_does(
    clone: Path, wheel: Path
) -> None:
    """In the wheel no tests, data or config: each file of src/mlref as it is, py.typed among them."""
    sdist = content(only(clone / "dist", "*.tar.gz"))
    assert sdist.pop("PKG-INFO")
    assert sdist == tracked(clone)
    packed = content(wheel)
    metadata = {name for name in packed if ".dist-info/" in name}
    package = {name: packed[name] for name in packed.keys() - metadata}
    expected = tracked(clone, "src/mlref")
    assert {f"src/{name}": text for name, text in package.items()} == expected
    assert "mlref/py.typed" in package
    assert {name.partition(".dist-info/")[2] for name in metadata} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE",
    }  # fmt: skip


def test_the_wheel_from_the_sdist_is_the_same_and_its_version_comes_from_one_place(
    clone: Path, wheel: Path, tmp_path: Path
) -> None:
    """To the byte; after src/mlref/__init__.py has changed, a wheel says what stands there."""
    # tarfile has no `filter` before Python 3.11.4, and Python 3.12 warns where none is given.
    sdist = only(clone / "dist", "*.tar.gz")
    subprocess.run(["tar", "--extract", "--file", sdist, "--directory", tmp_path], check=True)
    source = only(tmp_path, "mlref-*")
    build(source, "--target", "wheel")
    again = only(source / "dist", "*.whl")
    assert again.read_bytes() == wheel.read_bytes()
    assert version(wheel) == mlref.__version__
    for stale in (again, source / "PKG-INFO"):  # which knows the version
        stale.unlink()
    module = source / "src" / "mlref" / "__init__.py"
    module.write_text(module.read_text().replace(mlref.__version__, "98.7.6"))
    build(source, "--target", "wheel")
    assert version(only(source / "dist", "*.whl")) == "98.7.6"


def version(wheel: Path) -> str:
    """The version in a wheel's metadata."""
    [metadata] = [text for name, text in content(wheel).items() if name.endswith("/METADATA")]
    return str(message_from_bytes(metadata)["Version"])


@pytest.mark.load
def test_the_installed_package_works_and_refuses_in_a_folder_with_only_a_contract(
    installed: Path, clone: Path, tmp_path: Path
) -> None:
    """It is the wheel; the editable install, through which the other tests import, is not seen."""
    done = use(installed, "python", "-c", "import mlref; print(mlref.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(installed)
    assert use(installed, "mlref", "--version").stdout == f"mlref {mlref.__version__}\n"
    shutil.copytree(clone / "config", tmp_path / "config")
    said = use(installed, "mlref", "contract", "check", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "") and "is sound" in said.stdout
    assert use(installed, "mlref", "ingest", cwd=tmp_path).returncode == 0
    assert (tmp_path / "data" / "raw" / "dataset.csv").is_file()
    (tmp_path / "config" / "dataset.yaml").write_text("name: 3\n")
    done = use(installed, "mlref", "contract", "check", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"config/dataset.yaml has \d+ mistakes:", done.stderr)
