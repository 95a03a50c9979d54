"""A `.vtok` file to a video, in constant memory, all or nothing.

    ContainerReader -> PriorGroupDecoder -> ChunkDecoder (these three: CompressedVideo) -> open_output

Audio packets pass by the networks: they are copied as they are.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.output_part import video_part
from vtok.codec.recovery import RecoveredVideo
from vtok.errors import ChecksumError, TruncatedError
from vtok.files.options import DecodeOptions
from vtok.media.outputs import open_output
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.atomic import check_target
from vtok.system.paths import StrPath
from vtok.system.sources import Readable
from vtok.system.standard_streams import local_source
from vtok.video.frame import Progress


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
        device: Where the networks run, one of `vtok.networks.arithmetic.DEVICES`.
        precision: What they multiply in, one of `vtok.networks.arithmetic.PRECISIONS`.
        progress: Told the video's description, returns what is told the number of frames done.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was.
    """
    options = DecodeOptions(
        codec=codec,
        codec_options=codec_options,
        output_format=output_format,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        recover=recover,
        with_audio=with_audio,
        device=device,
        precision=precision,
    )
    return decode_with(options, source, target, tokenizer=tokenizer, overwrite=overwrite, progress=progress)


def decode_with(
    options: DecodeOptions,
    source: Readable,
    target: StrPath,
    *,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DecodeResult:
    """`decode_file` with its options in one piece."""
    check_target(target, [source] if isinstance(source, str | os.PathLike) else [], overwrite=overwrite)
    opened: type[CompressedVideo | RecoveredVideo] = RecoveredVideo if options.recover else CompressedVideo
    arithmetic = choose_arithmetic(options.device, options.precision)
    with (
        _hint_at_recovery(options.recover),
        local_source(source) as local,
        opened(local, tokenizer=tokenizer, arithmetic=arithmetic) as video,
    ):
        part = video_part(video, options.start_seconds, options.end_seconds, with_audio=options.with_audio)
        with open_output(
            target,
            part.info,
            codec=options.codec,
            options=options.codec_options,
            output_format=options.output_format,
            overwrite=overwrite,
            extras=part.extras,
        ) as writer:
            num_frames = part.write(writer, progress(part.info) if progress else None)
    recovered = video if isinstance(video, RecoveredVideo) else None
    return DecodeResult(
        source=local.name,
        target=str(target),
        num_frames=num_frames,
        first_frame=part.first_frame,
        notices=list(writer.notices),
        num_held_frames=recovered.num_held_frames if recovered else 0,
        faults=recovered.faults if recovered else [],
        incomplete=_incomplete(recovered, num_frames) if recovered else None,
    )


def _incomplete(video: RecoveredVideo, num_frames: int) -> str | None:
    """What faults mean for the video that was written, or None if there are none."""
    if not video.faults:
        return None
    sound = ", and sound is missing" if video.index.lacks_sound else ""
    return f"damaged, {video.num_held_frames} of {num_frames} pictures are held ones in place of lost ones{sound}"


@contextmanager
def _hint_at_recovery(recover: bool) -> Iterator[None]:
    """Say of a file that is damaged how to get the rest."""
    try:
        yield
    except (ChecksumError, TruncatedError) as error:
        if recover:
            raise
        raise type(error)(f"{error}. What is intact can be had with recover=True") from error
