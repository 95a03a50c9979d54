"""The real program on a terminal: its progress bar is looked at, and Ctrl-C in the middle leaves nothing behind."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from support.videos import write_video

PROGRAM = Path(sys.executable).with_name("vtok")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C = b"\x03"


def _take_terminal():
    """In the new process: its standard input is what Ctrl-C is typed at (a shell may have had that ignored)."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal:
    """Runs the program with a pseudo-terminal of 100 columns as its input, output and errors."""

    def __init__(self, *arguments):
        controller, terminal = pty.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(
            [PROGRAM, *map(str, arguments)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env=environment,
            preexec_fn=_take_terminal,
        )
        os.close(terminal)
        self._controller = controller
        self._raw = bytearray()
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._controller, 4096)
            except OSError:  # the program has ended
                return
            if not data:
                return
            with self._changed:
                self._raw += data
                self._changed.notify_all()

    @property
    def text(self):
        """All that was printed, without control sequences."""
        return CONTROL.sub("", self._raw.decode(errors="replace"))

    def wait_for(self, pattern, seconds=90):
        with self._changed:
            assert self._changed.wait_for(lambda: re.search(pattern, self.text), seconds), self.text[-2000:]

    def type(self, keys):
        os.write(self._controller, keys)

    def end(self, seconds=90):
        code = self.process.wait(seconds)
        self._reader.join(5)
        os.close(self._controller)
        return code


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "long.mp4"
    return write_video(path, num_frames=160, size=(160, 128), options={"preset": "ultrafast"})


def test_a_progress_bar_with_frames_speed_and_time_left(source, tmp_path):
    terminal = Terminal("encode", source, tmp_path / "out.vtok")
    terminal.wait_for(r"encode .*[━╸╺]+ .*\d+/160 frames  [\d.]+ frames/s, [\d.]+ x real time +\d:\d\d:\d\d")
    assert terminal.end() == 0
    # The bar is gone in the end; what stays is one line.
    assert re.search(r"out\.vtok: 160 frames, \d+ bytes, [\d.]+ bits per pixel, \d+ kbit/s\s*$", terminal.text)
    assert [path.name for path in tmp_path.iterdir()] == ["out.vtok"]


def test_ctrl_c_in_the_middle_leaves_nothing_behind(source, tmp_path):
    terminal = Terminal("encode", source, tmp_path / "out.vtok", "--quality", "9")
    terminal.wait_for(r"\d+/160 frames  [\d.]+ frames/s")
    terminal.type(CTRL_C)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert list(tmp_path.iterdir()) == []
