"""The tokens of a `.vtok` file by latent frame or by time, as NumPy arrays; no network runs, only the range coder.

    tokens = vtok.open("clip.vtok").tokens
    tokens.shape                # (T, n, H, W)
    tokens[-1]                  # uint8 [n, H, W]
    tokens[10:20:2]             # uint8 [5, n, H, W]
    tokens.motion[-1]           # int16 [8, 2, rows, columns], vectors in quarters of a pixel

A latent frame is found by its group. Groups (of four seconds by default) are decoded as a whole and checked against the
CRC of their codes, and the last ones stay in memory. No file is kept open, so readers may be used by several threads,
inherited by forked processes, and pickled.
"""

from collections import OrderedDict
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import numpy as np

from vtok.codec.chunk_coder import latent_size
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.file_index import FileIndex
from vtok.codec.file_model import card_of, model_of
from vtok.codec.group_decoder import decode_group
from vtok.codec.latent_array import Array, LatentArray
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import Codes
from vtok.errors import naming
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.sources import ByteSource, Readable
from vtok.video.motion import NUM_FIELDS, motion_size
from vtok.video.times import exact_seconds


class DecodedGroup(NamedTuple):
    """The tokens of a group's chunks, which must not be changed, its frames' timestamps, and its quality."""

    tokens: list[ChunkTokens]
    pts: tuple[int, ...]
    quality: float


class GroupCache:
    """Keeps the last decoded groups of one or several files; for any number of threads."""

    def __init__(self, size: int = 2) -> None:
        self.size = size
        self._groups: OrderedDict[tuple[FileIndex, int], DecodedGroup] = OrderedDict()
        self._lock = Lock()

    def get(self, file: FileIndex, place: int) -> DecodedGroup | None:
        """Group number `place` of a file, if the cache has it."""
        with self._lock:
            if (file, place) in self._groups:
                self._groups.move_to_end((file, place))
            return self._groups.get((file, place))

    def put(self, file: FileIndex, place: int, group: DecodedGroup) -> None:
        """Keep a group, in place of the least recently used one."""
        with self._lock:
            self._groups[file, place] = group
            self._groups.move_to_end((file, place))
            while len(self._groups) > self.size:
                self._groups.popitem(last=False)

    def __reduce__(self) -> tuple[type["GroupCache"], tuple[int]]:
        return GroupCache, (self.size,)


class TokenReader(LatentArray):
    """The codes of a `.vtok` file by latent frame, read on demand, and beside them the motion.

    Making a reader reads the header and the index. The model's prior is loaded when codes are first read, once per
    process.

    Attributes:
        index: The places of everything in the file.
        path: Path of the file, or its name in messages if it has no path.
        header: The file's header.
        shape: `(T, n, H, W)`: latent frames, channels, latent rows and columns.
        dtype: uint8.
        is_complete: Whether the file has its end; a reader of a file that was cut off has the complete groups.
        last_frame_ticks: Duration of the last frame, in units of the header's time base; 0 if it is not known.

    Args:
        source: The `.vtok` file: a path, bytes, or a binary file object that can seek. A file object is read from its
            beginning and is not closed, and each read restores its position; nothing else may read it at the same time,
            and no other process can have the reader.
        tokenizer: The tokenizer whose prior decodes; default: the one in this package that the file names.
        cache: Cache of decoded groups; default: one of this reader's own, for two groups.

    Raises:
        FormatError: The file is not a `.vtok` file, or it is damaged; also raised on access.
        ModelMismatchError: The file was written with other weights than those of the tokenizer.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        source: Readable | ByteSource,
        *,
        tokenizer: VideoTokenizer | None = None,
        cache: GroupCache | None = None,
    ) -> None:
        self.index = index = FileIndex(ByteSource.of(source))
        self.path, self.header = index.path, index.header
        self._tokenizer = tokenizer
        self._cache = GroupCache() if cache is None else cache
        with naming(self.path):
            if tokenizer is None:
                card_of(self.header)
            else:
                model_of(self.header, tokenizer)
        self.is_complete, self.last_frame_ticks = index.is_complete, index.last_frame_ticks
        height, width = latent_size(self.header.height, self.header.width)
        self.shape = (index.latent_starts[-1], self.header.num_codebooks, height, width)

    def entry(self, tokens: ChunkTokens) -> Codes:
        """The codes of a latent frame, uint8 `[n, H, W]`."""
        return tokens.codes

    def tokens_of(self, index: int) -> ChunkTokens:
        """The codes and the motion of latent frame `index`, from 0; they must not be changed."""
        place, frame_in_group = self._place(index)
        return self.group(place).tokens[frame_in_group // self.header.frames_per_latent]

    @cached_property
    def motion(self) -> LatentArray:
        """The vectors of the latent frames, int16 `[T, 8, 2, rows, columns]`; see `docs/tokens.md`."""
        return MotionFields(self)

    @property
    def num_frames(self) -> int:
        """Number of frames that the latent frames stand for."""
        return self.index.num_frames

    def between_seconds(self, start: float, end: float | None = None) -> Codes:
        """Codes uint8 `[T, n, H, W]` of the latent frames that have a frame which begins in a stretch of time.

        Args:
            start: Begin of the stretch, in seconds after frame 0.
            end: End of the stretch, in seconds after frame 0; None for the end of the video.

        Raises:
            ConfigError: There are no such latent frames, or a time is negative or not finite.
        """
        frames = self.index.frame_range(exact_seconds(start), None if end is None else exact_seconds(end))
        codes: Codes = self[self.latent_of_frame(frames[0]) : self.latent_of_frame(frames[-1]) + 1]
        return codes

    def latent_of_frame(self, index: int) -> int:
        """The latent frame that stands for frame `index`.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of a file of {self.num_frames} frames")
        place = self.index.place_of_frame(index)
        frame_in_group = index - self.index.locations[place].first_frame
        return self.index.latent_starts[place] + frame_in_group // self.header.frames_per_latent

    def first_frame(self, index: int) -> int:
        """Number of the first frame that latent frame `index` stands for, from the index of the file alone."""
        place, frame_in_group = self._place(index)
        return self.index.locations[place].first_frame + frame_in_group

    def pts_seconds(self, index: int) -> float:
        """Begin of the first frame of latent frame `index`, in seconds after frame 0; reads its group."""
        place, frame_in_group = self._place(index)
        return float((self.group(place).pts[frame_in_group] - self.index.first_pts) * self.header.time_base)

    def quality_of(self, index: int) -> float:
        """The quality of latent frame `index`, which is that of its group; reads its group."""
        return self.group(self._place(index)[0]).quality

    @property
    def num_groups(self) -> int:
        """Number of groups in the file."""
        return len(self.index.locations)

    def group(self, place: int) -> DecodedGroup:
        """Group `place`, counted from 0, from the cache or from the file.

        Raises:
            FormatError: The group is damaged, or the file is no longer the one that was opened.
        """
        group = self._cache.get(self.index, place)
        if group is None:
            prior = self._prior()
            stored = self.index.read_group(self.index.locations[place])
            with naming(self.path):
                tokens = decode_group(prior, self.header, stored)
            group = DecodedGroup(tokens, stored.pts, stored.quality)
            self._cache.put(self.index, place, group)
        return group

    def _place(self, index: int) -> tuple[int, int]:
        """The group that latent frame `index` is in, and the number of its first frame in that group."""
        if not 0 <= index < len(self):
            raise IndexError(f"latent frame {index} of a file of {len(self)} latent frames")
        place = self.index.place_of_latent(index)
        return place, self.header.frames_per_latent * (index - self.index.latent_starts[place])

    def _prior(self) -> ExactPrior:
        with naming(self.path):
            return model_of(self.header, self._tokenizer).exact_prior


class MotionFields(LatentArray):
    """The vectors of the latent frames of a file, int16 `[T, 8, 2, rows, columns]`; see `ChunkMotion.fields`."""

    dtype = np.dtype(np.int16)

    def __init__(self, reader: TokenReader) -> None:
        self._reader = reader
        self.shape = (len(reader), NUM_FIELDS, 2, *motion_size(reader.header.height, reader.header.width))

    def tokens_of(self, index: int) -> ChunkTokens:
        """The codes and the motion of latent frame `index`, from 0."""
        return self._reader.tokens_of(index)

    def entry(self, tokens: ChunkTokens) -> Array:
        """The vectors of a latent frame, int16 `[8, 2, rows, columns]`."""
        return tokens.motion.fields
