"""A video to a `.vtok` file, in constant memory, all or nothing.

    VideoReader -> ChunkEncoder -> PriorGroupEncoder -> ContainerWriter

Audio packets pass by the networks: they are copied as they are.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vtok.codec.encoder import encode_chunks
from vtok.codec.file_model import new_header
from vtok.codec.group_encoder import chunks_per_group
from vtok.codec.sound_queue import SoundQueue
from vtok.codec.source import SourcePart
from vtok.container.groups import VideoGroup
from vtok.container.verification import verify_file
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, ConfigError, MediaError
from vtok.files.options import EncodeOptions
from vtok.media.reader import VideoReader
from vtok.model.loading import shared_model
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath, is_vtok
from vtok.system.sources import Sink, Writable, name_of
from vtok.system.standard_streams import is_standard, local_file, standard_output
from vtok.video.frame import Progress
from vtok.video.times import played_seconds

Advance = Callable[[int], None]  # told how many more frames are done
Items = Generator[VideoGroup | list[bytes], None, None]


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
            What goes to standard output or a file object cannot be read again, so that a notice tells of it.
        device: Where the networks run, one of `vtok.networks.arithmetic.DEVICES`.
        precision: What they multiply in, one of `vtok.networks.arithmetic.PRECISIONS`.
        progress: Told the video's description, returns what is told the number of frames done.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was. Only what went to standard
            output or a file object by then stays there.
    """
    options = EncodeOptions(
        quality=quality,
        keyframe_seconds=keyframe_seconds,
        allow_hdr=allow_hdr,
        image_rate=image_rate,
        with_audio=with_audio,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        verify=verify,
        device=device,
        precision=precision,
    )
    return encode_with(options, source, target, tokenizer=tokenizer, overwrite=overwrite, progress=progress)


def encode_with(
    options: EncodeOptions,
    source: StrPath,
    target: StrPath | Writable,
    *,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EncodeResult:
    """`encode_file` with its options in one piece; a tokenizer takes the place of the model they name."""
    target = target if isinstance(target, str | os.PathLike) else Sink(target)
    if not isinstance(target, Sink):
        check_target(target, [source], overwrite=overwrite)
        if not is_standard(target) and not is_vtok(target):
            raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .vtok")
    arithmetic = choose_arithmetic(options.device, options.precision)
    model = shared_model(options.model) if tokenizer is None else tokenizer.pretrained

    def coded(part: SourcePart, advance: Advance) -> Items:
        chunks = part.chunks(chunks_per_group(part.info, options.keyframe_seconds))
        items = encode_chunks(
            chunks, model, part.info, quality=options.quality, arithmetic=arithmetic, verify=options.verify
        )
        with closing(items):
            for item in items:
                if isinstance(item, VideoGroup):
                    yield item
                else:
                    yield item.audio
                    advance(len(item.frames))

    return write_encoded(options, source, target, coded, model=model, progress=progress)


def write_encoded(
    options: EncodeOptions,
    source: StrPath,
    target: StrPath | Sink,
    coded: Callable[[SourcePart, Advance], Items],
    *,
    model: PretrainedModel,
    progress: Progress | None = None,
) -> EncodeResult:
    """Read a source, have it coded, and write the file, all or nothing.

    Args:
        options: How to read, what goes into the header, and whether to check the written file.
        source: A video, as `encode_file` takes it.
        target: The file to write or to replace, or where to write.
        coded: Given the source and what is told the number of frames done, it gives the groups, and before each the
            chunks of sound that come before it, in the order of the file.
        model: What codes.
        progress: Told the video's description, returns what is told the number of frames done.
    """
    sound = SoundQueue() if options.with_audio else None
    with (
        local_file(source) as path,
        VideoReader(
            path, name=source, allow_hdr=options.allow_hdr, image_rate=options.image_rate, sound=sound
        ) as reader,
        _opened_target(target) as file,
    ):
        part = SourcePart(reader, sound, options.start_seconds, options.end_seconds)
        writer = ContainerWriter(file, new_header(model, part.info, options.quality, part.extras))
        first_pts = last_pts = None
        advance = progress(part.info) if progress else None
        with closing(coded(part, advance or (lambda frames: None))) as items:
            for item in items:
                if isinstance(item, VideoGroup):
                    writer.write_group(item)
                    first_pts = item.pts[0] if first_pts is None else first_pts
                    last_pts = item.pts[-1]
                else:
                    writer.write_audio(item)
        writer.write_audio(part.rest_of_sound())
        writer.finish(last_frame_ticks=part.last_frame_ticks)
        if first_pts is None or last_pts is None:
            raise MediaError(f"{source}: no frame could be decoded")
    result = _result(
        source,
        name_of(target),
        writer,
        reader,
        played_seconds(part.info, first_pts, last_pts, part.last_frame_ticks),
    )
    if options.verify and not isinstance(target, Sink) and not is_standard(target):
        check_written(target)
    elif options.verify:
        result.notices.append("only the codes were verified: what was written cannot be read again")
    return result


def _result(source: StrPath, target: str, writer: ContainerWriter, reader: VideoReader, seconds: float) -> EncodeResult:
    """What was done when `writer` has written all that `reader` gave, which plays for `seconds`."""
    num_pixels = reader.info.width * reader.info.height * writer.totals.num_frames
    return EncodeResult(
        source=str(source),
        target=target,
        num_frames=writer.totals.num_frames,
        num_bytes=writer.num_bytes,
        num_audio_bytes=writer.num_audio_bytes,
        bits_per_pixel=8 * (writer.num_bytes - writer.num_audio_bytes) / num_pixels,
        kbit_per_second=8e-3 * writer.num_bytes / seconds if seconds else None,
        notices=list(reader.notices),
        incomplete=reader.decode_error,
    )


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
