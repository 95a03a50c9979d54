"""Measures one codec at one setting on one clip: turns the output of `vtok.benchmark.codecs` into one flat record."""

import dataclasses
from pathlib import Path
from statistics import fmean

from vtok.benchmark.codecs import code
from vtok.measure.stats import FrameComparison, pairs
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer


def measure(
    codec: str,
    setting: int,
    reference: Path,
    folder: Path,
    *,
    tokenizer: VideoTokenizer | None,
    threads: int,
    with_vmaf: bool,
) -> dict[str, float | None]:
    """Encode and decode the reference, compare, and return one flat record; bpp are bits per pixel of luma.

    MS-SSIM is None for small frames. VMAF is None if no ffmpeg has it.
    """
    coding = code(codec, setting, reference, folder, tokenizer=tokenizer, threads=threads)
    with (
        VideoReader(reference) as source,
        VideoReader(coding.decoded) as decoded,
        FrameComparison(source.info, with_vmaf=with_vmaf) as comparison,
    ):
        for original, copy in pairs(source, decoded, names=(f"source of {codec} {setting}", f"{codec} {setting}")):
            comparison.add(original, copy)
        info, (quality, frames) = source.info, comparison.result()
    bits_per_byte_and_pixel = 8 / (info.width * info.height * quality.num_frames)
    return {
        "width": info.width,
        "height": info.height,
        "num_bytes": coding.num_bytes,
        "num_file_bytes": coding.num_file_bytes,
        "bpp": coding.num_bytes * bits_per_byte_and_pixel,
        "file_bpp": coding.num_file_bytes * bits_per_byte_and_pixel,
        "encode_seconds": coding.encode_seconds,
        "decode_seconds": coding.decode_seconds,
        **dataclasses.asdict(quality),
        "vmaf": fmean(frames.vmaf) if frames.vmaf else None,
        "vmaf_neg": fmean(frames.vmaf_neg) if frames.vmaf_neg else None,
    }
