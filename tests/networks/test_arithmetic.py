"""Devices and precisions: what is chosen, what is refused, and that codes written on one device decode on another."""

import pytest
import torch

from support.devices import needs_cuda
from support.videos import cut_sample
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.errors import ConfigError
from vtok.media.reader import VideoReader
from vtok.networks.arithmetic import choose_arithmetic, has_fast_bfloat16


def test_the_user_decides_and_auto_asks_the_hardware():
    assert [choose_arithmetic("cpu", name).bfloat16 for name in ("float32", "bfloat16", "auto")] == [
        False,
        True,
        has_fast_bfloat16(),
    ]
    assert choose_arithmetic().device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [("tpu", "auto", "device is 'tpu'; expected one of auto, cpu"), ("cpu", "int4", "precision is 'int4'; expected")],
)
def test_what_there_is_not_is_refused(device, precision, message):
    with pytest.raises(ConfigError, match=message):
        choose_arithmetic(device, precision)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said():
    with pytest.raises(ConfigError, match="finds no CUDA device here"):
        choose_arithmetic("cuda")


def psnr(frames, others):
    errors = [((a.y.astype(float) - b.y) ** 2).mean() for a, b in zip(frames, others, strict=True)]
    return 10 * torch.log10(255**2 / torch.tensor(errors).mean().clamp_min(1e-9))


def test_precision_changes_pixels_hardly_and_never_what_codes_mean(tiny_tokenizer, tmp_path):
    with VideoReader(cut_sample(tmp_path / "cut.mkv", codec="ffv1", num_frames=8)) as reader:
        info, frames = reader.info, list(reader)
    codes = ChunkEncoder(tiny_tokenizer.pretrained, info, 5, choose_arithmetic("cpu", "float32")).encode(frames)
    pts = [frame.pts for frame in frames]
    decoded = [
        ChunkDecoder(tiny_tokenizer.pretrained, info, choose_arithmetic("cpu", name)).decode(codes, pts, 5)
        for name in ("float32", "bfloat16")
    ]
    assert psnr(*decoded) > 40


@needs_cuda
def test_codes_of_one_device_decode_on_the_other(tiny_tokenizer, tmp_path):
    with VideoReader(cut_sample(tmp_path / "cut.mkv", codec="ffv1", num_frames=8)) as reader:
        info, frames = reader.info, list(reader)
    pts = [frame.pts for frame in frames]
    for source, target in (("cpu", "cuda"), ("cuda", "cpu")):
        codes = ChunkEncoder(tiny_tokenizer.pretrained, info, 5, choose_arithmetic(source)).encode(frames)
        decoded = [
            ChunkDecoder(tiny_tokenizer.pretrained, info, choose_arithmetic(d)).decode(codes, pts, 5)
            for d in (source, target)
        ]
        assert psnr(*decoded) > 40
