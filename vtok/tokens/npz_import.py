"""Imports tokens from an `.npz` archive into a `.vtok` file. Decoding it shows what a generative model made."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, latent_size
from vtok.codec.chunk_tokens import ChunkTokens
from vtok.codec.file_model import model_of
from vtok.codec.group_encoder import MAX_GROUP_CHUNKS, GroupEncoder, chunks_per_group
from vtok.container.groups import VideoGroup
from vtok.container.header import FileHeader
from vtok.container.writer import ContainerWriter
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.group_payload import ENTROPY_CODER
from vtok.errors import ConfigError
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath, require_vtok
from vtok.tokens.npz_arrays import COLOR_ARRAYS, ArrayReader, TokenFileResult, opened_arrays
from vtok.video.frame import VideoInfo
from vtok.video.motion import ChunkMotion
from vtok.video.times import DEFAULT_RATE
from vtok.video.values import require_real


def import_npz(
    source: StrPath,
    target: StrPath,
    *,
    tokenizer: VideoTokenizer | None = None,
    keyframe_seconds: float = 4.0,
    overwrite: bool = False,
) -> TokenFileResult:
    """Make a `.vtok` file from tokens that a generative model made or `export_npz` wrote.

    Args:
        source: The `.npz` file; see `docs/tokens.md` for its arrays.
        target: The file to write; its name ends in `.vtok`.
        tokenizer: Default: the one in this package that the arrays name.
        keyframe_seconds: Length of the groups that can be decoded on their own, unless the arrays say where they begin.
        overwrite: Replace an existing target.

    Raises:
        MediaError: `source` is no such archive.
        ConfigError: `keyframe_seconds` is not above 0, or an array is missing, or has a wrong shape, type or value.
        ModelMismatchError: The tokens are of a model that is not at hand.
    """
    require_vtok(target)
    check_target(target, [source], overwrite=overwrite)
    require_real("keyframe_seconds", keyframe_seconds, "seconds, more than 0", lambda x: x > 0)
    with opened_arrays(source) as arrays:
        header, layout = _header_from(arrays), _layout_from(arrays)
        model = model_of(header, tokenizer)
        longest = _latents_per_group(header, layout, keyframe_seconds)
        with open_atomically(target, overwrite=overwrite) as file:
            writer = ContainerWriter(file, header)
            with closing(arrays.codes()) as codes, closing(arrays.motion(header.height, header.width)) as motion:
                for group in _groups(map(ChunkTokens, codes, motion), layout, longest, model.exact_prior, header):
                    writer.write_group(group)
            totals = writer.finish(last_frame_ticks=layout.last_frame_ticks)
    return TokenFileResult(
        source=str(source),
        target=str(target),
        num_latent_frames=totals.num_latent_frames,
        num_frames=totals.num_frames,
        num_bytes=writer.num_bytes,
    )


class _Layout(NamedTuple):
    """Timestamps, and for each latent frame the number of its first frame, its quality, and whether a group begins."""

    pts: list[int]
    starts: list[int]  # T + 1
    qualities: list[float]  # T
    starts_group: list[bool] | None  # T, if known
    last_frame_ticks: int

    def pts_of(self, i: int) -> list[int]:
        return self.pts[self.starts[i] : self.starts[i + 1]]

    def begins_group(self, i: int, length: int, longest: int) -> bool:
        """Whether a group begins with latent frame `i`, after one of `length` that should have `longest`."""
        if len(self.pts_of(i - 1)) < FRAMES_PER_CHUNK:  # only the last latent frame of a group may be shorter
            return True
        if self.qualities[i] != self.qualities[i - 1]:
            return True
        return self.starts_group[i] if self.starts_group else length >= longest


def _groups(
    chunks: Iterable[ChunkTokens], layout: _Layout, longest: int, prior: ExactPrior, header: FileHeader
) -> Iterator[VideoGroup]:
    """Groups of about `longest` latent frames, or as the layout has them; each of one quality.

    The last field of a group's first latent frame becomes zero: it leads to an earlier one, which only the entropy
    coder looks at.
    """

    def new_group(first: int) -> GroupEncoder:
        quality = layout.qualities[first]
        if not 1 <= quality <= prior.num_qualities:
            raise ConfigError(f"quality is {quality:g} for latent frame {first}: must be 1 to {prior.num_qualities}")
        return GroupEncoder(prior, quality, (header.height, header.width))

    encoder, first = new_group(0), 0
    for i, tokens in enumerate(chunks):
        if encoder.num_chunks and layout.begins_group(i, encoder.num_chunks, longest):
            yield encoder.finish(layout.starts[first])
            encoder, first = new_group(i), i
        if encoder.num_chunks == MAX_GROUP_CHUNKS:
            raise ConfigError(
                f"starts_group is false for more than {MAX_GROUP_CHUNKS - 1} latent frames after latent frame {first}: "
                f"a group has at most {MAX_GROUP_CHUNKS}"
            )
        encoder.push(tokens if encoder.num_chunks else _without_last_field(tokens), layout.pts_of(i))
    yield encoder.finish(layout.starts[first])


def _without_last_field(tokens: ChunkTokens) -> ChunkTokens:
    fields = tokens.motion.fields.copy()
    fields[-1] = 0
    return tokens._replace(motion=ChunkMotion(fields))


def _header_from(arrays: ArrayReader) -> FileHeader:
    """The header of the file to write; ConfigError if an array is not as it must be."""
    shape = arrays.shape_of_codes()
    (width,), (height,) = (arrays.integers(name, ()) for name in ("width", "height"))
    rate = arrays.fraction("average_rate") if arrays.has("average_rate") else None
    if arrays.has("fps"):
        if arrays.has("pts") or arrays.has("time_base"):
            raise ConfigError("there are fps and pts or time_base: must be one or the other")
        rate = arrays.fraction("fps")
        time_base = 1 / rate
    else:
        time_base = arrays.fraction("time_base")
    header = FileHeader(
        model_name=arrays.text("model_name"),
        model_sha256=arrays.text("model_sha256"),
        width=width,
        height=height,
        num_codebooks=shape[1],
        frames_per_latent=FRAMES_PER_CHUNK,
        patch_size=FRAMES_PER_CHUNK,
        entropy_coder=ENTROPY_CODER,
        time_base=time_base,
        average_rate=rate,
        sample_aspect_ratio=(
            arrays.fraction("sample_aspect_ratio") if arrays.has("sample_aspect_ratio") else Fraction(1)
        ),
        **{name: arrays.integers(name, ())[0] for name in COLOR_ARRAYS if arrays.has(name)},  # type: ignore[arg-type]
    )
    expected = latent_size(height, width)
    if shape[2:] != expected:
        raise ConfigError(f"codes is uint8 {list(shape)}: H and W of {width}x{height} pixels must be {expected}")
    return header


def _layout_from(arrays: ArrayReader) -> _Layout:
    num_latents = arrays.shape_of_codes()[0]
    pts = None if arrays.has("fps") else arrays.integers("pts", (-1,))
    if arrays.has("frames_of_latent"):
        counts = arrays.integers("frames_of_latent", (num_latents,))
        if not all(1 <= count <= FRAMES_PER_CHUNK for count in counts):
            raise ConfigError(f"frames_of_latent is from {min(counts)} to {max(counts)}: must be 1 to 8")
    else:
        last = FRAMES_PER_CHUNK if pts is None else len(pts) - FRAMES_PER_CHUNK * (num_latents - 1)
        counts = [FRAMES_PER_CHUNK] * (num_latents - 1) + [last]
        if not 1 <= last <= FRAMES_PER_CHUNK:
            raise ConfigError(f"pts has {len(pts or [])} entries for {num_latents} latent frames: must be 8 for each")
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    pts = list(range(starts[-1])) if pts is None else pts
    if len(pts) != starts[-1]:
        raise ConfigError(f"pts has {len(pts)} entries: must be {starts[-1]}, the sum of frames_of_latent")
    if any(later <= earlier for earlier, later in pairwise(pts)):
        raise ConfigError("pts do not rise: each must be greater than the one before")
    starts_group = None
    if arrays.has("starts_group"):
        starts_group = [bool(value) for value in arrays.integers("starts_group", (num_latents,))]
    ticks = arrays.integers("last_frame_ticks", ())[0] if arrays.has("last_frame_ticks") else int(arrays.has("fps"))
    qualities = arrays.numbers("quality", num_latents)
    return _Layout(pts, starts, qualities, starts_group, max(0, ticks))


def _latents_per_group(header: FileHeader, layout: _Layout, keyframe_seconds: float) -> int:
    seconds = (layout.pts[-1] - layout.pts[0]) * header.time_base
    rate = header.average_rate or (len(layout.pts) / seconds if seconds else DEFAULT_RATE)
    info = VideoInfo(width=header.width, height=header.height, time_base=header.time_base, average_rate=rate)
    return chunks_per_group(info, keyframe_seconds)
