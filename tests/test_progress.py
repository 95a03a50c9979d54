"""Progress on stderr: log lines every ten seconds, and a bar on a terminal."""

import re
from dataclasses import replace
from fractions import Fraction
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from vtok.cli.progress import frame_progress
from vtok.video.frame import VideoInfo

INFO = VideoInfo(width=64, height=48, time_base=Fraction(1, 25), average_rate=Fraction(25), num_frames_from_header=100)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    clock = SimpleNamespace(seconds=1000.0)
    clock.monotonic = lambda: clock.seconds
    monkeypatch.setattr("vtok.cli.progress.time", clock)
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
    with frame_progress("encode", quiet=False) as progress:
        advance = progress(info)
        for seconds, frames in ((9.9, 8), (10, 12), (19.9, 60), (20, 10), (44, 20), (45, 0)):
            clock.seconds = 1000 + seconds
            advance(frames)
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in expected))


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_no_bar_is_drawn_into_a_log_file(variables, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with frame_progress("encode", quiet=False) as progress:
        progress(INFO)(8)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(clock):
    console = Console(file=StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with frame_progress("decode", quiet=False, console=console) as progress:
        advance = progress(INFO)
        clock.seconds += 4
        advance(50)
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", console.file.getvalue())
    assert re.search(r"decode ━+.*50/100 frames  12.5 frames/s, 0.50 x real time ", shown)
    with frame_progress("decode", quiet=True, console=Console(file=StringIO(), force_terminal=True)) as progress:
        progress(INFO)(50)
