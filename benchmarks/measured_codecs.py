"""One codec, one setting, one clip: how many bytes, how far from the source, how fast.

Every codec gets the same pixels: `make_reference` decodes and scales a clip once, into a lossless file.
"""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from statistics import fmean
from time import perf_counter

import av
from av.video.reformatter import Interpolation, VideoReformatter

import vtok.version
from vtok.media import Frame, VideoReader, VideoWriter
from vtok.media_frame import frame_from_planes, planes_420
from vtok.stats import FrameComparison, pairs

X264_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
NUM_X264_THREADS = 2
_H264_SEI = 6  # NAL unit type of "supplemental enhancement information"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """What one run of one codec cost: `num_bytes` is the headline, seconds are of wall time."""

    decoded: Path
    num_bytes: int
    num_file_bytes: int
    encode_seconds: float
    decode_seconds: float


def make_reference(clip: Path, reference: Path, *, num_frames: int, max_width: int) -> None:
    """Write the first frames of a clip, at most `max_width` wide, to a lossless file; pts and colours as in the clip.

    Sizes are made even (libx264 asks for it), the aspect ratio is kept as far as that allows, the filter is bicubic.
    """
    reformatter = VideoReformatter()
    with VideoReader(clip) as reader:
        info = reader.info
        w = max(2, min(info.width, max_width) // 2 * 2)
        h = max(2, round(info.height * w / info.width / 2) * 2)
        with VideoWriter(reference, dataclasses.replace(info, width=w, height=h), codec="ffv1") as writer:
            for frame in islice(reader, num_frames):
                writer.write(_scale(frame, reformatter, w=w, h=h))


def measure(codec: str, setting: int, reference: Path, folder: Path) -> dict[str, float | None]:
    """Encode and decode the reference, compare, and return one flat record; bpp are bits per pixel of luma.

    MS-SSIM is None for small frames, VMAF without an ffmpeg that has it.
    """
    if codec == "vtok":
        coding = code_with_vtok(setting, reference, folder)
    else:
        coding = code_with_x264(codec.removeprefix("x264-"), setting, reference, folder)
    with (
        VideoReader(reference) as source,
        VideoReader(coding.decoded) as decoded,
        FrameComparison(source.info, with_vmaf=True) as comparison,
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


def code_with_x264(preset: str, crf: int, reference: Path, folder: Path) -> Coding:
    """Encode with libx264 to MP4 and decode that.

    The headline is the raw stream: all packets and the parameter sets, without MP4's index, and without the text of
    some 700 bytes in which libx264 notes its settings: at the lowest rates it would count for several per cent.
    """
    encoded = folder / "x264.mp4"
    # PyAV asks for slice threads unless told otherwise. They cut each picture in slices, which costs bits and is not
    # what users of x264 have.
    options = {"preset": preset, "crf": str(crf), "threads": str(NUM_X264_THREADS), "thread_type": "frame"}
    start = perf_counter()
    with (
        VideoReader(reference) as reader,
        VideoWriter(encoded, reader.info, codec="libx264", options=options) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    encode_seconds = perf_counter() - start
    start = perf_counter()
    with VideoReader(encoded) as reader:
        _exhaust(reader)
    decode_seconds = perf_counter() - start
    return Coding(
        decoded=encoded,
        num_bytes=h264_stream_bytes(encoded),
        num_file_bytes=encoded.stat().st_size,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def code_with_vtok(quality: int, reference: Path, folder: Path) -> Coding:
    """Encode to `.vtok`, all of whose bytes count, and decode that to a lossless file, whose writing is in the time."""
    from vtok.codec import decode_file, encode_file

    encoded, decoded = folder / "clip.vtok", folder / "vtok.mkv"
    for path in (encoded, decoded):
        path.unlink(missing_ok=True)
    start = perf_counter()
    encode_file(reference, encoded, quality=quality)
    encode_seconds = perf_counter() - start
    start = perf_counter()
    decode_file(encoded, decoded, codec="ffv1")
    decode_seconds = perf_counter() - start
    num_bytes = encoded.stat().st_size
    return Coding(
        decoded=decoded,
        num_bytes=num_bytes,
        num_file_bytes=num_bytes,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def is_available(codec: str) -> bool:
    """Whether this installation has the codec."""
    return codec != "vtok" or importlib.util.find_spec("vtok.codec") is not None


def build_of(codec: str) -> str:
    """What else the bytes depend on: versions and, for vtok, the weights that it comes with."""
    if codec != "vtok":
        return f"PyAV {av.__version__}, {NUM_X264_THREADS} frame threads"
    digest = hashlib.sha256()
    for weights in sorted(Path(vtok.version.__file__).parent.glob("pretrained/*.safetensors")):
        digest.update(weights.read_bytes())
    return f"vtok {vtok.version.__version__}, weights {digest.hexdigest()[:16]}"


def h264_stream_bytes(path: Path) -> int:
    """Bytes of the H.264 stream in an MP4 file: packets and parameter sets, without a leading text of the encoder."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        num_header_bytes = len(stream.codec_context.extradata or b"")
    first = packets[0]
    num_text_bytes = 4 + int.from_bytes(first[:4]) if first[4] & 31 == _H264_SEI else 0
    return num_header_bytes + sum(map(len, packets)) - num_text_bytes


def _scale(frame: Frame, reformatter: VideoReformatter, *, w: int, h: int) -> Frame:
    if frame.y.shape == (h, w):
        return frame
    # Exact arithmetic, so that every machine measures on the same pixels.
    flags = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
    picture = reformatter.reformat(frame_from_planes(frame, "yuv420p"), width=w, height=h, interpolation=flags)
    return Frame(*planes_420(picture, reformatter), pts=frame.pts)


def _exhaust(frames: Iterable[Frame]) -> None:
    for _ in frames:
        pass
