"""Make .venv hold exactly what requirements/dev.txt pins: `make setup`.

This file runs on the Python of the machine, before anything is installed: standard library only, and
syntax that an old Python can still read far enough to be told that it is too old.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time

SUPPORTED = ((3, 11), (3, 13))
LOCK = "requirements/dev.txt"
VENV = ".venv"
STAMP = ".venv/.synced"  # written last; holds the folder that the environment was made for


def main() -> None:
    """Check the Python, then set up, one process at a time."""
    check_python()
    with open(".venv.lock", "w") as lock:
        asked = time.time()
        try:
            fcntl.flock(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the system drops it when its holder dies
        except BlockingIOError:
            say("Waiting for another set-up in this folder ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished_since(asked):
            set_up()


def check_python() -> None:
    """Exit with one sentence when this Python cannot make the environment."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        sys.exit(
            "mlref needs Python 3.11, 3.12 or 3.13, but {} is {}; "
            "name another one, for example: make setup PYTHON=python3.12".format(
                os.environ.get("PYTHON", sys.executable), version
            )
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        sys.exit(
            "Python {} lacks its {} module; install it "
            "(on Debian and Ubuntu: apt install python3-venv) and try again.".format(
                version, error.name
            )
        )


def finished_since(moment: float) -> bool:
    """Say whether another process completed the set-up while this one waited for its turn."""
    return os.path.exists(STAMP) and os.path.getmtime(STAMP) > moment


def set_up() -> None:
    """Create the environment when there is no sound one, and sync it with the lock."""
    sound = is_sound()
    if os.path.exists(STAMP):
        os.remove(STAMP)  # an interrupted set-up must not look finished
    if not sound:
        create()
    python = VENV + "/bin/python"
    uv = [VENV + "/bin/uv", "pip"]
    quiet = ["--quiet", "--python", python]
    say("Installing the packages of {} into {} ...".format(LOCK, VENV))
    run(uv + ["sync", "--require-hashes", "--compile-bytecode"] + quiet + [LOCK])
    run(uv + ["install", "--offline", "--no-deps", "--no-build-isolation"] + quiet + ["-e", "."])
    with open(STAMP, "w") as stamp:
        stamp.write(os.getcwd() + "\n")


def is_sound() -> bool:
    """Say whether .venv was completed here, by this version of Python; if not, say why not."""
    if not os.path.isdir(VENV):
        return False
    if not os.path.exists(STAMP):
        reason = "unfinished"
    elif read(STAMP).strip() != os.getcwd():
        reason = "made in another folder, {}".format(read(STAMP).strip())
    elif "version = {}.{}.{}\n".format(*sys.version_info) not in read(VENV + "/pyvenv.cfg"):
        reason = "of another Python"
    elif not os.access(VENV + "/bin/python", os.X_OK):
        reason = "of a Python that is gone"
    else:
        return True
    say("{} is {}: making it again.".format(VENV, reason))
    return False


def create() -> None:
    """Make an empty environment with the locked uv in it, checked by its hashes."""
    if os.path.isdir(VENV):
        shutil.rmtree(VENV)
    run([sys.executable, "-m", "venv", VENV])
    pin = re.search(r"^uv==(.*\\\n)+.*\n", read(LOCK), re.MULTILINE)
    if pin is None:
        sys.exit("{} does not pin uv; restore the file from git.".format(LOCK))
    with open(VENV + "/uv.txt", "w") as file:
        file.write(pin.group())
    pip = [VENV + "/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(pip + ["install", "--require-hashes", "-r", VENV + "/uv.txt"])


def run(command: "list[str]") -> None:
    """Run a command; its own words are the error message."""
    if subprocess.call(command) != 0:
        sys.exit("Set-up stopped: {} failed.".format(" ".join(command)))


def read(path: str) -> str:
    """Return the text of a file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def say(sentence: str) -> None:
    """Print at once, so that it precedes the output of the commands."""
    print(sentence, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Set-up interrupted; the next make target starts it again.")
