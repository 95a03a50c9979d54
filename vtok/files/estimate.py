"""Estimates what a file would come to, without writing it: samples of its groups of frames are coded and decoded."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from vtok.files.options import EncodeOptions, encode_options
from vtok.files.passes import Look, Passes
from vtok.files.steering import Steering
from vtok.files.trials import Forecast, mean_ssim, psnr_yuv
from vtok.model.loading import shared_model
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.paths import StrPath
from vtok.system.standard_streams import local_file
from vtok.video.frame import Progress

MAX_SAMPLED = 4  # groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a file is expected to come to.

    Attributes:
        source: The video that was read.
        quality: The quality of the file; with a goal that of most groups.
        num_frames: Number of frames of the file.
        num_bytes: Bytes of the file. Those of header, packets and times in it are counted, those of codes estimated.
        num_track_bytes: Bytes of sound and subtitles.
        kbit_per_second: Bitrate of the whole file; None for a single frame without a rate.
        psnr_yuv: PSNR-YUV over all frames, in dB.
        ssim_y: Mean SSIM of luma.
        encode_seconds: Time to encode here and now, the start of the program and the loading of the model not counted.
        num_sampled_frames: Number of frames that were coded for this.
        notices: Conversions and omissions, one line each.
        incomplete: The reason why the source could not be read to its end, or None.
    """

    source: str
    quality: float
    num_frames: int
    num_bytes: int
    num_track_bytes: int
    kbit_per_second: float | None
    psnr_yuv: float
    ssim_y: float
    encode_seconds: float
    num_sampled_frames: int
    notices: list[str]
    incomplete: str | None

    def summary(self) -> str:
        """Return one line for people."""
        rate = f", {self.kbit_per_second:.0f} kbit/s" if self.kbit_per_second else ""
        return (
            f"{self.source}: about {self.num_bytes} bytes{rate}, PSNR-YUV {self.psnr_yuv:.2f} dB at quality "
            f"{self.quality:.3g}, {self.encode_seconds:.0f} s to encode; "
            f"{self.num_sampled_frames} of {self.num_frames} frames tried"
        )


def estimate_file(
    source: StrPath, *, tokenizer: VideoTokenizer | None = None, progress: Progress | None = None, **options: Any
) -> Estimate:
    """Estimate what `encode_file` would write, and how long it would take.

    The source is read twice, for a goal more often. Up to four groups of frames are coded and decoded; of a video that
    has no more, the estimate is exact, but for the drift of qualities that a goal allows.

    Args:
        source: A video, as `encode_file` takes it.
        tokenizer: The tokenizer that encodes; default: the pretrained one of this package.
        progress: Called with the video's description and the name of each pass; see `encode_file`.
        options: Those of `encode_file` that say what is encoded and how: `quality=6`, `size="25MB"` and so on.

    Raises:
        VtokError: The source cannot be read, or a goal cannot be reached.
    """
    return estimate_with(encode_options(**options), source, tokenizer=tokenizer, progress=progress)


def estimate_with(
    options: EncodeOptions,
    source: StrPath,
    *,
    tokenizer: VideoTokenizer | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Do the same as `estimate_file`, with an options object; a given tokenizer replaces the model that it names."""
    model = shared_model(options.model) if tokenizer is None else tokenizer.pretrained
    with local_file(source) as path:
        begun = perf_counter()
        quality, other_seconds = options.quality, 0.0
        passes = Passes(path, source, options, model, progress)
        if options.goal is None:
            look = passes.look()
        else:
            steering = Steering(passes, options.goal)
            look = steering.survey.look
            look_seconds = perf_counter() - begun
            quality = steering.priced()
            other_seconds = perf_counter() - begun + look_seconds  # the last pass, which writes, only reads too
        sees = options.goal is not None and not options.goal.is_size
        samples = _sampled(passes, look, quality, counts_decoding=sees)
    num_frames = sum(look.num_frames)
    costs = samples.forecast.costs(range(len(look.num_frames)), quality)
    num_bytes = round(look.num_bytes(float(costs[0])))
    return Estimate(
        source=str(source),
        quality=quality,
        num_frames=num_frames,
        num_bytes=num_bytes,
        num_track_bytes=look.num_track_bytes,
        kbit_per_second=8e-3 * num_bytes / look.seconds if look.seconds else None,
        psnr_yuv=psnr_yuv(costs, num_frames),
        ssim_y=mean_ssim(costs, num_frames),
        encode_seconds=other_seconds + num_frames * samples.seconds_per_frame,
        num_sampled_frames=samples.num_frames,
        notices=look.notices,
        incomplete=look.incomplete,
    )


class _Samples(NamedTuple):
    """What groups of frames came to, and how long one of their frames took."""

    forecast: Forecast
    num_frames: int
    seconds_per_frame: float


def _sampled(passes: Passes, look: Look, quality: float, *, counts_decoding: bool) -> _Samples:
    """Code and decode some groups of frames."""
    forecast, seconds = Forecast(look.num_frames), {}
    for source, info, advance in passes.groups("price", look.spread(MAX_SAMPLED)):
        coder, begun = passes.coder(info, sees=True), perf_counter()
        group = coder.encode(source.chunks, quality, 0, advance)
        coded = perf_counter()
        forecast.add(source.number, quality, coder.costs(source.chunks, group))
        seconds[source.number] = (perf_counter() if counts_decoding else coded) - begun
    num_frames = {number: look.num_frames[number] for number in seconds}
    # The median, because the first group also pays for what is loaded and prepared once.
    per_frame = median(seconds[number] / num_frames[number] for number in seconds)
    return _Samples(forecast, sum(num_frames.values()), per_frame)
