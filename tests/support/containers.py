"""A `.vtok` file of made-up codes, its chunks, and the same as the second reader sees it."""

import dataclasses
import io
import random
import zlib
from fractions import Fraction

from support import independent_reader
from vtok.container import chunks
from vtok.container.reader import ContainerReader, FileHeader, VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.errors import FormatError
from vtok.video.tracks import TrackPacket

HEADER = FileHeader(
    model_name="test-8x8x8",
    model_sha256="0123456789abcdef" * 4,
    width=321,
    height=241,
    num_codebooks=12,
    frames_per_latent=8,
    patch_size=8,
    entropy_coder="prior-3",
    time_base=Fraction(1, 90000),
    average_rate=Fraction(30000, 1001),
    sample_aspect_ratio=Fraction(4, 3),
    color_range=1,
    color_matrix=6,
    tags={"title": "Größe 日本 🎬", "comment": 'a "quoted"\nline'},
    writer="vtok test",
)


LISTS_OF_PTS = [[0, 3003, 6006, 9009, 12012, 15015, 18018, 21021, 24024], [27027, 27030, 27030, 20000], [-(2**63)]]


def groups_of(lists_of_pts):
    first_frame, groups = 0, []
    for i, pts in enumerate(lists_of_pts):
        groups.append(
            VideoGroup(
                first_frame=first_frame,
                pts=tuple(pts),
                num_latent_frames=-(-len(pts) // 8),
                quality=4.5 + i / 256,
                tokens_crc32=zlib.crc32(bytes([i % 256])),
                coded=random.Random(i).randbytes(10 * i),
            )
        )
        first_frame += len(pts)
    return groups


GROUPS = groups_of(LISTS_OF_PTS)


def written(groups=GROUPS, header=HEADER, **end):
    file = io.BytesIO()
    writer = ContainerWriter(file, header)
    for group in groups:
        writer.write_group(group)
    writer.finish(**end)
    return file.getvalue()


FILE = written()


def read(data):
    """All groups before the end or the first fault, and the fault."""
    groups = []
    try:
        for group in ContainerReader(io.BytesIO(data)):
            groups.append(group)
    except FormatError as error:
        return groups, error
    return groups, None


def split(data):
    """The chunks of a sound file as (kind, payload)."""
    return [(chunk.kind.encode(), chunk.payload) for chunk in independent_reader.read_chunks(data)]


def joined(parts):
    """A file of (kind, payload), with right CRCs and sequence numbers."""
    return chunks.pack_preamble() + b"".join(chunks.pack_chunk(kind, i, data) for i, (kind, data) in enumerate(parts))


def chunk_offsets(data):
    return [chunk.offset for chunk in independent_reader.read_chunks(data)]


def header_as_theirs(header):
    """A header as the second reader gives it, with lists for tuples."""

    def listed(value):
        if isinstance(value, dict):
            return {key: listed(item) for key, item in value.items()}
        return [listed(item) for item in value] if isinstance(value, list | tuple) else value

    return listed(dataclasses.asdict(header))


def packets_as_ours(packets):
    return [TrackPacket(*packet[:7], tuple(packet.side_data)) for packet in packets]


def as_ours(groups):
    return [
        VideoGroup(
            first_frame=g.first_frame,
            pts=tuple(g.pts),
            num_latent_frames=g.num_latent_frames,
            quality=g.quality,
            tokens_crc32=g.tokens_crc32,
            coded=g.coded,
        )
        for g in groups
    ]
