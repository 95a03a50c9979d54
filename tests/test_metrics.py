"""PSNR and SSIM against FFmpeg's own filters, against plain definitions, and at the edges."""

import math
from dataclasses import dataclass
from statistics import fmean

import av
import numpy as np
import pytest
from av.filter import Graph

from vtok.errors import ConfigError, MediaError
from vtok.measure.psnr_ssim import MAX_PSNR_DB, QualityMeter, psnr, ssim
from vtok.video.frame import Plane


@dataclass(frozen=True)
class Planes:
    y: Plane
    u: Plane
    v: Plane


def random_frame(rng: np.random.Generator, *, w: int, h: int) -> Planes:
    chroma = (-(-h // 2), -(-w // 2))
    return Planes(*(rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((h, w), chroma, chroma)))


def synthetic_clip(*, w: int, h: int, num_frames: int) -> list[Planes]:
    """Moving waves with a little noise: flat, smooth and textured parts, all in motion. Even sizes."""
    rng = np.random.default_rng(7)
    frames = []
    for t in range(num_frames):
        planes = []
        for n, (ph, pw) in enumerate(((h, w), (h // 2, w // 2), (h // 2, w // 2))):
            rows, columns = np.mgrid[:ph, :pw] / ph
            wave = 128 + 70 * np.sin(9 * rows + 0.2 * t + n) * np.cos(6 * columns**2 - 0.3 * t)
            wave[:, pw // 2 :] += rng.normal(0, 12, (ph, pw - pw // 2))
            planes.append(wave.clip(0, 255).astype(np.uint8))
        frames.append(Planes(*planes))
    return frames


def to_video_frame(planes: Planes, *, index: int) -> av.VideoFrame:
    frame = av.VideoFrame(planes.y.shape[1], planes.y.shape[0], "yuv420p")
    frame.pts = index
    for target, source in zip(frame.planes, (planes.y, planes.u, planes.v), strict=True):
        rows = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
        rows[: source.shape[0], : source.shape[1]] = source
    return frame


def from_video_frame(frame: av.VideoFrame) -> Planes:
    return Planes(
        *(
            np.frombuffer(memoryview(plane), np.uint8)
            .reshape(-1, plane.line_size)[: plane.height, : plane.width]
            .copy()
            for plane in frame.planes
        )
    )


def damage_with_x264(clip: list[Planes], *, crf: int) -> list[Planes]:
    h, w = clip[0].y.shape
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = w, h, "yuv420p", 25
    encoder.options = {"crf": str(crf), "preset": "ultrafast"}
    decoder = av.CodecContext.create("h264", "r")
    frames = [to_video_frame(planes, index=n) for n, planes in enumerate(clip)]
    packets = [packet for frame in (*frames, None) for packet in encoder.encode(frame)]
    return [from_video_frame(frame) for packet in (*packets, None) for frame in decoder.decode(packet)]


def crop(planes: Planes, *, w: int, h: int) -> Planes:
    ch, cw = -(-h // 2), -(-w // 2)
    return Planes(planes.y[:h, :w], planes.u[:ch, :cw], planes.v[:ch, :cw])


def filter_metadata(name: str, reference: list[Planes], decoded: list[Planes]) -> list[dict[str, str]]:
    """What FFmpeg's filter `name` says of each frame."""
    h, w = reference[0].y.shape
    graph = Graph()
    sources = [graph.add_buffer(width=w, height=h, format="yuv420p", time_base="1/25") for _ in range(2)]
    measure, sink = graph.add(name), graph.add("buffersink")
    for n, source in enumerate(sources):
        source.link_to(measure, 0, n)
    measure.link_to(sink)
    graph.configure()
    metadata = []
    for n, pair in enumerate(zip(decoded, reference, strict=True)):
        for source, planes in zip(sources, pair, strict=True):
            source.push(to_video_frame(planes, index=n))
        metadata.append(dict(sink.pull().metadata))
    return metadata


def measure(reference: list[Planes], decoded: list[Planes]) -> QualityMeter:
    meter = QualityMeter()
    for pair in zip(reference, decoded, strict=True):
        meter.add(*pair)
    return meter


@pytest.mark.parametrize(("w", "h"), [(160, 96), (154, 98), (153, 97)])
def test_agrees_with_ffmpeg(w: int, h: int) -> None:
    whole = synthetic_clip(w=160, h=98, num_frames=6)
    reference = [crop(planes, w=w, h=h) for planes in whole]
    decoded = [crop(planes, w=w, h=h) for planes in damage_with_x264(whole, crf=35)]
    quality = measure(reference, decoded).result()
    psnr_frames = filter_metadata("psnr", reference, decoded)
    ssim_frames = filter_metadata("ssim", reference, decoded)

    def pooled(key: str) -> float:
        return psnr(fmean(float(frame[f"lavfi.psnr.mse{key}"]) for frame in psnr_frames))

    assert 20 < quality.psnr_y < 45, "the clip must be damaged, but not beyond recognition"
    assert quality.psnr_y == pytest.approx(pooled(".y"), abs=0.01)
    assert quality.psnr_u == pytest.approx(pooled(".u"), abs=0.01)
    assert quality.psnr_v == pytest.approx(pooled(".v"), abs=0.01)
    assert quality.psnr_average == pytest.approx(pooled("_avg"), abs=0.01)
    assert quality.psnr_yuv == pytest.approx((6 * pooled(".y") + pooled(".u") + pooled(".v")) / 8, abs=0.01)
    psnr_y_mean = fmean(float(frame["lavfi.psnr.psnr.y"]) for frame in psnr_frames)
    assert quality.psnr_y_mean == pytest.approx(psnr_y_mean, abs=0.01)
    ssim_y = fmean(float(frame["lavfi.ssim.Y"]) for frame in ssim_frames)
    assert 0.3 < ssim_y < 0.99
    assert quality.ssim_y == pytest.approx(ssim_y, abs=0.0005)


def plain_ssim(a: Plane, b: Plane) -> float:
    """SSIM window by window in float64, from the means and the unbiased variances of the paper."""
    values = []
    for y in range(0, a.shape[0] - 7, 4):
        for x in range(0, a.shape[1] - 7, 4):
            p, q = (plane[y : y + 8, x : x + 8].astype(float).ravel() for plane in (a, b))
            (var_p, cov), (_, var_q) = np.cov(p, q)
            luminance = (2 * p.mean() * q.mean() + 2.55**2) / (p.mean() ** 2 + q.mean() ** 2 + 2.55**2)
            values.append(luminance * (2 * cov + 7.65**2) / (var_p + var_q + 7.65**2))
    return fmean(values)


def test_ssim_is_the_plain_definition_on_a_grid() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (31, 45), dtype=np.uint8)
    b = (a.astype(int) + rng.integers(-40, 41, a.shape)).clip(0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(plain_ssim(a, b), abs=1e-4)


def test_ssim_does_not_overflow_at_the_extremes() -> None:
    white, black = np.full((16, 16), 255, np.uint8), np.zeros((16, 16), np.uint8)
    checks = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert ssim(white, white) == ssim(checks, checks) == 1.0
    assert ssim(white, black) == pytest.approx(plain_ssim(white, black), abs=1e-4)
    assert ssim(checks, 255 - checks) == pytest.approx(plain_ssim(checks, 255 - checks), abs=1e-4)


def test_psnr_values_known_by_hand() -> None:
    frame = Planes(np.full((4, 6), 100, np.uint8), np.full((2, 3), 50, np.uint8), np.full((2, 3), 200, np.uint8))
    off = Planes(frame.y + np.uint8(5), frame.u - np.uint8(10), frame.v + np.uint8(55))
    quality = measure([frame], [off]).result()
    assert (quality.mse_y, quality.mse_u, quality.mse_v) == (25, 100, 55**2)
    assert quality.psnr_y == pytest.approx(20 * math.log10(255 / 5))
    assert quality.psnr_v == pytest.approx(20 * math.log10(255 / 55))
    assert quality.psnr_yuv == pytest.approx((6 * quality.psnr_y + quality.psnr_u + quality.psnr_v) / 8)
    assert quality.psnr_average == pytest.approx(psnr((24 * 25 + 6 * 100 + 6 * 55**2) / 36))


def test_identical_frames_are_capped_and_only_pull_the_mean_of_frames() -> None:
    rng = np.random.default_rng(2)
    first, second, third = (random_frame(rng, w=24, h=16) for _ in range(3))
    same = measure([first], [first]).result()
    assert (same.psnr_y, same.psnr_yuv, same.psnr_average, same.psnr_yuv_mean, same.ssim_y) == (*[MAX_PSNR_DB] * 4, 1.0)
    half_same = measure([first, second], [first, third]).result()
    damaged = measure([second], [third]).result()
    assert half_same.mse_y == pytest.approx(damaged.mse_y / 2)
    assert half_same.psnr_y == pytest.approx(damaged.psnr_y + 10 * math.log10(2))
    assert half_same.psnr_yuv_mean == pytest.approx((damaged.psnr_yuv + MAX_PSNR_DB) / 2)
    assert half_same.num_frames == 2


def test_one_wrong_sample_in_a_large_frame_counts_exactly() -> None:
    y = np.full((720, 1280), 255, np.uint8)
    grey = np.full((360, 640), 128, np.uint8)
    wrong = y.copy()
    wrong[719, 1279] = 254
    assert measure([Planes(y, grey, grey)], [Planes(wrong, grey, grey)]).result().mse_y == 1 / (720 * 1280)
    black = np.zeros_like(y)
    assert measure([Planes(y, grey, grey)], [Planes(black, grey, grey)]).result().mse_y == 255**2


@pytest.mark.parametrize(("w", "h"), [(1, 1), (3, 200), (200, 7), (8, 8), (9, 11)])
def test_small_and_odd_sizes(w: int, h: int) -> None:
    rng = np.random.default_rng(3)
    a, b = random_frame(rng, w=w, h=h), random_frame(rng, w=w, h=h)
    quality = measure([a], [b]).result()
    assert quality.mse_y == np.mean((a.y.astype(float) - b.y) ** 2)
    assert -1 <= quality.ssim_y < 1
    assert measure([a], [a]).result().ssim_y == 1


def test_errors_name_the_sizes() -> None:
    rng = np.random.default_rng(4)
    meter = QualityMeter()
    with pytest.raises(MediaError, match="0 frames"):
        meter.result()
    with pytest.raises(MediaError, match=r"plane y of frame 0 is 10x8 .* 12x8"):
        meter.add(random_frame(rng, w=10, h=8), random_frame(rng, w=12, h=8))
    good = random_frame(rng, w=10, h=8)
    with pytest.raises(ConfigError, match="float64"):
        meter.add(good, Planes(good.y.astype(float), good.u, good.v))
    assert meter.num_frames == 0, "a refused pair must not be counted"
