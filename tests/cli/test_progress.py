"""Progress on stderr: log lines every ten seconds, a bar on a terminal, and JSON for programs."""

import json
import re
from dataclasses import replace
from fractions import Fraction
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from support.commands import documented_attributes
from support.videos import ROOT
from vtok.cli.meters import Place, ProgressLine, Style
from vtok.cli.progress import JSON_SECONDS, FileMeter, display, frame_progress, job_progress
from vtok.video.frame import VideoInfo

PLACE = Place(source=Path("in/a.mp4"))
INFO = VideoInfo(width=64, height=48, time_base=Fraction(1, 25), average_rate=Fraction(25), num_frames_from_header=100)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    clock = SimpleNamespace(seconds=1000.0)
    clock.monotonic = lambda: clock.seconds
    monkeypatch.setattr("vtok.cli.progress.time", clock)
    monkeypatch.setattr("vtok.cli.meters.time", clock)
    return clock


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            INFO,
            [
                "encode: 20/100 frames, 2.0 frames/s, 0.08 x real time, 0:00:40 left",
                "encode: 90/100 frames, 4.5 frames/s, 0.18 x real time, 0:00:02 left",
                "encode: 110/100 frames, 2.5 frames/s, 0.10 x real time",
            ],
        ),
        (
            replace(INFO, average_rate=None, num_frames_from_header=None),
            ["encode: 20 frames, 2.0 frames/s", "encode: 90 frames, 4.5 frames/s", "encode: 110 frames, 2.5 frames/s"],
        ),
    ],
)
def test_log_lines_come_every_ten_seconds(info, expected, clock, capsys):
    with frame_progress("encode", PLACE, quiet=False) as progress:
        advance = progress(info)
        for seconds, frames in ((9.9, 8), (10, 12), (19.9, 60), (20, 10), (44, 20), (45, 0)):
            clock.seconds = 1000 + seconds
            advance(frames)
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in expected))


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_no_bar_is_drawn_into_a_log_file(variables, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with frame_progress("encode", PLACE, quiet=False) as progress:
        progress(INFO)(8)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(clock):
    console = Console(file=StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with frame_progress("decode", PLACE, quiet=False, console=console) as progress:
        advance = progress(INFO)
        clock.seconds += 4
        advance(50)
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", console.file.getvalue())
    assert re.search(r"decode ━+.*50/100 frames  12.5 frames/s, 0.50 x real time ", shown)
    with frame_progress("decode", PLACE, quiet=True, console=Console(file=StringIO(), force_terminal=True)) as progress:
        progress(INFO)(50)


def lines_of(text):
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(list(line) == documented_attributes(ProgressLine) for line in lines)
    return lines


def test_programs_get_an_object_a_second_and_a_last_one(clock, capsys):
    place = Place(source=Path("in/a.mp4"), number=2, num_files=3)
    with frame_progress("encode", place, Style.JSON, quiet=True) as progress:
        progress(INFO, "look")(100)
        clock.seconds += 10
        advance = progress(replace(INFO, num_frames_from_header=None), "write")
        for seconds, frames in ((0.5, 8), (JSON_SECONDS, 8), (1.5, 8), (2.0, 8), (2.4, 8)):
            clock.seconds = 1010 + seconds
            advance.written(1000 * frames)
            advance(frames)
    out, err = capsys.readouterr()
    lines = lines_of(err)
    assert out == ""
    assert [(line["phase"], line["seconds"], line["done"], line["finished"]) for line in lines] == [
        ("look", 0, 0, False), ("write", 0, 0, False), ("write", 1, 16, False), ("write", 2, 32, False),
        ("write", 2.4, 40, True),
    ]  # fmt: skip
    assert lines[0]["total"] == 100
    assert lines[-1] == {
        "command": "encode", "source": "in/a.mp4", "file": 2, "files": 3, "phase": "write", "unit": "frames",
        "done": 40, "total": None, "frames": 40, "frames_per_second": 16.667, "seconds": 2.4, "seconds_left": None,
        "bytes": 8000, "finished": True,
    }  # fmt: skip


def test_programs_are_told_the_time_left(clock, capsys):
    with frame_progress("decode", PLACE, Style.JSON, quiet=False) as progress:
        advance = progress(INFO)
        clock.seconds += 2
        advance(25)
    lines = lines_of(capsys.readouterr().err)
    assert [(line["done"], line["seconds_left"]) for line in lines] == [(0, None), (25, 6), (25, 6)]


def test_what_fails_has_no_last_object(clock, capsys):
    def fail():
        with frame_progress("decode", PLACE, Style.JSON, quiet=False) as progress:
            progress(INFO)(25)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert [line["finished"] for line in lines_of(capsys.readouterr().err)] == [False]


def test_programs_get_batches_and_jobs_too(clock, capsys):
    with display(Style.JSON, quiet=True) as shown:
        meter = FileMeter("encode", 3, shown)
        clock.seconds += 4
        meter.advance(50)
        meter.advance(0, files=1, num_bytes=700)
    last = lines_of(capsys.readouterr().err)[-1]
    assert (last["unit"], last["done"], last["total"], last["files"]) == ("files", 1, 3, 3)
    assert (last["frames"], last["frames_per_second"], last["bytes"]) == (50, 12.5, 700)
    assert (last["source"], last["file"], last["finished"]) == (None, None, True)
    jobs = [{"clip": "a", "codec": "vtok", "setting": n, "pictures": None} for n in (1, 2)]
    with job_progress(jobs, Style.JSON, quiet=True) as done:
        for job in jobs:
            done(job)
    last = lines_of(capsys.readouterr().err)[-1]
    assert (last["command"], last["unit"], last["done"], last["total"], last["finished"]) == (
        "bench",
        "jobs",
        2,
        2,
        True,
    )


def test_commands_have_progress_for_programs(vtok, made):
    encoded = vtok("encode", made / "good.mp4", made / "short.mp4", "-o", "out", "--progress", "json", "--quiet")
    lines = lines_of(encoded.err)
    assert (encoded.code, encoded.out) == (0, "")
    assert [(line["file"], line["done"], line["bytes"]) for line in lines if line["finished"]] == [
        (1, 24, Path("out/good.vtok").stat().st_size), (2, 8, Path("out/short.vtok").stat().st_size),
    ]  # fmt: skip
    goal = vtok("encode", made / "good.mp4", "a.vtok", "--psnr", "30", "--progress", "json", "--json", "--quiet")
    assert [line["phase"] for line in lines_of(goal.err)][:2] == ["look", "price"]
    assert json.loads(goal.out)["target"] == "a.vtok"
    for command in (["decode", "a.vtok", "a.mp4"], ["stats", made / "good.mp4", "a.vtok", "--no-vmaf"]):
        last = lines_of(vtok(*command, "--progress", "json").err)[-1]
        assert (last["command"], last["done"], last["finished"]) == (command[0], 24, True)
    assert vtok("decode", "a.vtok", "b.mp4", "--progress", "xml").code == 2


def test_the_page_for_programs_lists_all_fields():
    page = (ROOT / "docs" / "programs.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == documented_attributes(ProgressLine)
