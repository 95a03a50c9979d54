"""Runs of the program, each in a process of its own that is stopped, or meets a full disk, at a chosen moment.

Processes are forked from a server that has imported everything and started no thread, so a run takes a fraction of a
second. The model is the tiny one of the tests.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch

from support.models import new_tiny_tokenizer
from vtok.cli.app import main
from vtok.model import loading
from vtok.system import atomic

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "vtok.cli.app",
        "vtok.files.decode",
        "vtok.files.encode",
        "vtok.files.cut",
        "vtok.files.concat",
        "vtok.training.loop",
    ]
)
# What a run does to the disk through Python; FFmpeg's writes, and those of single calls, are met by `num_bytes`.
_SYSTEM_CALLS = ("chmod", "fsync", "replace")


class Outcome(NamedTuple):
    code: int  # exit code, or minus the number of the signal that ended the process
    err: str


@dataclass(frozen=True)
class Fault:
    """What happens to a run.

    Attributes:
        moment: Number of a moment before or, for signals, after one of the calls that change the disk.
        signal: Sent to the process then.
        error: Number of the system's error with which the call fails then.
        num_bytes: Files cannot become longer than this: the write that would do so kills the process at once, or with
            `error` fails. (The system says EFBIG, whatever `error` is.)
    """

    moment: int | None = None
    signal: int = 0
    error: int = 0
    num_bytes: int | None = None

    def arm(self):
        """Have it happen to this process."""
        if self.num_bytes is not None:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN if self.error else signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.num_bytes))
        if self.moment is not None:
            moments = iter(range(sys.maxsize))
            for name in _SYSTEM_CALLS:
                setattr(os, name, self._watched(getattr(os, name), moments))
            if self.signal:
                for name in ("write", "close"):
                    setattr(atomic._Output, name, self._watched(getattr(atomic._Output, name), moments))

    def _watched(self, call, moments):
        def reach():
            if next(moments) == self.moment:
                if self.error:
                    raise OSError(self.error, os.strerror(self.error))
                os.kill(os.getpid(), self.signal)

        @wraps(call)
        def watched(*arguments, **options):
            reach()
            result = call(*arguments, **options)
            if self.signal:
                reach()
            return result

        return watched


def run(action: Callable[[], None], fault: Fault | None = None) -> Outcome:
    """Do `action`, a function that can be pickled, in a process of its own."""
    readable, writable = _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(target=_run, args=(action, fault, writable))
    process.start()
    writable.close()
    process.join()
    with closing(readable):
        return Outcome(process.exitcode, os.read(readable.fileno(), 2**16).decode())


def _run(action, fault, stderr):
    os.dup2(stderr.fileno(), 2)  # a pipe, which no limit on files concerns
    sys.stderr = sys.stderr or os.fdopen(2, "w")  # the tests themselves may run with closed streams
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # likewise nohup
    if fault:
        fault.arm()
    action()


def program(folder, *arguments):
    """The program `vtok` in `folder`, with the tiny model for any."""
    os.chdir(folder)
    loading.find_weights = lambda name: (Path(name), None)
    loading._shared = lambda *_: new_tiny_tokenizer().pretrained
    sys.argv = ["vtok", *map(str, arguments)]
    main()
