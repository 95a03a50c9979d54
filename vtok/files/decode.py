"""Decodes a `.vtok` file to a video, in constant memory, all or nothing.

    ContainerReader -> PriorGroupDecoder -> ChunkDecoder (these three: CompressedVideo) -> open_output

Packets of sound and subtitles do not go through the networks: they are copied unchanged.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.output_part import output_part
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
from vtok.video.tracks import kinds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeResult:
    """The outcome of `decode_file`.

    Attributes:
        source: The `.vtok` file that was read.
        target: The video that was written.
        num_frames: Number of frames in the written video.
        first_frame: Number of the first written frame in the source.
        notices: Properties of the source that the target cannot hold, one line each.
        num_held_frames: Number of written frames that repeat an earlier picture in place of a lost one.
        faults: Faults of the source, one line each.
        incomplete: The consequence of the faults, or None if there are none.
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
        """Return one line for people."""
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
    with_subtitles: bool = True,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> DecodeResult:
    """Decompress a `.vtok` file, or a part of it, into a video.

    To decode a part, only the groups that contain it are read. Up to the output codec, its frames equal those of the
    whole bit for bit. Its timestamps begin with that of the source's first frame.

    Args:
        source: The `.vtok` file: a path, `-` for standard input, bytes, or a binary file object that can seek. A file
            object is read from its beginning and not closed; afterwards its position is the same as before.
        target: The output; its suffix chooses between videos, GIF, images and raw frames. A sequence of images is
            named by a pattern such as `frames/%04d.png`. `-` means standard output.
        codec: Codec of a video. The default, H.264 (VP9 in WebM), is visually lossless; `ffv1` is lossless.
        codec_options: FFmpeg options of the codec, such as `{"crf": "20"}`.
        output_format: Format for standard output, one of `vtok.media.outputs.FORMATS`.
        start_seconds: Leave out frames that begin earlier than this after the first frame.
        end_seconds: Leave out frames that begin at this time after the first frame or later.
        recover: Write the intact part of a damaged source, and hold the last good picture in place of lost frames.
        with_audio: Write the sound too, as far as the container of the target can hold it.
        with_subtitles: Write the subtitles too, as far as the container can hold them; texts are converted if need be.
        tokenizer: The tokenizer that decodes; default: the one in this package that the file names.
        overwrite: Replace an existing target.
        device: The device that the networks run on, one of `vtok.networks.arithmetic.DEVICES`.
        precision: The number format of the networks' products, one of `vtok.networks.arithmetic.PRECISIONS`.
        progress: Called with the video's description; returns the function to call with the number of frames done
            since its last call.

    Raises:
        VtokError: Decoding failed, for any reason; nothing was written and an existing target is unchanged.
    """
    options = DecodeOptions(
        codec=codec,
        codec_options=codec_options,
        output_format=output_format,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        recover=recover,
        with_audio=with_audio,
        with_subtitles=with_subtitles,
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
    """Do the same as `decode_file`, with an options object."""
    check_target(target, [source] if isinstance(source, str | os.PathLike) else [], overwrite=overwrite)
    opened: type[CompressedVideo | RecoveredVideo] = RecoveredVideo if options.recover else CompressedVideo
    arithmetic = choose_arithmetic(options.device, options.precision)
    with (
        _hint_at_recovery(options.recover),
        local_source(source) as local,
        opened(local, tokenizer=tokenizer, arithmetic=arithmetic) as video,
    ):
        part = output_part(
            video,
            options.start_seconds,
            options.end_seconds,
            with_audio=options.with_audio,
            with_subtitles=options.with_subtitles,
        )
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
    """Return the consequence of the faults for the written video, or None if there are no faults."""
    if not video.faults:
        return None
    kinds = kinds_of(video.header.tracks)
    packets = f", and {kinds} {'is' if kinds == 'sound' else 'are'} missing" if video.index.lacks_packets else ""
    return f"damaged, {video.num_held_frames} of {num_frames} pictures are held ones in place of lost ones{packets}"


@contextmanager
def _hint_at_recovery(recover: bool) -> Iterator[None]:
    """Add to an error about a damaged file how to get its intact part."""
    try:
        yield
    except (ChecksumError, TruncatedError) as error:
        if recover:
            raise
        raise type(error)(f"{error}. What is intact can be had with recover=True") from error
