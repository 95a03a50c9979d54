"""Alignment by motion: exactly undone, the identity where nothing moves, and worth something where things do."""

import numpy as np
import pytest
import torch

from support.sources import panned
from vtok.model.loading import shared_model
from vtok.networks.alignment_choice import choose_alignment
from vtok.networks.klt import pad_to_blocks
from vtok.networks.motion import _AddWhereSampled, _grid, align, estimate_bits, restore
from vtok.networks.planes import Planes
from vtok.video.motion import STEPS, motion_size


def random_planes(h, w, *, b=1, t=8):
    generator = torch.Generator().manual_seed(h * w)
    y, u, v = (
        torch.rand(b, t, *size, generator=generator) * 2 - 1 for size in ((h, w), *[(-(-h // 2), -(-w // 2))] * 2)
    )
    return Planes(y, u, v)


def fields(h, w, *, b=1, spread=40.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(b, 7, 2, *motion_size(h, w), generator=generator) * spread).round()


@pytest.mark.parametrize(("h", "w"), [(64, 96), (45, 71), (16, 16), (3, 130)])
@pytest.mark.parametrize("spread", [3.0, 40.0, 1000.0])
def test_alignment_is_undone(h, w, spread):
    planes, vectors = random_planes(h, w, b=2), fields(h, w, b=2, spread=spread)
    for before, after in zip(planes, restore(align(planes, vectors), vectors), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=2e-6)


@pytest.mark.parametrize("samples_together", [1 << 21, 1000])
def test_without_gradients_alignment_is_undone_in_place(samples_together, monkeypatch):
    planes, vectors = random_planes(45, 71, b=2), fields(45, 71, b=2)
    expected = align(planes, vectors)
    monkeypatch.setattr("vtok.networks.motion.MAX_SAMPLES_TOGETHER", samples_together)
    with torch.no_grad():
        aligned = align(planes, vectors)
        for before, after in zip(expected, aligned, strict=True):
            torch.testing.assert_close(after, before, rtol=0, atol=2e-6)
        place = aligned.y.data_ptr()
        restored = restore(aligned, vectors)
    assert restored.y.data_ptr() == place
    for before, after in zip(planes, restored, strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=2e-6)


def test_still_chunks_stay_as_they_are():
    planes = random_planes(64, 96)
    for before, after in zip(planes, align(planes, torch.zeros(1, 7, 2, 4, 6)), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=5e-5)


def pan(speed, *, side=96):
    """A smooth texture that moves to the left by `speed` pixels a frame."""
    x = torch.arange(side).float()[None, :] + torch.arange(8).float()[:, None] * speed
    y = torch.arange(side).float()
    luma = 0.3 * torch.sin(x[:, None, :] * 0.31 + y[:, None] * 0.1) + 0.3 * torch.sin(x[:, None, :] * 0.13) + 0 * y
    chroma = luma[:, ::2, ::2]
    return Planes(luma[None], chroma[None], chroma[None])


@pytest.mark.parametrize("speed", [1.0, 2.5, 6.0])
def test_an_aligned_pan_is_still(speed):
    planes, vectors = pan(speed), torch.zeros(1, 7, 2, 6, 6)
    for k, (anchor, moved) in enumerate([(2, 5), (2, 1), (5, 6), (1, 0), (2, 3), (5, 4), (6, 7)]):
        vectors[:, k, 0] = (moved - anchor) * speed * 4

    def change(planes):
        inner = planes.y[..., 24:-24, 24:-24]
        return (inner - inner.mean(1, keepdim=True)).abs().max()

    assert change(align(planes, vectors)) < 0.05 * change(planes)


def test_spreading_has_the_gradient_of_its_definition():
    grid = _grid(fields(6, 7)[:, 0, :, :1, :1], torch.zeros(1, 1, 1, 6, 7)).double()
    values = torch.rand(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _AddWhereSampled.apply(x, grid), (values,))


def test_equal_vectors_cost_little():
    vectors = torch.full((1, 7, 2, 8, 8), 12.0)
    assert estimate_bits(vectors) < 0.2 * estimate_bits(fields(128, 128))


def test_chunks_are_aligned_where_that_makes_them_cheaper():
    model, quality = shared_model().networks, torch.tensor([5.0])
    frames = panned(96, 144, 8, speed=2.25)
    samples = (torch.from_numpy(np.stack([getattr(frame, name) for frame in frames]))[None] for name in "yuv")
    chunk = pad_to_blocks(Planes.from_uint8(*samples, full_range=False))
    fields = torch.zeros(3, 7, 2, 6, 9)
    for i, velocity in enumerate(((9, 0), (-90, 31), (0, 0))):
        for k, (anchor, moved) in enumerate(STEPS):
            fields[i, k] = (moved - anchor) * torch.tensor(velocity)[:, None, None]
    chunks = Planes(*(plane.expand(3, -1, -1, -1) for plane in chunk))
    aligned, taken = choose_alignment(model, chunks, fields, quality.expand(3))
    assert taken.flatten(1).any(1).tolist() == [True, False, False]
    for i in range(3):
        with torch.no_grad():  # in place, and back
            own_chunk = Planes(*(plane.clone() for plane in chunk))
            alone, own = choose_alignment(model, own_chunk, fields[i : i + 1], quality)
        assert torch.equal(own[0], taken[i])
        for a, b in zip(alone, aligned, strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=0, atol=2e-6)
