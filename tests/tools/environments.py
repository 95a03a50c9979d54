"""Runs pytest as another user, in strict UTF-8, or with closed standard streams: `environments.py KIND ARGUMENT...`.

| kind | |
|---|---|
| user | a user without rights; needs root, who may do everything and so finds no fault |
| strict | a UTF-8 locale whose streams take nothing else, in a folder whose name is not ASCII |
| closed | the standard streams are closed, as by `<&- >&- 2>&-`; only pytest's own report is still written |
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
NOT_ASCII = "Größe-日本"


def as_other_user(arguments: list[str]) -> int:
    """Run pytest as nobody, with what root alone may enter on the way to Python and to this folder opened to all."""
    if os.geteuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")):
        print("not run as another user: only root can, with setpriv and unshare", flush=True)
        return 0
    needed = {ROOT, *(Path(os.path.realpath(path)) for path in (sys.prefix, sys.base_prefix))}
    closed = {folder for path in needed for folder in path.parents if not folder.stat().st_mode & 1}
    outermost = {folder for folder in closed if not closed.intersection(folder.parents)}
    with tempfile.TemporaryDirectory(prefix="vtok-tests-") as folder:
        script = ["set -e"]
        for number, place in enumerate(outermost):  # an empty folder in its place, with only what is needed in it
            inside = [path for path in needed if place in path.parents]
            for i, path in enumerate(inside):
                script.append(f"mkdir {folder}/{number}-{i}; mount --bind '{path}' {folder}/{number}-{i}")
            script.append(f"mount -t tmpfs -o mode=755 tmpfs '{place}'")
            script += [
                f"mkdir -p '{path}'; mount --bind {folder}/{number}-{i} '{path}'" for i, path in enumerate(inside)
            ]
        script.append('exec setpriv --reuid=$1 --regid=$1 --clear-groups "${@:2}"')
        home = Path(folder) / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        Path(folder).chmod(0o755)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={home}/tests", *arguments]
        unshared = ["unshare", "--mount", "bash", "-c", "\n".join(script), "bash", str(NOBODY), *command]
        environment = os.environ | {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        environment["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{home}/hypothesis"
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
            print("not run as another user: this system allows no mounts", flush=True)
            return 0
        return subprocess.run(unshared, env=environment, cwd=ROOT, check=False).returncode


def in_strict_utf_8(arguments: list[str]) -> int:
    """Run pytest in a UTF-8 locale, with files in a folder whose name is not ASCII."""
    with tempfile.TemporaryDirectory(prefix="vtok-tests-") as folder:
        environment = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}
        command = [sys.executable, "-m", "pytest", f"--basetemp={folder}/{NOT_ASCII}", *arguments]
        return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


class _ClosedStreams:
    """Closes the standard streams before each test: a run of the program in this process opens them to nowhere."""

    def pytest_sessionstart(self) -> None:
        for number in range(3):
            os.close(number)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        sys.stdin = sys.stdout = sys.stderr = None
        for number in range(3):
            with suppress(OSError):
                if str(Path(f"/proc/self/fd/{number}").readlink()) == os.devnull:
                    os.close(number)


def with_closed_streams(arguments: list[str]) -> int:
    """Run pytest in this process with closed standard streams; its report goes to a copy of standard output."""
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    return pytest.main(["--capture=no", "-p", "no:faulthandler", *arguments], plugins=[_ClosedStreams()])


KINDS = {"user": as_other_user, "strict": in_strict_utf_8, "closed": with_closed_streams}

if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    sys.exit(KINDS[kind](arguments))
