"""Encodes chunks of a source to groups of a file: the networks and the entropy coder run at the same time."""

from collections.abc import Generator, Iterable, Iterator

from vtok.codec.chunk_coder import ChunkEncoder
from vtok.codec.group_encoder import GroupEncoder
from vtok.codec.source import SourceChunk
from vtok.container.groups import VideoGroup
from vtok.entropy.frame_coder import Codes
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import Arithmetic
from vtok.system.pipeline import DEPTH, ahead
from vtok.system.threads import num_threads
from vtok.video.frame import VideoInfo


def encode_chunks(
    chunks: Iterable[SourceChunk],
    model: PretrainedModel,
    info: VideoInfo,
    *,
    quality: float,
    arithmetic: Arithmetic,
    verify: bool = False,
    num_before: int = 0,
    first_frame: int = 0,
) -> Generator[SourceChunk | VideoGroup, None, None]:
    """Encode chunks, which are read and analysed ahead. A caller that does not exhaust the generator must close it.

    Args:
        chunks: The chunks to encode.
        model: The model that encodes.
        info: Size and range of the frames.
        quality: 1 to 9.
        arithmetic: Device and number format of the networks.
        verify: Decode the codes of each group, and compare.
        num_before: Number of leading chunks that the networks see but that belong to no group: they come before the
            wanted range.
        first_frame: Number of the first frame of the first group.

    Yields:
        Each chunk that belongs to a group, once it is coded, and each group after its last chunk.

    Raises:
        ConfigError: The model does not have that quality.
        ChecksumError: A group was verified and decoded to other codes.
    """
    encoder = ChunkEncoder(model, info, quality, arithmetic)
    group = GroupEncoder(model.exact_prior, quality, verify=verify)
    with (
        ahead(chunks, depth=DEPTH) as read,
        ahead(_coded(encoder, read), depth=DEPTH) as coded,
        num_threads(entropy_coding_threads()),
    ):
        for number, (chunk, codes) in enumerate(coded):
            if number < num_before:
                continue
            group.push(codes, [frame.pts for frame in chunk.frames])
            yield chunk
            if chunk.ends_group:
                finished = group.finish(first_frame)
                first_frame += finished.num_frames
                yield finished
                group = GroupEncoder(model.exact_prior, quality, verify=verify)
        if group.num_chunks:
            yield group.finish(first_frame)


def _coded(encoder: ChunkEncoder, chunks: Iterable[SourceChunk]) -> Iterator[tuple[SourceChunk, Codes]]:
    """Yield each chunk with its codes."""
    for chunk in chunks:
        yield chunk, encoder.encode(chunk.frames)
        if chunk.ends_group:
            encoder.start_group()
