import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vtok.errors import MediaError
from vtok.system.atomic import atomic_write


def test_a_clean_exit_leaves_the_new_file_and_nothing_else(tmp_path):
    path = tmp_path / "clip.vtok"
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".vtok"
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_exception_leaves_things_as_they_were(tmp_path, error, old):
    path = tmp_path / "clip.vtok"
    if old is not None:
        path.write_bytes(old)

    def write_half():
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise error

    with pytest.raises(error):
        write_half()
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([] if old is None else [old])


def test_an_exception_before_anything_was_written_is_the_one_that_is_seen(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a") as _:
        _ = 1 // 0


def test_permissions_of_the_replaced_file_are_kept(tmp_path):
    path = tmp_path / "clip.vtok"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_stays_one(tmp_path):
    real, link = tmp_path / "real.vtok", tmp_path / "link.vtok"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with atomic_write(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["missing/clip.vtok", "folder", "pipe"])
def test_places_that_cannot_be_written_are_refused_before_anything_happens(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MediaError, match=name) as caught, atomic_write(tmp_path / name):
        pytest.fail("the body must not run")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_body_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="cannot be written: No such file"), atomic_write(tmp_path / "clip.vtok"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_killed_in_the_middle_the_old_file_is_whole(tmp_path):
    path = tmp_path / "clip.vtok"
    path.write_bytes(b"old")
    script = (
        "import os, signal, sys; from vtok.system.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as t:\n"
        "    t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
