import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from vtok.errors import ConfigError, MediaError
from vtok.system.atomic import atomic_write, move_together


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
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


# -- two runs at once


def no_hard_links(*_):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("has_links", [True, False])
def test_of_two_runs_at_once_the_first_one_makes_a_new_file_and_the_other_says_so(has_links, tmp_path, monkeypatch):
    if not has_links:
        monkeypatch.setattr(os, "link", no_hard_links)
    path = tmp_path / "clip.vtok"

    def both():
        with atomic_write(path, overwrite=False) as second:
            with atomic_write(path, overwrite=False) as first:
                first.write_bytes(b"first")
            second.write_bytes(b"second")

    with pytest.raises(ConfigError, match=r"clip.vtok: exists by now, .* Overwrite it with overwrite=True$"):
        both()
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(path) as third:
        third.write_bytes(b"third")
    assert path.read_bytes() == b"third"


# -- several files together


class Moved:
    """Three new files for four places, two of which are taken."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "new").mkdir()
        self.moves = {}
        for name in "abc":
            (folder / "new" / name).write_bytes(f"new {name}".encode())
            self.moves[folder / "new" / name] = folder / name
        for name in "bd":
            (folder / name).write_bytes(f"old {name}".encode())

    def contents(self):
        return {path.name: path.read_text() for path in self.folder.iterdir() if path.is_file()}


OLD = {"b": "old b", "d": "old d"}
NEW = {"a": "new a", "b": "new b", "c": "new c", "d": "old d"}


@pytest.mark.parametrize("has_links", [True, False])
def test_several_files_are_moved_together(has_links, tmp_path, monkeypatch):
    if not has_links:
        monkeypatch.setattr(os, "link", no_hard_links)
    for name in ("refused", "replaced"):
        (tmp_path / name).mkdir()
    moved = Moved(tmp_path / "refused")
    with pytest.raises(ConfigError, match="/b: exists by now"):
        move_together(moved.moves, overwrite=False)
    assert moved.contents() == OLD
    moved = Moved(tmp_path / "replaced")
    move_together(moved.moves, overwrite=True)
    assert moved.contents() == NEW
    assert sorted(path.name for path in moved.folder.iterdir()) == ["a", "b", "c", "d", "new"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("has_links", [True, False])
def test_after_any_failure_while_files_are_moved_all_is_as_it_was(error, has_links, tmp_path, monkeypatch):
    """The failure comes before each call that changes a folder, and after each."""
    original = {name: getattr(os, name) for name in ("link", "replace", "mkdir", "unlink")}
    if not has_links:
        original["link"] = no_hard_links
    contents = []
    for moment in count():
        (tmp_path / str(moment)).mkdir()
        moved = Moved(tmp_path / str(moment))
        calls = count()

        def watched(call, reach, *arguments, **options):
            reach()
            call(*arguments, **options)
            reach()

        def reach(calls=calls, moment=moment):
            if next(calls) == moment:
                raise error

        with monkeypatch.context() as patched, suppress(type(error)):
            for name, call in original.items():
                patched.setattr(os, name, partial(watched, call, reach))
            move_together(moved.moves, overwrite=True)
        if next(calls) <= moment:
            break  # there are no more moments
        contents.append(moved.contents())
        assert contents[-1] in (OLD, NEW)
        if contents[-1] == OLD:
            assert sorted(path.name for path in moved.folder.iterdir()) == ["b", "d", "new"]
    assert contents.count(OLD) >= 6
