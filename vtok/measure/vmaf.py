"""VMAF, measured by an FFmpeg program that has the filter `libvmaf`.

Two of libvmaf's own models are used: `vmaf_v0.6.1`, the default, and `vmaf_v0.6.1neg`, which does not reward
sharpening. Nothing is scaled: frames are compared at their own size, as on a screen of that many pixels. Both videos go
through one pipe, each pair of frames as one picture of double height. So no file is written, and frames are paired by
number.
"""

import json
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import which
from typing import IO

import numpy as np

from vtok.errors import MediaError
from vtok.measure.psnr_ssim import PlanarFrame
from vtok.video.frame import Plane

MISSING = "no ffmpeg with libvmaf: pip install imageio-ffmpeg brings one"

_MODELS = r"version=vmaf_v0.6.1\\:name=vmaf|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
_LOG = "vmaf.json"


@dataclass(frozen=True, slots=True)
class VmafScores:
    """Scores of each frame, 0 to 100."""

    default: list[float]
    neg: list[float]


@cache
def find_ffmpeg() -> str | None:
    """A program with libvmaf: that of the package imageio-ffmpeg, else `ffmpeg` on the PATH; None if neither has it."""
    candidates: list[str | None] = []
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        candidates.append(get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # RuntimeError: no program for this system
        pass
    candidates.append(which("ffmpeg"))
    return next((program for program in candidates if program and _has_libvmaf(program)), None)


def _has_libvmaf(program: str) -> bool:
    try:
        listing = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return any(line.split()[1:2] == ["libvmaf"] for line in listing.stdout.splitlines())


class VmafMeter:
    """Gives pairs of frames to FFmpeg.

    ```
    with VmafMeter(find_ffmpeg(), width=640, height=360) as meter:
        for reference, decoded in zip(source_frames, decoded_frames, strict=True):
            meter.add(reference, decoded)
        print(fmean(meter.finish().default))
    ```

    Args:
        program: Result of `find_ffmpeg`.
        width: Columns of pixels.
        height: Rows of pixels.
        threads: Number of threads of libvmaf; 0 means one per processor.
    """

    def __init__(self, program: str, *, width: int, height: int, threads: int = 0) -> None:
        self._padded_height = height + height % 2
        half = f"crop={width}:{height}:0"
        graph = (
            f"[0:v]split[a][b];[a]{half}:0:exact=1[reference];[b]{half}:{self._padded_height}:exact=1[decoded];"
            f"[decoded][reference]libvmaf=log_fmt=json:log_path={_LOG}:n_threads={threads}:model={_MODELS}"
        )
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{2 * self._padded_height}", "-r", "25"]
        self._folder = tempfile.TemporaryDirectory(prefix="vtok-vmaf-")
        self._program = program
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 # a pipe that nobody reads could fill up
        self._process = subprocess.Popen(
            [program, "-v", "error", "-nostdin", *raw, "-i", "-", "-filter_complex", graph, "-f", "null", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            cwd=self._folder.name,
        )

    def __enter__(self) -> "VmafMeter":
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the program if it has not ended."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # the program no longer reads what is still buffered
            self._pipe.close()
        self._errors.close()
        self._folder.cleanup()

    def add(self, reference: PlanarFrame, decoded: PlanarFrame) -> None:
        """Add one more pair of frames of the given size.

        Raises:
            MediaError: The program ended.
        """
        try:
            for name in ("y", "u", "v"):
                rows = self._padded_height // (1 if name == "y" else 2)
                for frame in (reference, decoded):
                    self._pipe.write(_padded(getattr(frame, name), rows).data)
        except OSError:
            raise self._error() from None

    def finish(self) -> VmafScores:
        """The scores of all frames.

        Raises:
            MediaError: The program failed.
        """
        try:
            self._pipe.close()
        except OSError:
            raise self._error() from None
        if self._process.wait():
            raise self._error()
        frames = json.loads(Path(self._folder.name, _LOG).read_text())["frames"]
        metrics = [frame["metrics"] for frame in frames]
        return VmafScores([m["vmaf"] for m in metrics], [m["vmaf_neg"] for m in metrics])

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _error(self) -> MediaError:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return MediaError(f"{self._program}: cannot measure VMAF: {lines[0] if lines else 'it ended'}")


def _padded(plane: Plane, rows: int) -> Plane:
    """Repeat the last row of `plane` up to `rows` rows. Chroma of an odd height already has enough."""
    return np.ascontiguousarray(np.pad(plane, ((0, rows - len(plane)), (0, 0)), mode="edge"))
