"""Passes frames and packets on to a program that plays videos, as they come: Matroska with raw frames, in a pipe."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from shutil import which
from typing import IO

import av
import av.error
from av.container import OutputContainer
from av.video.stream import VideoStream

from vtok.errors import ConfigError, MediaError
from vtok.media.pixels import frame_from_planes
from vtok.media.track_writer import BESIDE_SUBTITLES, TrackWriter
from vtok.media.writer import describe_frames
from vtok.video.frame import Frame, VideoInfo
from vtok.video.times import DEFAULT_RATE
from vtok.video.tracks import Extras, TrackPacket

MISSING = (
    "no player found: ffplay or mpv is needed. Install FFmpeg, which has ffplay (ffmpeg.org, or the package ffmpeg of "
    "your system), or mpv (mpv.io); or decode the file to .mp4, which any player opens"
)


class PlayerClosedError(Exception):
    """The player was closed before the end."""


def player_command(title: str, info: VideoInfo) -> list[str]:
    """The command of the player that is at hand, which plays its standard input.

    Matroska's muxer cannot be told the shape of pixels that are not square, so the player is.

    Args:
        title: Title of the window.
        info: Size and shape of the frames.

    Raises:
        ConfigError: There is none.
    """
    shape = info.sample_aspect_ratio
    if program := which("ffplay"):
        setsar = ["-vf", f"setsar={shape}"] if shape != 1 else []
        return [program, "-hide_banner", "-loglevel", "error", "-autoexit", "-window_title", title, *setsar, "-i", "-"]
    if program := which("mpv"):
        width, height = info.width * shape.numerator, info.height * shape.denominator
        aspect = [f"--video-aspect-override={width}:{height}"] if shape != 1 else []
        return [program, "--msg-level=all=error", f"--force-media-title={title}", *aspect, "-"]
    raise ConfigError(MISSING)


class PlayerWriter:
    """Writes frames and packets to the standard input of a player; `VideoWriter` explains the methods and attributes.

    Args:
        pipe: The standard input of the player.
        info: Size, times and colours of the frames.
        extras: The tracks of sound and subtitles.

    Raises:
        PlayerClosedError: By the methods: the player does not read any more.
    """

    def __init__(self, pipe: IO[bytes], info: VideoInfo, extras: Extras) -> None:
        self.notices: list[str] = []
        self.last_frame_ticks = 0
        self._info = info
        self._shift: int | None = None
        self._pipe = _Pipe(pipe)
        container = av.open(self._pipe, "w", format="matroska", options=BESIDE_SUBTITLES if extras.subtitles else {})
        assert isinstance(container, OutputContainer)
        self._container = container
        stream = container.add_stream("rawvideo", rate=info.average_rate or DEFAULT_RATE, time_base=info.time_base)
        assert isinstance(stream, VideoStream)
        describe_frames(stream, info, "yuv420p")
        self._stream = stream
        self._tracks = TrackWriter(container, ".mkv", extras.tracks, self.notices)  # the first frame begins the file

    def write(self, frame: Frame) -> None:
        """Pass a frame on; this waits while the player has enough."""
        if self._shift is None:
            self._shift = max(0, -frame.pts)
        picture = frame_from_planes(frame, "yuv420p")
        picture.pts, picture.time_base = frame.pts + self._shift, self._info.time_base
        with self._watched():
            self._container.mux(self._stream.encode(picture))

    def write_packet(self, packet: TrackPacket) -> None:
        """Pass a packet on."""
        with self._watched():
            self._tracks.write(packet, (self._shift or 0) * self._info.time_base)

    def finish(self) -> None:
        """Pass on what is left."""
        with self._watched():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def close(self) -> None:
        """Drop what the player no longer reads."""
        self._tracks.close()
        with suppress(OSError, av.error.FFmpegError):
            self._container.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, av.error.FFmpegError) as error:
            if self._pipe.is_closed:
                raise PlayerClosedError from None
            raise MediaError(f"the player cannot be given the video: {error}") from error


class _Pipe:
    """A pipe that cannot seek, and remembers whether it is still read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.is_closed = False

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError:
            self.is_closed = True
            raise


def play(title: str, info: VideoInfo, extras: Extras, write: Callable[[PlayerWriter], object]) -> bool:
    """Start a player, give it what `write` writes, and wait for its end.

    Args:
        title: Title of the window.
        info: Size, times and colours of the frames.
        extras: The tracks of sound and subtitles.
        write: Called with the writer; it is stopped by PlayerClosedError when the player is closed.

    Returns:
        Whether the player was given everything.

    Raises:
        ConfigError: There is no player.
        MediaError: The player failed, for example because there is no screen.
    """
    command = player_command(title, info)
    is_complete = False
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody reads could fill up
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            with suppress(PlayerClosedError), closing(PlayerWriter(_standard_input(process), info, extras)) as writer:
                write(writer)
                writer.finish()
                is_complete = True
            with suppress(OSError):
                _standard_input(process).close()
            process.wait()
        finally:
            process.kill()
            process.wait()
            with suppress(OSError):
                _standard_input(process).close()
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise MediaError(f"{command[0]}: {lines[0] if lines else f'ended with code {process.returncode}'}")
    return is_complete


def _standard_input(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin
