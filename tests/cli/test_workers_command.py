"""`vtok encode --workers`: what it prints, how it resumes, and that a stopped batch leaves nothing half done."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import assert_failed, documented_attributes
from support.videos import ROOT, write_video
from vtok.batch.plan import JobResult
from vtok.cli.progress import FileMeter, display

MODEL = ROOT / "tests" / "golden" / "tiny.safetensors"
OPTIONS = ("--model", MODEL, "--keyframe-seconds", "0.64", "--split-seconds", "1.28")


@pytest.fixture
def folder(vtok):
    """Two videos, one of them long, and a file that is none, in the folder in which the program runs."""
    Path("in/sub").mkdir(parents=True)
    write_video(Path("in/long.mp4"), num_frames=101)
    write_video(Path("in/sub/b.mkv"), num_frames=9)
    Path("in/broken.mp4").write_text("not a video")
    return Path("in")


def test_workers_write_the_same_files_and_tell_of_each_in_a_line(vtok, folder):
    one = vtok("encode", "in", "-o", "one", *OPTIONS[:4], "--json-lines", "--quiet")
    outcome = vtok("encode", "in", "-o", "out", "--workers", "2", *OPTIONS, "--json-lines", "--quiet")
    assert (one.code, outcome.code) == (1, 1)
    assert outcome.err.startswith("vtok: error: in/broken.mp4: ")
    assert outcome.err.count("\n") == 1
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [list(line) for line in lines] == [documented_attributes(JobResult)] * 3
    statuses = {line["source"]: line["status"] for line in lines}
    assert statuses == {"in/long.mp4": "done", "in/sub/b.mkv": "done", "in/broken.mp4": "failed"}
    assert {line["source"]: line["status"] for line in map(json.loads, one.out.splitlines())} == statuses
    for name in ("long.vtok", "sub/b.vtok"):
        assert Path("out", name).read_bytes() == Path("one", name).read_bytes()

    Path("in/broken.mp4").unlink()
    again = vtok("encode", "in", "-o", "out", "--workers", "1", *OPTIONS, "--skip-existing")
    *skipped, last = again.out.splitlines()
    assert sorted(skipped) == ["out/long.vtok: skipped", "out/sub/b.vtok: skipped"]
    assert (again.code, again.err, last) == (0, "", "2 files: 2 skipped")
    planned = vtok("encode", "in", "-o", "new", "--workers", "2", *OPTIONS, "--dry-run")
    assert planned.out.endswith("2 files: 2 planned\n")
    assert not Path("new").exists()


def test_options_of_batches_need_a_folder(vtok, folder):
    for option in (["--workers", "2"], ["--engine", "ray"], ["--json-lines"], ["--total-size", "1MB"]):
        outcome = vtok("encode", "in/long.mp4", "a.vtok", *option)
        assert outcome.code == 2
        assert "--workers, --engine, --total-size and --json-lines are for many inputs, with -o" in outcome.err
    assert_failed(
        vtok("encode", "in", "-o", "out", "--engine", "slurm"), "engine is 'slurm'; expected one of local, ray"
    )


def has_processes(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_batch_leaves_whole_files_only(tmp_path, number):
    (tmp_path / "in").mkdir()
    for index in range(3):
        write_video(tmp_path / f"in/{index}.mp4", num_frames=9)
    write_video(tmp_path / "in/long.mp4", num_frames=6000)
    command = [sys.executable, "-m", "vtok", "encode", "in", "-o", "out", "--workers", "2", *map(str, OPTIONS)]
    process = subprocess.Popen(
        [*command, "--json-lines"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as from a terminal, Ctrl-C goes to all processes
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    first = json.loads(process.stdout.readline())
    assert first["status"] == "done"
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    while has_processes(process.pid):  # the last of them ends a moment later
        time.sleep(0.01)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert Path(first["target"]).name in names
    assert names <= {"0.vtok", "1.vtok", "2.vtok"}


def test_progress_counts_files_and_frames(capsys, monkeypatch):
    clock = iter([0.0, 0.0, *[10.0] * 9])
    monkeypatch.setattr("vtok.cli.progress.time.monotonic", lambda: next(clock))
    with display(quiet=False) as shown:
        progress = FileMeter("encode", 3, shown)
        progress.advance(50)
        with shown.paused():
            progress.advance(0, files=1)
    assert capsys.readouterr() == ("", "encode: 0/3 files, 50 frames, 5.0 frames/s\n")
    with display(quiet=True) as shown:
        FileMeter("encode", 3, shown).advance(50)
    assert capsys.readouterr() == ("", "")
