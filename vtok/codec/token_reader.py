"""The tokens of a `.vtok` file by latent frame or by time, as NumPy arrays; no network runs, only the range coder.

    tokens = vtok.open("clip.vtok").tokens
    tokens.shape                # (T, n, H, W)
    tokens[-1]                  # uint8 [n, H, W]
    tokens[10:20:2]             # uint8 [5, n, H, W]

A latent frame is found by its group: groups (four seconds, unless said otherwise) are decoded as a whole and checked
against the CRC of their codes, and the last ones stay in memory. No file is kept open, so readers may be used by
several threads, inherited by forked processes, and pickled.
"""

import math
import operator
import os
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, NamedTuple, SupportsIndex

import numpy as np

from vtok.codec.chunk_coder import latent_size
from vtok.codec.file_model import card_of, model_of
from vtok.codec.group_decoder import decode_group
from vtok.container.reader import ContainerReader, GroupLocation, VideoGroup, opened
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import Codes
from vtok.errors import ConfigError, FormatError, naming
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.times import exact_seconds


class DecodedGroup(NamedTuple):
    """A group's codes uint8 `[n, H, W]` of each latent frame, not to be changed, and the timestamps of its frames."""

    codes: list[Codes]
    pts: tuple[int, ...]
    is_restart: bool


class GroupCache:
    """The last decoded groups, of one file or of several; for any number of threads."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self._groups: OrderedDict[tuple[Path, int], DecodedGroup] = OrderedDict()
        self._lock = Lock()

    def get(self, path: Path, place: int) -> DecodedGroup | None:
        """Group number `place` of a file, if it is here."""
        with self._lock:
            if (path, place) in self._groups:
                self._groups.move_to_end((path, place))
            return self._groups.get((path, place))

    def put(self, path: Path, place: int, group: DecodedGroup) -> None:
        """Keep a group, in place of the one that was not used for longest."""
        with self._lock:
            self._groups[path, place] = group
            self._groups.move_to_end((path, place))
            while len(self._groups) > self.size:
                self._groups.popitem(last=False)

    def __reduce__(self) -> tuple[type["GroupCache"], tuple[int]]:
        return GroupCache, (self.size,)


class TokenReader:
    """The codes of a `.vtok` file, read as they are asked for, by latent frame.

    Making one reads the header and the index; the model's prior is loaded, once per process, when codes are first read.

    Attributes:
        path: The file.
        header: Its header.
        shape: `(T, n, H, W)`: latent frames, channels, latent rows and columns.
        dtype: uint8.
        is_complete: Whether the file has its end; of one that was cut off, these are the complete groups.
        last_frame_ticks: How long the last frame is shown, in units of the header's time base; 0 if not known.

    Args:
        path: The `.vtok` file.
        tokenizer: Default: the one in this package that the file names.
        cache: Where decoded groups stay; default: one of this reader's own, with two.

    Raises:
        FormatError: Not a `.vtok` file, or damaged; on access too.
        ModelMismatchError: It was written with other weights than those of the tokenizer.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: VideoTokenizer | None = None,
        cache: GroupCache | None = None,
    ) -> None:
        self.path = Path(path)
        self._tokenizer = tokenizer
        self._cache = GroupCache() if cache is None else cache
        with opened(self.path) as file:
            reader = ContainerReader(file)
            self.header = reader.header
            if tokenizer is None:
                card_of(self.header)
            else:
                model_of(self.header, tokenizer)
            self._locations = reader.read_index()
            self.is_complete = reader.totals is not None
            self.last_frame_ticks = reader.last_frame_ticks
        self._starts = [0]
        for location in self._locations:
            self._starts.append(self._starts[-1] + self.header.num_latent_frames(location.num_frames))
        height, width = latent_size(self.header.height, self.header.width)
        self.shape = (self._starts[-1], self.header.num_codebooks, height, width)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all codes as one array."""
        return math.prod(self.shape)

    @property
    def num_frames(self) -> int:
        """Frames that the latent frames stand for."""
        return self._locations[-1].end_frame if self._locations else 0

    def __getitem__(self, key: SupportsIndex | slice) -> Codes:
        """Latent frame `key`, uint8 `[n, H, W]`, or those of a slice, `[T, n, H, W]`; negative numbers from the end."""
        if isinstance(key, slice):
            return self._read(range(len(self))[key])
        index = operator.index(key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"latent frame {index} of a file of {len(self)} latent frames")
        frame: Codes = self._read(range(index % len(self), index % len(self) + 1))[0]
        return frame

    def __iter__(self) -> Iterator[Codes]:
        """All latent frames in order, uint8 `[n, H, W]` each, in the memory of a group."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if copy is False:
            raise ValueError("codes are decoded: they cannot be had without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def between_seconds(self, start: float, end: float | None = None) -> Codes:
        """Codes uint8 `[T, n, H, W]` of the latent frames with a frame that begins in a stretch of time.

        Args:
            start: When the stretch begins, in seconds after frame 0.
            end: Before what it ends, likewise; None for the end of the video.

        Raises:
            ConfigError: There are none.
        """
        first = self._first_frame_at(exact_seconds(start))
        stop = self.num_frames if end is None else self._first_frame_at(exact_seconds(end))
        if start < 0 or first >= stop:
            until = "the end" if end is None else f"{end:g} s"
            raise ConfigError(f"{self.path}: no frame begins from {start:g} s to {until}")
        return self[self.latent_of_frame(first) : self.latent_of_frame(stop - 1) + 1]

    def latent_of_frame(self, index: int) -> int:
        """The latent frame that stands for frame `index`.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of a file of {self.num_frames} frames")
        place = bisect_right(self._locations, index, key=lambda location: location.first_frame) - 1
        return self._starts[place] + (index - self._locations[place].first_frame) // self.header.frames_per_latent

    def first_frame(self, index: int) -> int:
        """Number of the first frame that latent frame `index` stands for, from the index of the file alone."""
        place = self._place(index)
        return self._locations[place].first_frame + self.header.frames_per_latent * (index - self._starts[place])

    def pts_seconds(self, index: int) -> float:
        """When the first frame of latent frame `index` begins, in seconds after frame 0; reads its group."""
        place = self._place(index)
        pts = self.group(place).pts[self.header.frames_per_latent * (index - self._starts[place])]
        return float((pts - self._first_pts(self._locations[0])) * self.header.time_base)

    @property
    def num_groups(self) -> int:
        """Groups in the file."""
        return len(self._locations)

    def group(self, place: int) -> DecodedGroup:
        """Group `place`, counted from 0, from the cache or from the file.

        Raises:
            FormatError: It is damaged, or the file is not the one that was opened any more.
        """
        group = self._cache.get(self.path, place)
        if group is None:
            prior = self._prior()
            stored = self._read_group(self._locations[place])
            with naming(self.path):
                codes = decode_group(prior, self.header, stored)
            group = DecodedGroup(codes, stored.pts, stored.is_restart)
            self._cache.put(self.path, place, group)
        return group

    def _read(self, indices: range) -> Codes:
        codes = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for row, index in zip(codes, indices, strict=True):
            place = self._place(index)
            row[:] = self.group(place).codes[index - self._starts[place]]
        return codes

    def _place(self, index: int) -> int:
        """The group that latent frame `index` is in."""
        if not 0 <= index < len(self):
            raise IndexError(f"latent frame {index} of a file of {len(self)} latent frames")
        return bisect_right(self._starts, index) - 1

    def _prior(self) -> ExactPrior:
        with naming(self.path):
            return model_of(self.header, self._tokenizer).exact_prior

    def _first_frame_at(self, seconds: Fraction) -> int:
        """The first frame that begins `seconds` after frame 0 or later; behind the last if there is none."""
        if not self._locations:
            return 0
        target = math.ceil(self._first_pts(self._locations[0]) + seconds / self.header.time_base)
        place = max(0, bisect_left(self._locations, target, key=self._first_pts) - 1)
        location = self._locations[place]
        return location.first_frame + bisect_left(self._read_group(location).pts, target)

    def _first_pts(self, location: GroupLocation) -> int:
        with opened(self.path) as file:
            return self._reader(file).read_group_head(location).first_pts

    def _read_group(self, location: GroupLocation) -> VideoGroup:
        with opened(self.path) as file:
            return self._reader(file).read_group(location)

    def _reader(self, file: BinaryIO) -> ContainerReader:
        """Opening takes a fraction of a millisecond, and saves threads and processes from sharing a file's position."""
        reader = ContainerReader(file)
        if reader.header != self.header:
            raise FormatError("is not the file any more that was opened")
        return reader
