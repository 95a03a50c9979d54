"""What a compressed video costs, how far it is from its source, and how its codes are used."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vtok.codec import Progress, played_seconds
from vtok.compressed_video import CompressedVideo, LatentFrame
from vtok.errors import MediaError
from vtok.media import Frame, VideoInfo, VideoReader
from vtok.metrics import Quality, QualityMeter
from vtok.tokenizer import VideoTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeUsage:
    """How the codes of a `.vtok` file are used; entropies are of each channel's codes over the whole file.

    Attributes:
        num_codes: All codes, one byte each before entropy coding.
        bits_per_code: File size over that.
        entropy_bits_per_code: Mean over channels of their entropy: what one fixed ideal table per channel would need.
        num_used_channels: Channels with any code other than zero.
        zero_share: Share of codes that are zero, 0 to 1.
        channel_entropy_bits: Entropy of each channel `[n]`, most important first.
        channel_num_values: How many different codes each channel takes `[n]`.
    """

    num_codes: int
    bits_per_code: float
    entropy_bits_per_code: float
    num_used_channels: int
    zero_share: float
    channel_entropy_bits: list[float]
    channel_num_values: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStats:
    """Result of `file_stats`.

    Attributes:
        reference: The source video.
        compressed: What was compared with it.
        width: Columns of pixels.
        height: Rows of pixels.
        num_frames: Frames compared.
        duration_seconds: From the first timestamp to the end of the last frame.
        num_bytes: Size of the compressed file, all of it; but of a `.vtok` file what is not sound.
        kbit_per_second: 8e-3 x bytes / duration; None if the duration is not known.
        bits_per_pixel: 8 x bytes / (width x height x frames).
        compression_ratio: Size of the raw 8-bit 4:2:0 video over that of the compressed file.
        reference_ratio: Size of the reference file over that of the compressed file.
        quality: PSNR and SSIM; see `vtok.metrics.Quality`.
        model: Name of the model of a `.vtok` file, else None.
        model_quality: Its quality setting, else None.
        codes: How the codes of a `.vtok` file are used, else None.
        incomplete: Why one of the videos could not be read to its end, or None; figures are of what could be.
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


def file_stats(
    reference: str | os.PathLike[str],
    compressed: str | os.PathLike[str],
    *,
    tokenizer: VideoTokenizer | None = None,
    progress: Progress | None = None,
) -> FileStats:
    """Compare a `.vtok` file, or any other video, with its source, frame by frame.

    Args:
        reference: The source video.
        compressed: A `.vtok` file (by its suffix), which is decoded on the way, or a video.
        tokenizer: As for `vtok.decode_file`.
        progress: As for `vtok.encode_file`.

    Raises:
        MediaError: A file cannot be read, or the two differ in size or number of frames.
        FormatError: The `.vtok` file is damaged.
    """
    meter, usage = QualityMeter(), _CodeHistogram()
    with ExitStack() as stack:
        source = stack.enter_context(VideoReader(reference))
        video: CompressedVideo | VideoReader
        if Path(compressed).suffix == ".vtok":
            video = stack.enter_context(CompressedVideo(compressed, tokenizer=tokenizer))
            frames: Iterable[Frame] = video.decoded(usage.count(video.latent_frames()))
        else:
            frames = video = stack.enter_context(VideoReader(compressed))
        advance = progress(source.info) if progress else None
        pts = []
        for original, decoded in _pairs(source, frames, names=(str(reference), str(compressed))):
            meter.add(original, decoded)
            pts.append(original.pts)
            if advance:
                advance(1)
        quality = meter.result()
        info = source.info
    num_bytes = video.num_bytes if isinstance(video, VideoReader) else video.path.stat().st_size - video.audio_bytes()
    seconds = played_seconds(info, pts[0], pts[-1], source.last_frame_ticks)
    header = video.header if isinstance(video, CompressedVideo) else None
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
        model_quality=header.quality if header else None,
        codes=usage.result(num_bytes) if header else None,
        incomplete=source.decode_error or getattr(video, "decode_error", None),
    )


def print_stats(stats: FileStats, console: Console | None = None) -> None:
    """Print `stats` as a table."""
    quality = stats.quality
    rate = f"{stats.kbit_per_second:.1f}" if stats.kbit_per_second else "unknown"
    rows: list[tuple[str, str]] = [
        ("frames", f"{stats.num_frames} of {stats.width} x {stats.height}, {stats.duration_seconds:.3f} s"),
        ("size", f"{stats.num_bytes} bytes"),
        ("bitrate", f"{rate} kbit/s"),
        ("bits per pixel", f"{stats.bits_per_pixel:.4f}"),
        ("ratio", f"{stats.compression_ratio:.1f} to raw 4:2:0, {stats.reference_ratio:.2f} to the reference file"),
        ("PSNR-YUV (6:1:1)", f"{quality.psnr_yuv:.2f} dB"),
        ("PSNR Y / U / V", f"{quality.psnr_y:.2f} / {quality.psnr_u:.2f} / {quality.psnr_v:.2f} dB"),
        ("SSIM Y", f"{quality.ssim_y:.4f}"),
    ]
    if stats.codes:
        codes = stats.codes
        rows += [
            ("model, quality", f"{stats.model}, {stats.model_quality:g}"),
            ("codes", f"{codes.num_codes}, {100 * codes.zero_share:.1f} % zero"),
            ("bits per code", f"{codes.bits_per_code:.4f} stored, {codes.entropy_bits_per_code:.4f} channel entropy"),
            ("channels in use", f"{codes.num_used_channels} of {len(codes.channel_entropy_bits)}"),
            ("entropy by channel", _entropy_line(codes.channel_entropy_bits)),
        ]
    table = Table(title=stats.compressed, show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    (console or Console()).print(table)


def _entropy_line(entropies: list[float]) -> str:
    """Mean entropy of channels 1, 2-3, 4-7, 8-15 and so on."""
    starts = [2**i - 1 for i in range(len(entropies).bit_length())]
    parts = [entropies[start : 2 * start + 1] for start in starts if start < len(entropies)]
    return "  ".join(f"{np.mean(part):.2f}" for part in parts) + "  bits, from 1, 2, 4, 8, ... on"


class _CodeHistogram:
    def __init__(self) -> None:
        self._counts: NDArray[np.int64] | None = None
        self._zero = 0

    def count(self, latents: Iterable[LatentFrame]) -> Iterator[LatentFrame]:
        """The same `latents`, their codes counted on the way."""
        for latent in latents:
            n = len(latent.codes)
            offsets = 256 * np.arange(n)[:, None, None]
            counts = np.bincount((latent.codes + offsets).reshape(-1), minlength=256 * n).reshape(n, 256)
            self._counts = counts if self._counts is None else self._counts + counts
            yield latent

    def result(self, num_bytes: int) -> CodeUsage:
        assert self._counts is not None  # the meter has seen frames
        total = int(self._counts.sum())
        share = self._counts / self._counts.sum(axis=1, keepdims=True)
        entropy = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
        zeros = self._counts[:, 128]
        return CodeUsage(
            num_codes=total,
            bits_per_code=8 * num_bytes / total,
            entropy_bits_per_code=float(entropy.mean()),
            num_used_channels=int((zeros < self._counts.sum(axis=1)).sum()),
            zero_share=float(zeros.sum() / total),
            channel_entropy_bits=[round(float(bits), 6) for bits in entropy],
            channel_num_values=[int(values) for values in (self._counts > 0).sum(axis=1)],
        )


def _pairs(
    source: Iterable[Frame], frames: Iterable[Frame], *, names: tuple[str, str]
) -> Iterator[tuple[Frame, Frame]]:
    """Frames of both videos side by side; MediaError where one of them ends first."""
    first, second = iter(source), iter(frames)
    num_frames = 0
    while True:
        a, b = next(first, None), next(second, None)
        if a is None and b is None:
            return
        if a is None or b is None:
            shorter, longer = names if a is None else names[::-1]
            raise MediaError(f"{shorter}: has {num_frames} frames, {longer} has more: is it of the same video?")
        num_frames += 1
        yield a, b


def _raw_frame_bytes(info: VideoInfo) -> int:
    return info.width * info.height + 2 * (-(-info.width // 2)) * (-(-info.height // 2))
