"""Random access to a `.vtok` file as RGB pictures, with the method names of torchcodec's decoder.

video = vtok.open("clip.vtok")
video[0]                # uint8 [3, h, w]
video[100:200:2]        # uint8 [50, 3, h, w]
video.tokens[0:10]      # NumPy, uint8 [10, n, H, W]: codes of latent frames, no network runs
"""

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex

import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.token_reader import TokenReader
from vtok.errors import ConfigError
from vtok.media.pixels import rgb_from_planes
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.closing import Closing
from vtok.system.sources import ByteSource, Readable
from vtok.video.frame import Frame

_WORTH_DECODING = 32  # a gap of at most this many frames is decoded through; after a longer one decoding starts anew
_ROUNDING = 1e-4  # of a tick: seconds in floating point may be slightly less than the intended timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMetadata:
    """The metadata of a `.vtok` file.

    Attributes:
        path: Path of the file; its name in messages if it has no path.
        width: Columns of pixels.
        height: Rows of pixels.
        num_frames: Number of frames.
        duration_seconds: Seconds from the first frame's timestamp to the end of the last frame.
        average_fps: Frames per second, a hint; None if the source did not say.
        quality: The quality setting, 1 to 9: the mean of that of all frames.
        model_name: Name of the model that made the codes.
        num_bytes: Size of the file.
    """

    path: str
    width: int
    height: int
    num_frames: int
    duration_seconds: float
    average_fps: float | None
    quality: float
    model_name: str
    num_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """RGB frames, `data` uint8 `[N, 3, h, w]`, and the time at which each begins, `pts_seconds` float64 `[N]`."""

    data: Tensor
    pts_seconds: Tensor


class VideoDecoder(Closing):
    """The frames of a `.vtok` file by number or by time, as full-range RGB.

    Each access reads the groups of the frames, and decodes these frames and a few before them.

    Args:
        source: The `.vtok` file: a path, bytes, or a binary file object that can seek. A file object is read from its
            beginning and is not closed, and each read restores its position; nothing else may read it at the same time.
        tokenizer: The tokenizer that decodes; default: the one in this package that the file names.

    Raises:
        FormatError: The file is not a `.vtok` file, or it is damaged; also raised on access.
        ModelMismatchError: The file was written with other weights than those of the tokenizer.

    Example:
        >>> with vtok.open("clip.vtok") as video:
        ...     half = video[len(video) // 2]
    """

    def __init__(self, source: Readable, *, tokenizer: VideoTokenizer | None = None) -> None:
        self._source = ByteSource.of(source)
        self._video = CompressedVideo(self._source, tokenizer=tokenizer)
        self._given_tokenizer = tokenizer
        self._reformatter = VideoReformatter()

    def close(self) -> None:
        """Close the file."""
        self._video.close()

    def __len__(self) -> int:
        return self._video.index.num_frames

    def __getitem__(self, key: SupportsIndex | slice) -> Tensor:
        """Frame `key`, uint8 `[3, h, w]`, or a slice of frames, `[N, 3, h, w]`; negative numbers count from the end."""
        if isinstance(key, slice):
            return self.get_frames_at(range(len(self))[key]).data
        return self.get_frames_at([operator.index(key)]).data[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Yield all frames in order, uint8 `[3, h, w]` each, in constant memory."""
        for frame in self._video.frames():
            yield self._rgb(frame)

    @property
    def metadata(self) -> VideoMetadata:
        """The metadata of the file."""
        video, header = self._video, self._video.header
        return VideoMetadata(
            path=str(video.path),
            width=header.width,
            height=header.height,
            num_frames=len(self),
            duration_seconds=float(video.index.duration),
            average_fps=float(header.average_rate) if header.average_rate else None,
            quality=video.index.quality,
            model_name=header.model_name,
            num_bytes=video.index.num_bytes,
        )

    @cached_property
    def tokens(self) -> TokenReader:
        """The stored codes of the frames, by latent frame; also usable after `close`."""
        return TokenReader(self._source, tokenizer=self._given_tokenizer)

    def get_frames_at(self, indices: Iterable[SupportsIndex]) -> FrameBatch:
        """The frames with these numbers, in the given order; negative numbers count from the end.

        Raises:
            IndexError: A frame does not exist.
        """
        wanted = [self._checked(operator.index(index)) for index in indices]
        ordered = sorted(set(wanted))
        first_pts = self._video.index.first_pts
        frames: dict[int, tuple[Tensor, int]] = {}
        for run in _runs(ordered):
            keep = set(run)
            for index, frame in enumerate(self._video.frames(run[0], run[-1] + 1), run[0]):
                if index in keep:
                    frames[index] = self._rgb(frame), frame.pts - first_pts
        info = self._video.info
        data = torch.empty(len(wanted), 3, info.height, info.width, dtype=torch.uint8)
        for row, index in zip(data, wanted, strict=True):
            row.copy_(frames[index][0])
        seconds = [float(frames[index][1] * info.time_base) for index in wanted]
        return FrameBatch(data, torch.tensor(seconds, dtype=torch.float64))

    def get_frames_played_at(self, seconds: Iterable[float]) -> FrameBatch:
        """The frames that are on the screen at these times, in seconds after frame 0.

        Raises:
            ConfigError: A time is negative or not finite.
            IndexError: A time is not before the end of the video.
        """
        times, duration = list(seconds), self._video.index.duration
        for time in times:
            if not 0 <= time < math.inf:
                allowed = f"at least 0 and less than {float(duration):g} s"
                raise ConfigError(f"{self._video.path}: no frame is played at {time:g} s: must be {allowed}")
            if time >= duration:
                raise IndexError(f"{time:g} s is outside the video, which lasts {float(duration):g} s")
        return self.get_frames_at(map(self._played_at, times))

    def _played_at(self, seconds: float) -> int:
        time_base = self._video.header.time_base
        tick = math.floor(seconds / float(time_base) + _ROUNDING)
        return max(0, self._video.index.first_frame_at((tick + 1) * time_base) - 1)

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of a video of {len(self)} frames")
        return index % len(self)

    def _rgb(self, frame: Frame) -> Tensor:
        return torch.from_numpy(rgb_from_planes(frame, self._video.info, self._reformatter)).permute(2, 0, 1)


def _runs(ordered: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split ascending numbers into runs whose gaps are short enough to be decoded through."""
    start = 0
    for i in range(1, len(ordered) + 1):
        if i == len(ordered) or ordered[i] - ordered[i - 1] > _WORTH_DECODING:
            if i > start:
                yield ordered[start:i]
            start = i


def open(source: Readable, *, tokenizer: VideoTokenizer | None = None) -> VideoDecoder:
    """Open a `.vtok` file for random access; see `VideoDecoder`."""
    return VideoDecoder(source, tokenizer=tokenizer)
