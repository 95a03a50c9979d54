"""Outputs are complete or absent: runs killed, interrupted and out of room, at every moment that matters."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console

from support.stopped_runs import Fault, program, run
from support.videos import write_video
from vtok.container.verification import verify_file
from vtok.errors import ConfigError
from vtok.files.encode import encode_file
from vtok.files.inspection import file_info
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.model.weights import load_weights, save_weights
from vtok.training.clip_cache import ClipCache
from vtok.training.loop import TrainingRun

PROGRAM = Path(sys.executable).with_name("vtok")
TEMPORARY = r"\.vtok-[0-9a-f]{16}\.\w+"
WRITING_COMMANDS = {
    "encode": ("encode", "in.mkv", "out.vtok", "--quality", 9, "--keyframe-seconds", 0.6),
    "decode to mp4": ("decode", "in.vtok", "out.mp4", "--model", "tiny", "--codec", "ffv1"),
    "decode to mkv": ("decode", "in.vtok", "out.mkv", "--model", "tiny", "--codec", "ffv1"),
    "decode to y4m": ("decode", "in.vtok", "out.y4m", "--model", "tiny", "--end", 0.1),
    "decode to gif": ("decode", "in.vtok", "out.gif", "--model", "tiny"),
    "cut": ("cut", "in.vtok", "out.vtok", "--start", 0.7),
    "concat": ("concat", "in.vtok", "in.vtok", "out.vtok"),
}


def contents(path):
    """What has to be the same whenever a command is run again, of a file that is complete."""
    if path.suffix == ".vtok":
        assert verify_file(path).is_sound
        return path.read_bytes()
    if path.suffix in (".y4m", ".gif"):
        return path.read_bytes()
    with VideoReader(path) as reader:  # not the bytes: FFmpeg gives each Matroska file a number of its own
        frames = [(frame.pts, *(plane.tobytes() for plane in (frame.y, frame.u, frame.v))) for frame in reader]
        assert reader.decode_error is None
    return path.stat().st_size, frames


class Case:
    """A command in a folder of its own, in which its target exists already."""

    def __init__(self, arguments, inputs, folder):
        for name in ("in.mkv", "in.vtok"):
            shutil.copy(inputs / name, folder)
        self.folder = folder
        self.target = folder / next(name for name in arguments if str(name).startswith("out."))
        self._action = partial(program, folder, *arguments, "--force", "--quiet")
        assert run(self._action) == (0, "")
        self._new = contents(self.target)
        self.num_bytes = self.target.stat().st_size
        self._old = (inputs / "old.vtok").read_bytes()
        self._inputs = {*folder.iterdir()} - {self.target}

    def run(self, fault):
        """The outcome of a run that has `fault`, and whether the target is the "old" or the "new" one; it must be."""
        self.target.write_bytes(self._old)
        outcome = run(self._action, fault)
        if self.target.read_bytes() == self._old:
            return outcome, "old"
        assert contents(self.target) == self._new
        return outcome, "new"

    def left_behind(self):
        return {*self.folder.iterdir()} - self._inputs - {self.target}

    def sizes(self):
        """Lengths at which to stop the growing file: all over it, and close to its ends."""
        last = self.num_bytes - 1
        return sorted({0, last, *range(last // 4, last, last // 4)})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_video(folder / "in.mkv", num_frames=32, size=(96, 80), codec="ffv1")
    for name, quality in (("in.vtok", 9), ("old.vtok", 1)):
        options = ["--quality", quality, "--keyframe-seconds", 0.6]
        assert run(partial(program, folder, "encode", "in.mkv", name, *options, "-q")) == (0, "")
    return folder


@pytest.fixture(params=WRITING_COMMANDS)
def case(request, inputs, tmp_path):
    return Case(WRITING_COMMANDS[request.param], inputs, tmp_path)


# -- killed


def test_killed_at_any_moment_a_run_leaves_the_old_file_or_the_new_one(case):
    targets = []
    for moment in count():
        outcome, target = case.run(Fault(moment=moment, signal=signal.SIGKILL))
        if outcome.code == 0:
            break  # there are no more moments
        assert outcome == (-signal.SIGKILL, "")
        targets.append(target)
    # Checked by hand: permissions, fsync, rename and fsync of the folder are there, each with a before and an after.
    assert len(targets) >= 8
    assert targets == sorted(targets, reverse=True)
    assert targets.count("new") == 3  # after the rename; before and after the folder is flushed


def test_killed_in_any_write_a_run_leaves_the_old_file(case):
    for size in case.sizes():
        assert case.run(Fault(num_bytes=size)) == ((-signal.SIGXFSZ, ""), "old")
    left = case.left_behind()
    assert len(left) == len(case.sizes())
    assert all(re.fullmatch(TEMPORARY, path.name) for path in left)
    # The next run finds all these in its way, and minds none.
    assert case.run(Fault(num_bytes=case.num_bytes)) == ((0, ""), "new")
    assert case.left_behind() == left


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_the_real_program_killed_while_it_writes(command, tmp_path):
    source = write_video(tmp_path / "in.mp4", num_frames=32)
    target = "out.vtok"
    if command == "decode":
        subprocess.run([PROGRAM, "encode", source, tmp_path / "in.vtok", "-q"], check=True)
        source, target = tmp_path / "in.vtok", "out.mp4"
    running = {}
    for delay in (0, 0.2):
        folder = tmp_path / str(delay)
        folder.mkdir()
        (folder / target).write_bytes(b"old")
        running[delay] = subprocess.Popen([PROGRAM, command, source, folder / target, "--force", "-q"])
    for delay, process in running.items():
        folder = tmp_path / str(delay)
        while len(list(folder.iterdir())) == 1 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        if (folder / target).read_bytes() != b"old":
            contents(folder / target)
        assert all(re.fullmatch(TEMPORARY, path.name) for path in folder.iterdir() if path.name != target)


# -- interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("case", ["encode", "decode to mkv", "cut"], indirect=True)
def test_interrupted_at_any_moment_a_run_leaves_nothing_behind(case, number):
    for moment in count(step=2):
        outcome, target = case.run(Fault(moment=moment, signal=number))
        assert case.left_behind() == set()
        if outcome.code == 0:
            break
        assert outcome == (128 + number, "")
    assert target == "new"
    assert moment >= 8


def test_what_nohup_ignores_is_ignored(inputs, tmp_path):
    action = partial(_ignoring_hangups, tmp_path, "cut", inputs / "in.vtok", "out.vtok", "-q")
    assert run(action, Fault(moment=3, signal=signal.SIGHUP)) == (0, "")
    assert verify_file(tmp_path / "out.vtok").is_sound


def _ignoring_hangups(*arguments):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    program(*arguments)


# -- two at once


def test_of_runs_at_once_one_makes_the_new_file_and_the_others_say_so(inputs, tmp_path):
    coded = inputs / "in.vtok"
    running = [
        subprocess.Popen([PROGRAM, *arguments, "out.vtok", "-q"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for arguments in (["encode", inputs / "in.mkv"], ["cut", coded], ["cut", coded], ["concat", coded, coded])
    ]
    errors = [process.communicate()[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    assert sorted(map(bool, errors)) == [False, True, True, True]
    for error in filter(None, errors):
        assert re.fullmatch(
            r"vtok: error: out\.vtok: exists (already|by now, [^\n]*)\. Overwrite it with --force\n", error
        )
    assert verify_file(tmp_path / "out.vtok").is_sound
    assert [path.name for path in tmp_path.iterdir()] == ["out.vtok"]


def test_a_file_that_another_run_made_meanwhile_is_not_replaced(inputs, tmp_path, tiny_tokenizer):
    """The other run begins after this one, which must find it out in the end, and is done before it."""

    def encode(quality, meanwhile=lambda: None, **options):
        def progress(info):
            meanwhile()
            return lambda frames: None

        return encode_file(
            inputs / "in.mkv",
            tmp_path / "out.vtok",
            quality=quality,
            tokenizer=tiny_tokenizer,
            progress=progress,
            **options,
        )

    with pytest.raises(
        ConfigError, match=r"out.vtok: exists by now, for another run made it in the meantime\. Overwrite"
    ):
        encode(1, meanwhile=lambda: encode(9))
    assert file_info(tmp_path / "out.vtok").quality == 9
    encode(1, meanwhile=lambda: encode(9, overwrite=True), overwrite=True)
    assert file_info(tmp_path / "out.vtok").quality == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.vtok"]


# -- no room


def assert_cannot_be_written(case, fault, cause):
    outcome, target = case.run(fault)
    assert outcome == (1, f"vtok: error: {case.target.name}: cannot be written: {cause}\n")
    assert target == "old"
    assert case.left_behind() == set()


def test_a_disk_that_is_full_at_any_byte_is_one_line_and_leaves_the_old_file(case):
    for size in case.sizes():
        assert_cannot_be_written(case, Fault(num_bytes=size, error=errno.EFBIG), "File too large")
    assert case.run(Fault(num_bytes=case.num_bytes, error=errno.EFBIG)) == ((0, ""), "new")


def test_a_failure_at_the_end_is_one_line_and_leaves_the_old_file(case):
    """Where space is allotted late, a full disk may show only when the file is flushed."""
    for moment in range(3):  # permissions, fsync, rename
        assert_cannot_be_written(case, Fault(moment=moment, error=errno.ENOSPC), "No space left on device")
    # The folder could not be flushed, but the file is there.
    assert case.run(Fault(moment=3, error=errno.EIO)) == ((0, ""), "new")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system, and not everywhere")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(small_disk, inputs):
    (small_disk / "full").write_bytes(bytes(16 * 1024))
    for command, *arguments in WRITING_COMMANDS.values():
        names = [inputs / name if str(name).startswith("in.") else name for name in arguments]
        outcome = run(partial(program, small_disk, command, *names))
        target = next(name for name in arguments if str(name).startswith("out."))
        assert outcome == (1, f"vtok: error: {target}: cannot be written: No space left on device\n")
        assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_a_disk_that_is_read_only(small_disk, inputs):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for command, *arguments in WRITING_COMMANDS.values():
        names = [inputs / name if str(name).startswith("in.") else name for name in arguments]
        outcome = run(partial(program, small_disk, command, *names))
        target = next(name for name in arguments if str(name).startswith("out."))
        message = f"vtok: error: {target}: the folder {small_disk} is not writable. Choose another folder.\n"
        assert outcome == (1, message)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing/out", r"the folder \S+/missing does not exist\. Create it first\."),
        ("folder", r"is not a regular file, and only those can be replaced\. Give a file name\."),
    ],
)
@pytest.mark.parametrize("command", ["cut", "concat"])
def test_places_where_no_file_can_be(command, place, message, inputs, tmp_path):
    (tmp_path / "folder.vtok").mkdir()
    for force in ([], ["--force"]):
        outcome = run(partial(program, tmp_path, command, inputs / "in.vtok", f"{place}.vtok", *force))
        assert outcome.code == 1
        assert re.fullmatch(rf"vtok: error: {place}\.vtok: {message}\n", outcome.err)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.vtok"]


# -- training

SAVED = {"checkpoint.pt", "weights.safetensors", "weights.json"}


def save_training(config, cache, folder):
    """Begin a training run, or go on with it, and save it one step later."""
    clips = ClipCache(cache)
    training = TrainingRun(config, folder, train=clips, validation=clips, console=Console(quiet=True))
    training.step += 1
    training.save()


def saved_step(config, cache, folder):
    """The step of a training run that can be resumed, and whose weights can be used."""
    clips = ClipCache(cache)
    VideoTokenizer.from_pretrained(folder / "weights.safetensors")
    return TrainingRun(config, folder, train=clips, validation=clips, console=Console(quiet=True)).step


@pytest.fixture
def training(folders, tmp_path):
    """Arguments of `save_training` and `saved_step`, for a run that was saved once."""
    root, config, _ = folders
    where = config, root / "cache" / "train", tmp_path
    assert run(partial(save_training, *where)) == (0, "")
    return where


def test_killed_while_saving_a_training_run_can_be_resumed(training, tmp_path):
    # Before the rename of the checkpoint and after it; before the rename of the weights; before the card is written.
    for moment, step in ((8, 1), (9, 2), (20, 3), (24, 4)):
        outcome = run(partial(save_training, *training), Fault(moment=moment, signal=signal.SIGKILL))
        assert outcome == (-signal.SIGKILL, "")
        assert saved_step(*training) == step
    assert run(partial(save_training, *training)) == (0, "")
    assert saved_step(*training) == 5
    left = {path.name for path in tmp_path.iterdir()} - SAVED
    assert left
    assert all(re.fullmatch(TEMPORARY, name) for name in left)


def test_a_full_disk_while_saving_a_training_run(training, tmp_path):
    last = (tmp_path / "checkpoint.pt").stat().st_size - 1
    for size in (last // 2, last):
        outcome = run(partial(save_training, *training), Fault(num_bytes=size, error=errno.EFBIG))
        assert outcome.code == 1
        error = outcome.err.splitlines()[-1]
        assert error == f"vtok.errors.MediaError: {tmp_path / 'checkpoint.pt'}: cannot be written: File too large"
        assert saved_step(*training) == 1
    weights = tmp_path / "weights.safetensors"
    outcome = run(partial(save_weights, weights, *load_weights(weights)), Fault(num_bytes=999, error=errno.EFBIG))
    error = outcome.err.splitlines()[-1]
    assert error == f"vtok.errors.MediaError: {weights}: cannot be written: File too large"
    assert {path.name for path in tmp_path.iterdir()} == SAVED
