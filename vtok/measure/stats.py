"""Cost of a compressed video, its quality against the source, and the use of its codes."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from time import perf_counter

from vtok.codec.code_costs import CodeCosts
from vtok.codec.compressed_video import CompressedVideo
from vtok.container.groups import mean_quality
from vtok.errors import MediaError
from vtok.measure.code_usage import CodeHistogram, CodeUsage
from vtok.measure.psnr_ssim import Quality, QualityMeter, Spread
from vtok.measure.vmaf import MISSING, VmafMeter, VmafScores, find_ffmpeg
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.paths import is_vtok
from vtok.system.sources import refuse_pipe
from vtok.video.filters import filters_of
from vtok.video.frame import Frame, Progress, VideoInfo
from vtok.video.times import played_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSeries:
    """Measures of each frame, as lists of one length.

    Attributes:
        seconds: Time of each frame after the first one.
        psnr_yuv: PSNR, 6:1:1, in dB.
        psnr_y: PSNR of luma, in dB.
        ssim_y: SSIM of luma.
        ms_ssim_y: MS-SSIM of luma; None if the frames are too small for it.
        vmaf: VMAF 0.6.1, 0 to 100; None if it was not measured.
        vmaf_neg: VMAF of the NEG model, 0 to 100; None if it was not measured.
    """

    seconds: list[float]
    psnr_yuv: list[float]
    psnr_y: list[float]
    ssim_y: list[float]
    ms_ssim_y: list[float] | None
    vmaf: list[float] | None
    vmaf_neg: list[float] | None

    def spread(self) -> dict[str, Spread]:
        """The spread over the frames of each measure that was taken."""
        names = ("psnr_yuv", "psnr_y", "ssim_y", "ms_ssim_y", "vmaf", "vmaf_neg")
        return {name: Spread.of(values) for name in names if (values := getattr(self, name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStats:
    """Result of `file_stats`.

    Attributes:
        reference: The source video.
        compressed: The video that was compared with it.
        width: Columns of pixels.
        height: Rows of pixels.
        num_frames: Number of frames compared.
        duration_seconds: Time from the first timestamp to the end of the last frame.
        num_bytes: Size of the compressed file; of a `.vtok` file without its sound and subtitles.
        kbit_per_second: 8e-3 x bytes / duration; None if the duration is not known.
        bits_per_pixel: 8 x bytes / (width x height x frames).
        compression_ratio: Size of the raw 8-bit 4:2:0 video over that of the compressed file.
        reference_ratio: Size of the reference file over that of the compressed file.
        quality: PSNR and SSIM; see `vtok.measure.psnr_ssim.Quality`.
        model: Name of the model of a `.vtok` file, else None.
        model_quality: Quality setting of a `.vtok` file, the mean of its frames, else None; `codes.groups` has those of
            the groups.
        codes: Use of the codes of a `.vtok` file, else None.
        incomplete: The reason why one of the videos could not be read to its end, or None; all figures are of the part
            that could be read.
        frame_spread: Minimum and percentiles over the frames of each list in `frames` but the first; see
            `vtok.measure.psnr_ssim.Spread`.
        frames: The measures of each frame.
        vmaf: Mean over frames of VMAF 0.6.1; None if it was not measured.
        vmaf_neg: Mean over frames of VMAF of the NEG model; None if it was not measured.
        vmaf_missing: The reason why there is no VMAF, or None.
        decode_seconds: Time spent decoding, one stage after the other, without comparing; `vtok decode` overlaps
            stages.
        decoded_frames_per_second: `num_frames` over `decode_seconds`.
    """

    reference: str
    compressed: str
    width: int
    height: int
    num_frames: int
    duration_seconds: float
    num_bytes: int
    kbit_per_second: float | None
    bits_per_pixel: float
    compression_ratio: float
    reference_ratio: float
    quality: Quality
    model: str | None
    model_quality: float | None
    codes: CodeUsage | None
    incomplete: str | None
    frame_spread: dict[str, Spread]
    frames: FrameSeries
    vmaf: float | None
    vmaf_neg: float | None
    vmaf_missing: str | None
    decode_seconds: float
    decoded_frames_per_second: float


def file_stats(
    reference: str | os.PathLike[str],
    compressed: str | os.PathLike[str],
    *,
    scale: str | None = None,
    fps: Fraction | float | str | None = None,
    crop: str | None = None,
    tokenizer: VideoTokenizer | None = None,
    with_vmaf: bool = False,
    progress: Progress | None = None,
) -> FileStats:
    """Compare a `.vtok` file, or any other video, with its source, frame by frame.

    Args:
        reference: The source video.
        compressed: A `.vtok` file (by its suffix), which is decoded on the way, or a video.
        scale: What was done to the source before it was compressed, and is done to it again; see `vtok.encode_file`.
        fps: Likewise.
        crop: Likewise.
        tokenizer: Default: the one in this package that the file names.
        with_vmaf: Also measure VMAF if there is a program for it; see `vtok.measure.vmaf`.
        progress: Called with the video's description; see `vtok.encode_file`.

    Raises:
        MediaError: A file cannot be read or is a pipe, or the two differ in size or number of frames.
        FormatError: The `.vtok` file is damaged.
    """
    for path in (reference, compressed):
        refuse_pipe(path)  # the sizes are needed
    with ExitStack() as stack:
        filters = filters_of(scale=scale, fps=fps, crop=crop)
        source = stack.enter_context(VideoReader(reference, filters=filters))
        video: CompressedVideo | VideoReader
        codes = CodeHistogram()
        if is_vtok(compressed):
            video = stack.enter_context(CompressedVideo(compressed, tokenizer=tokenizer))
            video.costs = CodeCosts()
            # Stages that overlap with the comparison could not be timed.
            frames = video.decoded(codes.count(video.latent_frames()), overlapped=False)
        else:
            video = stack.enter_context(VideoReader(compressed))
            frames = iter(video)
        info = source.info
        _check_size(info, video.info, names=(str(reference), str(compressed)))
        timed = _Timed(frames)
        comparison = stack.enter_context(FrameComparison(info, with_vmaf=with_vmaf))
        advance = progress(info) if progress else None
        for original, decoded in pairs(source, timed, names=(str(reference), str(compressed))):
            comparison.add(original, decoded)
            if advance:
                advance(1)
        quality, series = comparison.result()
        num_bytes = (
            video.num_bytes if isinstance(video, VideoReader) else video.index.num_bytes - video.index.num_track_bytes
        )
    seconds = played_seconds(info, comparison.pts[0], comparison.pts[-1], source.last_frame_ticks)
    header, costs = (video.header, video.costs) if isinstance(video, CompressedVideo) else (None, None)
    return FileStats(
        reference=str(reference),
        compressed=str(compressed),
        width=info.width,
        height=info.height,
        num_frames=quality.num_frames,
        duration_seconds=seconds,
        num_bytes=num_bytes,
        kbit_per_second=8e-3 * num_bytes / seconds if seconds else None,
        bits_per_pixel=8 * num_bytes / (info.width * info.height * quality.num_frames),
        compression_ratio=quality.num_frames * _raw_frame_bytes(info) / num_bytes,
        reference_ratio=source.num_bytes / num_bytes,
        quality=quality,
        model=header.model_name if header else None,
        model_quality=mean_quality((x.quality, x.num_frames) for x in costs.groups) if costs else None,
        codes=codes.usage(num_bytes, costs) if costs else None,
        incomplete=source.decode_error or getattr(video, "decode_error", None),
        frame_spread=series.spread(),
        frames=series,
        vmaf=fmean(series.vmaf) if series.vmaf else None,
        vmaf_neg=fmean(series.vmaf_neg) if series.vmaf_neg else None,
        vmaf_missing=comparison.vmaf_missing,
        decode_seconds=timed.seconds,
        decoded_frames_per_second=quality.num_frames / timed.seconds,
    )


class _Timed:
    """Yields frames, and sums the seconds that it took to get them."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Frame]:
        while True:
            start = perf_counter()
            frame = next(self._frames, None)
            self.seconds += perf_counter() - start
            if frame is None:
                return
            yield frame


class FrameComparison(ExitStack):
    """Takes all measures of pairs of frames. It is a context, because a program measures VMAF.

    Attributes:
        pts: Timestamps of the original frames so far.
        vmaf_missing: The reason why there is no VMAF, or None.

    Args:
        info: Description of the original video.
        with_vmaf: Also measure VMAF if there is a program for it.
    """

    def __init__(self, info: VideoInfo, *, with_vmaf: bool) -> None:
        super().__init__()
        self._info, self._quality = info, QualityMeter()
        self.pts: list[int] = []
        self.vmaf_missing: str | None = "not asked for"
        self._vmaf: VmafMeter | None = None
        if with_vmaf:
            program = find_ffmpeg()
            self.vmaf_missing = None if program else MISSING
            if program:
                self._vmaf = self.enter_context(VmafMeter(program, width=info.width, height=info.height))

    def add(self, original: Frame, decoded: Frame) -> None:
        """Add one more pair of frames; raises what `QualityMeter.add` raises."""
        self._quality.add(original, decoded)
        self.pts.append(original.pts)
        if self._vmaf and not self.vmaf_missing:
            try:
                self._vmaf.add(original, decoded)
            except MediaError as error:  # everything else can still be measured
                self.vmaf_missing = str(error)

    def result(self) -> tuple[Quality, FrameSeries]:
        """The quality over all frames, and the measures of each frame."""
        quality = self._quality.result()
        vmaf = self._vmaf_scores()
        return quality, FrameSeries(
            seconds=[float((pts - self.pts[0]) * self._info.time_base) for pts in self.pts],
            psnr_yuv=self._quality.frame_psnr_yuv(),
            psnr_y=[y for y, _, _ in self._quality.frame_psnr],
            ssim_y=self._quality.frame_ssim_y,
            ms_ssim_y=self._quality.frame_ms_ssim_y or None,
            vmaf=vmaf.default if vmaf else None,
            vmaf_neg=vmaf.neg if vmaf else None,
        )

    def _vmaf_scores(self) -> VmafScores | None:
        if not self._vmaf or self.vmaf_missing:
            return None
        try:
            return self._vmaf.finish()
        except MediaError as error:
            self.vmaf_missing = str(error)
            return None


def pairs(source: Iterable[Frame], frames: Iterable[Frame], *, names: tuple[str, str]) -> Iterator[tuple[Frame, Frame]]:
    """Yield the frames of both videos in pairs; MediaError where one video ends first."""
    first, second = iter(source), iter(frames)
    num_frames = 0
    while True:
        a, b = next(first, None), next(second, None)
        if a is None and b is None:
            return
        if a is None or b is None:
            shorter, longer = names if a is None else names[::-1]
            raise MediaError(
                f"{shorter}: has {num_frames} frames, {longer} has more: is it of the same video, all of it, "
                "at the same rate?"
            )
        num_frames += 1
        yield a, b


def _check_size(info: VideoInfo, other: VideoInfo, *, names: tuple[str, str]) -> None:
    size, other_size = (f"{video.width}x{video.height}" for video in (info, other))
    if size != other_size:
        raise MediaError(
            f"{names[1]}: is {other_size}, {names[0]} is {size}: compare with what was compressed, by the same "
            "scale=... and crop=..."
        )


def _raw_frame_bytes(info: VideoInfo) -> int:
    return info.width * info.height + 2 * (-(-info.width // 2)) * (-(-info.height // 2))
