"""Files in, files out: a video to a `.vtok` file and back, in constant memory, all or nothing.

encode_file   VideoReader -> ChunkEncoder -> PriorGroupEncoder -> ContainerWriter
decode_file   ContainerReader -> PriorGroupDecoder -> ChunkDecoder (these three: CompressedVideo) -> open_output

Audio packets pass by the networks: they are copied as they are.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vtok.codec.chunk_coder import ChunkEncoder
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.file_model import file_prior, new_header
from vtok.codec.group_encoder import GroupEncoder, chunks_per_group
from vtok.codec.output_part import video_part
from vtok.codec.recovery import RecoveredVideo
from vtok.codec.sound_queue import SoundQueue
from vtok.codec.source import SourceChunk, SourcePart
from vtok.container.verification import verify_file
from vtok.container.writer import ContainerWriter
from vtok.entropy.frame_coder import Codes
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.errors import ChecksumError, ConfigError, MediaError, TruncatedError
from vtok.media.outputs import open_output
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath, is_vtok
from vtok.system.pipeline import DEPTH, ahead
from vtok.system.sources import Readable, Sink, Writable, name_of
from vtok.system.standard_streams import is_standard, local_file, local_source, standard_output
from vtok.system.threads import num_threads
from vtok.video.frame import Progress
from vtok.video.times import played_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeResult:
    """What `encode_file` did.

    Attributes:
        source: The video that was read.
        target: The file that was written.
        num_frames: Frames in it.
        num_bytes: Its size.
        num_audio_bytes: How much of that is sound.
        bits_per_pixel: 8 x bytes without sound / (width x height x frames).
        kbit_per_second: Over the duration of the frames; None for a single frame without a rate.
        notices: What was converted or left out, one line each.
        incomplete: Why the source could not be read to its end, or None.
    """

    source: str
    target: str
    num_frames: int
    num_bytes: int
    num_audio_bytes: int
    bits_per_pixel: float
    kbit_per_second: float | None
    notices: list[str]
    incomplete: str | None

    def summary(self) -> str:
        """One line for people."""
        rate = f", {self.kbit_per_second:.0f} kbit/s" if self.kbit_per_second else ""
        sound = f" with {self.num_audio_bytes} of sound" if self.num_audio_bytes else ""
        return (
            f"{self.target}: {self.num_frames} frames, {self.num_bytes} bytes{sound}, "
            f"{self.bits_per_pixel:.4f} bits per pixel{rate}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeResult:
    """What `decode_file` did.

    Attributes:
        source: The `.vtok` file that was read.
        target: The video that was written.
        num_frames: Frames in it.
        first_frame: Number of the first of them in the source.
        notices: What the target cannot hold as it was, one line each.
        num_held_frames: How many of the frames are pictures held in place of lost ones.
        faults: What is wrong with the source, one line each.
        incomplete: What that means, or None if nothing is wrong.
    """

    source: str
    target: str
    num_frames: int
    first_frame: int
    notices: list[str]
    num_held_frames: int = 0
    faults: list[str] = field(default_factory=list)
    incomplete: str | None = None

    def summary(self) -> str:
        """One line for people."""
        source_range = f", from frame {self.first_frame} on" if self.first_frame else ""
        return f"{self.target}: {self.num_frames} frames{source_range}"


def encode_file(
    source: StrPath,
    target: StrPath | Writable,
    *,
    quality: float = 5.0,
    tokenizer: VideoTokenizer | None = None,
    keyframe_seconds: float = 4.0,
    overwrite: bool = False,
    allow_hdr: bool = False,
    image_rate: Fraction | None = None,
    with_audio: bool = True,
    start_seconds: Fraction | float = 0,
    end_seconds: Fraction | float | None = None,
    verify: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> EncodeResult:
    """Compress a video.

    Args:
        source: Any video file that FFmpeg reads, an image, a pattern of images such as `frames/%04d.png`, or `-` for
            standard input.
        target: The file to write; its name ends in `.vtok`. Or `-` for standard output, or a binary file object, which
            needs nothing but `write` and is not closed.
        quality: 1 (smallest) to 9 (best).
        tokenizer: Default: the pretrained one of this package.
        keyframe_seconds: Length of the groups that can be decoded on their own.
        overwrite: Replace an existing target.
        allow_hdr: Take HDR video, its colours cut to 8 bits as they are.
        image_rate: Frames per second of a sequence of images; default 25.
        with_audio: Copy all audio tracks.
        start_seconds: Leave out frames that begin earlier than this after the first frame; the rest moves up.
        end_seconds: Leave out frames that begin at this time or later.
        verify: Decode the codes of each group before it is written, and check the written file, as it is on the disk.
        device: Where the networks run, one of `vtok.networks.arithmetic.DEVICES`.
        precision: What they multiply in, one of `vtok.networks.arithmetic.PRECISIONS`.
        progress: Told the video's description, returns what is told the number of frames done.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was. Only what went to standard
            output or a file object by then stays there.
    """
    target = target if isinstance(target, str | os.PathLike) else Sink(target)
    if not isinstance(target, Sink):
        check_target(target, [source], overwrite=overwrite)
        if not is_standard(target) and not is_vtok(target):
            raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .vtok")
    arithmetic = choose_arithmetic(device, precision)
    tokenizer = tokenizer or VideoTokenizer.from_pretrained()
    prior = file_prior(tokenizer)
    sound = SoundQueue() if with_audio else None
    with (
        local_file(source) as path,
        VideoReader(path, name=source, allow_hdr=allow_hdr, image_rate=image_rate, sound=sound) as reader,
        _opened_target(target) as file,
    ):
        part = SourcePart(reader, sound, start_seconds, end_seconds)
        info = part.info
        advance = progress(info) if progress else None
        encoder = ChunkEncoder(tokenizer, info, quality, arithmetic)
        group_chunks = chunks_per_group(info, keyframe_seconds)
        first_pts = last_pts = None
        writer = ContainerWriter(file, new_header(tokenizer, info, quality, part.extras))
        group = GroupEncoder(prior, quality, verify=verify)
        with (
            ahead(part.chunks(group_chunks), depth=DEPTH) as chunks,
            ahead(_coded(encoder, chunks), depth=DEPTH) as coded,
            num_threads(entropy_coding_threads()),
        ):
            for chunk, codes in coded:
                group.push(codes, [frame.pts for frame in chunk.frames])
                first_pts = chunk.frames[0].pts if first_pts is None else first_pts
                last_pts = chunk.frames[-1].pts
                writer.write_audio(chunk.audio)
                if chunk.ends_group:
                    writer.write_group(group.finish(writer.totals.num_frames))
                    group = GroupEncoder(prior, quality, verify=verify)
                if advance:
                    advance(len(chunk.frames))
        if group.num_chunks:
            writer.write_group(group.finish(writer.totals.num_frames))
        writer.write_audio(part.rest_of_sound())
        writer.finish(last_frame_ticks=part.last_frame_ticks)
        if first_pts is None or last_pts is None:
            raise MediaError(f"{source}: no frame could be decoded")
    if verify and not isinstance(target, Sink) and not is_standard(target):
        check_written(target)
    return encode_result(
        source, name_of(target), writer, reader, played_seconds(info, first_pts, last_pts, part.last_frame_ticks)
    )


def _coded(encoder: ChunkEncoder, chunks: Iterable[SourceChunk]) -> Iterator[tuple[SourceChunk, Codes]]:
    """Each chunk with its codes."""
    for chunk in chunks:
        yield chunk, encoder.encode(chunk.frames)
        if chunk.ends_group:
            encoder.start_group()


def encode_result(
    source: StrPath, target: StrPath, writer: ContainerWriter, reader: VideoReader, seconds: float
) -> EncodeResult:
    """What was done when `writer` has written all that `reader` gave, which plays for `seconds`."""
    num_pixels = reader.info.width * reader.info.height * writer.totals.num_frames
    return EncodeResult(
        source=str(source),
        target=str(target),
        num_frames=writer.totals.num_frames,
        num_bytes=writer.num_bytes,
        num_audio_bytes=writer.num_audio_bytes,
        bits_per_pixel=8 * (writer.num_bytes - writer.num_audio_bytes) / num_pixels,
        kbit_per_second=8e-3 * writer.num_bytes / seconds if seconds else None,
        notices=list(reader.notices),
        incomplete=reader.decode_error,
    )


def decode_file(
    source: Readable,
    target: StrPath,
    *,
    codec: str | None = None,
    codec_options: Mapping[str, str] | None = None,
    output_format: str | None = None,
    start_seconds: Fraction | float = 0,
    end_seconds: Fraction | float | None = None,
    recover: bool = False,
    with_audio: bool = True,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> DecodeResult:
    """Decompress a `.vtok` file, or a part of it, into a video.

    Of a part only the groups that it lies in are read. Its frames are those of the whole, to the last bit before
    `codec`; its timestamps begin with that of the source's first frame.

    Args:
        source: The `.vtok` file: a path, `-` for standard input, bytes, or a binary file object that can seek. A file
            object is read from its beginning, is not closed, and stands where it stood afterwards.
        target: What to write; its suffix chooses between videos, GIF, images and raw frames. A sequence of images is
            named by a pattern such as `frames/%04d.png`. `-` means standard output.
        codec: Codec of a video; the default is visually lossless, H.264 (VP9 in WebM), `ffv1` is lossless.
        codec_options: FFmpeg options of that codec, such as `{"crf": "20"}`.
        output_format: One of `vtok.media.outputs.FORMATS`, for standard output.
        start_seconds: Leave out frames that begin earlier than this after the first frame.
        end_seconds: Leave out frames that begin at this time or later.
        recover: Of a damaged source write what is intact, and hold the last good picture in place of lost frames.
        with_audio: Write the sound too, as far as the container of the target can hold it.
        tokenizer: Default: the one in this package that the file names.
        overwrite: Replace an existing target.
        device: As for `encode_file`, and so the next two.
        precision: See above.
        progress: See above.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was.
    """
    check_target(target, [source] if isinstance(source, str | os.PathLike) else [], overwrite=overwrite)
    opened: type[CompressedVideo | RecoveredVideo] = RecoveredVideo if recover else CompressedVideo
    arithmetic = choose_arithmetic(device, precision)
    with (
        _hint_at_recovery(recover),
        local_source(source) as local,
        opened(local, tokenizer=tokenizer, arithmetic=arithmetic) as video,
    ):
        part = video_part(video, start_seconds, end_seconds, with_audio=with_audio)
        with open_output(
            target,
            part.info,
            codec=codec,
            options=codec_options,
            output_format=output_format,
            overwrite=overwrite,
            extras=part.extras,
        ) as writer:
            num_frames = part.write(writer, progress(part.info) if progress else None)
    faults = video.faults if isinstance(video, RecoveredVideo) else []
    num_held = video.num_held_frames if isinstance(video, RecoveredVideo) else 0
    return DecodeResult(
        source=local.name,
        target=str(target),
        num_frames=num_frames,
        first_frame=part.first_frame,
        notices=list(writer.notices),
        num_held_frames=num_held,
        faults=faults,
        incomplete=_incomplete(faults, num_held, num_frames),
    )


def _incomplete(faults: list[str], num_held: int, num_frames: int) -> str | None:
    """What faults mean for the video that was written, or None if there are none."""
    if not faults:
        return None
    sound = ", and sound is missing" if any("apkt chunk" in fault for fault in faults) else ""
    return f"damaged, {num_held} of {num_frames} pictures are held ones in place of lost ones{sound}"


@contextmanager
def _hint_at_recovery(recover: bool) -> Iterator[None]:
    """Say of a file that is damaged how to get the rest."""
    try:
        yield
    except (ChecksumError, TruncatedError) as error:
        if recover:
            raise
        raise type(error)(f"{error}. What is intact can be had with recover=True") from error


@contextmanager
def _opened_target(target: StrPath | Sink) -> Iterator[BinaryIO | Sink]:
    """Where a `.vtok` file is written: beside its name until it is complete, or straight to what is no path."""
    if isinstance(target, Sink):
        yield target
        return
    if is_standard(target):
        with standard_output() as file:
            yield file
        return
    with open_atomically(target) as file:
        yield file


def check_written(target: StrPath) -> None:
    """Read a file that was just written, and check everything in it that can be checked.

    Raises:
        ChecksumError: It is not sound.
    """
    verification = verify_file(target)
    if not verification.is_sound:
        raise ChecksumError(f"{target}: is not what was written: {verification.faults[0]['message']}. Check the disk")
