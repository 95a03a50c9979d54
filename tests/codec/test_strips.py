"""Large frames in strips: the codes and the pixels of the whole, up to rounding."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from vtok.codec import strips as strips_module
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.codec.effort import Effort
from vtok.codec.strips import strips
from vtok.networks.arithmetic import choose_arithmetic
from vtok.networks.planes import Planes
from vtok.video.frame import Frame, VideoInfo


@pytest.fixture
def small_strips(monkeypatch):
    """Strips of about four rows of a latent frame nine wide."""

    def make():
        monkeypatch.setattr(strips_module, "MAX_POSITIONS", 36)
        monkeypatch.setattr(strips_module, "MIN_ROWS", 1)

    return make


def video(num_frames, info):
    rng = np.random.default_rng(0)
    h, w = info.height, info.width
    sizes = ((h, w), (-(-h // 2), -(-w // 2)), (-(-h // 2), -(-w // 2)))
    return [Frame(*(rng.integers(0, 256, size, np.uint8) for size in sizes), pts=i) for i in range(num_frames)]


def encode(tokenizer, info, frames, arithmetic):
    # With more effort, gradients would end at the borders of strips; `test_effort.py` has what that costs.
    encoder = ChunkEncoder(tokenizer.pretrained, info, 5, arithmetic, Effort.FAST)
    return [encoder.encode(frames[i : i + 8]) for i in range(0, len(frames), 8)]


def codes_of(tokens):
    return np.stack([each.codes for each in tokens])


def decode(tokenizer, info, tokens, arithmetic):
    """All samples, one after the other."""
    decoder = ChunkDecoder(tokenizer.pretrained, info, arithmetic)
    frames = [frame for i, each in enumerate(tokens) for frame in decoder.decode(each, range(8 * i, 8 * i + 8), 5)]
    return np.concatenate([plane.ravel() for frame in frames for plane in (frame.y, frame.u, frame.v)])


# Convolutions of another height may sum in another order. In float32 that moves what is next to a border between two
# levels; in bfloat16 it may also round a feature the other way.
@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-4), ("bfloat16", 0.1)])
@pytest.mark.parametrize("height", [131, 160])
def test_strips_give_the_codes_and_pixels_of_the_whole_up_to_rounding(
    tiny_tokenizer, small_strips, height, precision, share
):
    arithmetic = choose_arithmetic("cpu", precision)
    info = VideoInfo(width=69, height=height, time_base=Fraction(1, 25))
    frames = video(24, info)
    tokens = encode(tiny_tokenizer, info, frames, arithmetic)
    decoded = decode(tiny_tokenizer, info, tokens, arithmetic)
    small_strips()
    for whole, of_strips in (
        (codes_of(tokens), codes_of(encode(tiny_tokenizer, info, frames, arithmetic))),
        (decoded, decode(tiny_tokenizer, info, tokens, arithmetic)),
    ):
        differences = np.abs(whole.astype(int) - of_strips)
        assert differences.max() <= 1
        assert (differences > 0).mean() <= share


def test_the_networks_see_as_many_rows_as_they_say(tiny_tokenizer):
    model, quality = tiny_tokenizer.networks.double(), torch.tensor([5.0], dtype=torch.float64)
    model.transform.scale = torch.ones_like(model.transform.scale)
    planes = Planes(*(torch.randn(1, 8, *size, dtype=torch.float64) for size in ((160, 16), (80, 8), (80, 8))))
    planes.y.requires_grad_()
    latents = model.encode_chunk(planes, quality)
    latents[:, :, 0, 10].sum().backward()
    seen = planes.y.grad.abs().sum((0, 1, 3)).view(20, 8).sum(1).nonzero().flatten()
    reach = model.config.analysis_reach
    assert seen.tolist() == list(range(10 - reach, 10 + reach + 1))

    codes = latents.detach().requires_grad_()
    decoded, _ = model.decode_chunk(codes, quality)
    decoded.y[:, :, 80:88].sum().backward()
    seen = codes.grad.abs().sum((0, 1, 2, 4)).nonzero().flatten()
    reach = model.config.synthesis_reach
    assert seen.tolist() == list(range(10 - reach, 10 + reach + 1))


def test_strips_cover_all_rows_once_and_are_bounded():
    for height, width in ((1, 1), (45, 80), (90, 160), (135, 240), (270, 480), (7, 100_000)):
        parts = strips(height, width, 5, bfloat16=True)
        rows = [row for strip in parts for row in range(strip.inner.start, strip.inner.stop)]
        assert rows == list(range(height))
        for strip in parts:
            assert strip.outer.start == max(0, strip.inner.start - 5)
            assert strip.outer.stop == min(height, strip.inner.stop + 5)
            num_rows = strip.inner.stop - strip.inner.start
            assert num_rows * width <= strips_module.MAX_POSITIONS or num_rows < 2 * strips_module.MIN_ROWS
    assert len(strips(45, 80, 5, bfloat16=True)) == 1
    assert len(strips(90, 160, 5, bfloat16=True)) == 1
    assert len(strips(135, 240, 5, bfloat16=True)) == 3
    assert len(strips(270, 480, 5, bfloat16=True)) == 8
    assert len(strips(90, 160, 5, bfloat16=False)) == 2
    assert len(strips(90, 160, 5, bfloat16=True, gradients=True)) == 4


@pytest.mark.parametrize("height", [1, 7, 45, 90, 135, 270])
def test_strips_that_the_prior_sees_begin_at_even_rows(height):
    parts = strips(height, 480, 3, bfloat16=True, gradients=True)
    assert [row for strip in parts for row in range(strip.inner.start, strip.inner.stop)] == list(range(height))
    assert all(strip.outer.start % 2 == strip.inner.start % 2 == 0 for strip in parts)
