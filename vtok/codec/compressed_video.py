"""Read a `.vtok` file as codes or as frames, all of them or a range, in constant memory."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from itertools import chain
from typing import NamedTuple

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkDecoder
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.code_costs import CodeCosts
from vtok.codec.file_index import FileIndex, GroupSource
from vtok.codec.file_model import model_of
from vtok.codec.group_decoder import decode_group
from vtok.container.reader import FileHeader, VideoGroup
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.errors import ConfigError, FormatError, naming
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import Arithmetic
from vtok.system.closing import Closing
from vtok.system.pipeline import DEPTH, ahead
from vtok.system.sources import ByteSource, Readable
from vtok.system.threads import num_threads
from vtok.video.frame import Frame, VideoInfo


class LatentFrame(NamedTuple):
    """The tokens of one chunk and the frames that they stand for."""

    tokens: ChunkTokens
    first_frame: int
    pts: tuple[int, ...]  # of 1 to 8 frames
    starts_group: bool
    quality: float


class CompressedVideo(Closing):
    """A `.vtok` file as frames, decoded on demand.

    Attributes:
        index: The places of everything in the file.
        path: Path of the file, or its name in messages if it has no path.
        header: The file's header.
        info: The header as the description of a video; `num_frames_from_header` counts the whole file if it is sound.
        model: The model that decodes the file.
        costs: Record of the costs of groups and channels, filled while codes are read, or None.

    Args:
        source: The `.vtok` file: a path, bytes, or a binary file object that can seek. Or the groups of a file.
        tokenizer: The tokenizer that decodes; default: the one in this package that the file names.
        arithmetic: Device and arithmetic of the networks; see `ChunkDecoder`.

    Raises:
        FormatError: The file is not a `.vtok` file, or it is damaged; also raised while iterating.
        ModelMismatchError: The file was written with other weights than those of the tokenizer.
    """

    def __init__(
        self,
        source: Readable | ByteSource | GroupSource,
        *,
        tokenizer: VideoTokenizer | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self._arithmetic = arithmetic
        self.costs: CodeCosts | None = None
        with ExitStack() as stack:
            if isinstance(source, GroupSource):
                self.index = source
            else:
                self.index = FileIndex(stack.enter_context(ByteSource.of(source).held()))
            self.path, self.header = self.index.path, self.index.header
            with naming(self.path):
                self.model = model_of(self.header, tokenizer)
                self._prior = self.model.exact_prior
            self.info = _info(self.header, self.index.total_frames)
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._resources.close()

    def __iter__(self) -> Iterator[Frame]:
        """All frames, in order. A damaged file gives the frames before the damage, then the error."""
        return self.decoded(self.latent_frames())

    def latent_frames(self) -> Iterator[LatentFrame]:
        """Yield all latent frames, in order, read from front to back; no network runs."""
        for group in self.index.groups():
            yield from self._latent_frames_of(group)

    def decoded(self, latents: Iterable[LatentFrame], *, overlapped: bool = True) -> Iterator[Frame]:
        """Yield the frames of successive latent frames, decoded by the networks; `overlapped` reads latents ahead."""
        decoder = ChunkDecoder(self.model, self.info, self._arithmetic)
        with ahead(_beside_networks(latents), depth=DEPTH) if overlapped else nullcontext(latents) as waiting:
            for latent in waiting:
                if latent.starts_group:
                    decoder.start_group()
                yield from decoder.decode(latent.tokens, latent.pts, latent.quality)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop` (exclusive; default: the end), bit for bit those of a whole decode.

        This reads only the groups of these frames. The networks decode the chunks of these frames and the one before
        them.

        Raises:
            ConfigError: `start` is negative.
            FormatError: One of these groups is damaged; the frames before it come first.
        """
        if start < 0:
            raise ConfigError(f"frames from {start} on: must be 0 or more")
        stop = self.index.num_frames if stop is None else min(stop, self.index.num_frames)
        if start >= stop:
            return
        latents = self._latents_for(start, stop)
        first = next(latents)
        rest = self.decoded(chain([first], latents))
        for index, frame in enumerate(rest, first.first_frame):
            if start <= index < stop:
                yield frame

    def _latents_for(self, start: int, stop: int) -> Iterator[LatentFrame]:
        """Yield the latent frame before that of frame `start`, if it is in the same group, then those up to `stop`."""
        before: list[LatentFrame] = []
        places = range(self.index.place_of_frame(start), self.index.place_of_frame(stop - 1) + 1)
        for location in [self.index.locations[place] for place in places]:
            for latent in self._latent_frames_of(self.index.read_group(location)):
                if latent.first_frame >= stop:
                    return
                if latent.starts_group:
                    before.clear()
                # The ends of chunks are blended, and the last frame of a chunk does not depend on that.
                del before[:-1]
                before.append(latent)
                if latent.first_frame + len(latent.pts) > start:
                    yield from before
                    before.clear()

    def _latent_frames_of(self, group: VideoGroup) -> list[LatentFrame]:
        """A group's latent frames, checked as a whole before any is used."""
        channel_bits = self.costs.add_group(group, self._prior.num_channels) if self.costs else None
        try:
            with naming(self.path):
                chunks = decode_group(self._prior, self.header, group, channel_bits=channel_bits)
        except FormatError:
            self.index.leave_out(group)
            raise
        return [
            LatentFrame(
                tokens,
                group.first_frame + FRAMES_PER_CHUNK * i,
                group.pts[FRAMES_PER_CHUNK * i : FRAMES_PER_CHUNK * (i + 1)],
                i == 0,
                group.quality,
            )
            for i, tokens in enumerate(chunks)
        ]


def _info(header: FileHeader, num_frames: int | None) -> VideoInfo:
    return VideoInfo(
        width=header.width,
        height=header.height,
        time_base=header.time_base,
        average_rate=header.average_rate,
        sample_aspect_ratio=header.sample_aspect_ratio,
        color_range=header.color_range,
        color_matrix=header.color_matrix,
        color_primaries=header.color_primaries,
        color_transfer=header.color_transfer,
        num_frames_from_header=num_frames,
    )


def _beside_networks(latents: Iterable[LatentFrame]) -> Iterator[LatentFrame]:
    """Yield latents, decoded in a thread beside the networks' thread."""
    with num_threads(entropy_coding_threads()):
        yield from latents
