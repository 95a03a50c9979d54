"""Encodes chunks of a source to groups of a file: search, networks and entropy coder run at the same time."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

from vtok.codec.chunk_coder import ChunkEncoder, SearchedChunk
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.effort import Effort
from vtok.codec.group_encoder import GroupEncoder
from vtok.codec.source import SourceChunk
from vtok.container.groups import VideoGroup, stored_quality
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import Arithmetic
from vtok.system.pipeline import DEPTH, ahead
from vtok.system.threads import num_threads
from vtok.video.frame import VideoInfo

_LARGE_FRAME = 1 << 22  # pixels; a chunk of larger ones takes 50 MB and more


class CodedChunk(NamedTuple):
    """A chunk whose samples are no longer needed."""

    pts: list[int]
    audio: list[bytes]
    ends_group: bool


def encode_chunks(
    chunks: Iterable[SourceChunk],
    model: PretrainedModel,
    info: VideoInfo,
    *,
    quality: float,
    arithmetic: Arithmetic,
    effort: Effort = Effort.NORMAL,
    verify: bool = False,
    first_frame: int = 0,
) -> Generator[CodedChunk | VideoGroup, None, None]:
    """Encode chunks, which are read and searched ahead. A caller that does not exhaust the generator must close it.

    The last chunk ends a group.

    Args:
        chunks: The chunks to encode.
        model: The model that encodes.
        info: Size and range of the frames.
        quality: 1 to 9; the nearest one that files state is taken.
        arithmetic: Device and number format of the networks.
        effort: How much time to take.
        verify: Decode the tokens of each group, and compare.
        first_frame: Number of the first frame of the first group.

    Yields:
        Each chunk, once it is coded, without its samples, and each group after its last chunk.

    Raises:
        ConfigError: The model does not have that quality.
        ChecksumError: A group was verified and decoded to other tokens.
    """
    quality = stored_quality(quality)
    encoder = ChunkEncoder(model, info, quality, arithmetic, effort)

    def new_group() -> GroupEncoder:
        return GroupEncoder(model.exact_prior, quality, (info.height, info.width), verify=verify)

    group = new_group()
    # The chunks of large frames that wait would take more memory than the time that is won is worth.
    is_large = info.width * info.height > _LARGE_FRAME
    with (
        nullcontext(chunks) if is_large else ahead(chunks, depth=DEPTH) as read,
        nullcontext(_searched(encoder, read)) if is_large else ahead(_searched(encoder, read), depth=1) as searched,
        ahead(_coded(encoder, searched), depth=1 if is_large else DEPTH) as coded,
        num_threads(entropy_coding_threads()),
    ):
        for chunk, tokens in coded:
            group.push(tokens, chunk.pts)
            yield chunk
            if chunk.ends_group:
                finished = group.finish(first_frame)
                first_frame += finished.num_frames
                yield finished
                group = new_group()


def _searched(encoder: ChunkEncoder, chunks: Iterable[SourceChunk]) -> Iterator[tuple[CodedChunk, SearchedChunk]]:
    """Yield each chunk with its motion."""
    for frames, audio, ends_group in chunks:
        chunk = CodedChunk([frame.pts for frame in frames], audio, ends_group)
        searched = encoder.search(frames)
        del frames  # the search has copied them
        yield chunk, searched


def _coded(
    encoder: ChunkEncoder, chunks: Iterable[tuple[CodedChunk, SearchedChunk]]
) -> Iterator[tuple[CodedChunk, ChunkTokens]]:
    """Yield each chunk with its tokens."""
    for chunk, searched in chunks:
        yield chunk, encoder.encode(searched)
        if chunk.ends_group:
            encoder.start_group()
