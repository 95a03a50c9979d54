"""Efforts: what each costs, that every decoder reads it, and that nothing but the content decides on it."""

import numpy as np
import pytest
import torch

from support.sources import panned, write_source
from vtok.codec import strips as strips_module
from vtok.codec.chunk_coder import ChunkDecoder, ChunkEncoder
from vtok.codec.displaced_past import DisplacedPast
from vtok.codec.effort import Effort
from vtok.codec.group_encoder import GroupEncoder
from vtok.codec.latent_descent import DESCENTS, CodeCost, soft_round
from vtok.container.verification import verify_file
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.model.loading import shared_model
from vtok.networks.arithmetic import choose_arithmetic
from vtok.networks.layers import convolve, frozen_layers
from vtok.networks.motion_maps import motion_maps
from vtok.networks.planes import Planes
from vtok.networks.prior import PriorMotion
from vtok.video.frame import VideoInfo
from vtok.video.motion import ChunkMotion

HEIGHT, WIDTH = 64, 96


def noisy_pan(num_frames):
    """A pan with a texture that no vector predicts, so that there is something to choose."""
    rng = np.random.default_rng(3)
    frames = panned(HEIGHT, WIDTH, num_frames, speed=1.25)
    for frame in frames:
        noise = rng.normal(0, 6, frame.y.shape)
        object.__setattr__(frame, "y", (frame.y + noise).round().clip(16, 235).astype(np.uint8))
    return frames


def encoded(frames, effort, *, quality=5.0, precision="float32"):
    info = VideoInfo(width=WIDTH, height=HEIGHT, time_base=1)
    encoder = ChunkEncoder(shared_model(), info, quality, choose_arithmetic("cpu", precision), effort)
    return [encoder.encode(frames[start : start + 8]) for start in range(0, len(frames), 8)]


def loss(frames, tokens, quality):
    """Distortion + lambda x rate of the file as it is decoded, times the pixels: what training and `high` minimise."""
    model, size = shared_model(), (HEIGHT, WIDTH)
    group = GroupEncoder(model.exact_prior, quality, size, verify=True)
    decoder = ChunkDecoder(model, VideoInfo(width=WIDTH, height=HEIGHT, time_base=1), choose_arithmetic("cpu"))
    distortion = 0.0
    for start, each in zip(range(0, len(frames), 8), tokens, strict=True):
        chunk = frames[start : start + 8]
        pts = [frame.pts for frame in chunk]
        group.push(each, pts)
        for original, decoded in zip(chunk, decoder.decode(each, pts, quality), strict=True):
            a, b = (
                Planes.from_uint8(*(torch.from_numpy(p)[None, None] for p in (f.y, f.u, f.v)), full_range=False)
                for f in (original, decoded)
            )
            y, u, v = (float((p - q).square().mean()) for p, q in zip(a, b, strict=True))
            distortion += 100 * (y / 2 + u / 4 + v / 4) * HEIGHT * WIDTH
    return distortion + float(model.networks.lagrangian(torch.tensor(quality))) * 8 * len(group.finish(0).coded)


@pytest.mark.parametrize("quality", [3.0, 7.0])
def test_more_effort_costs_less(quality):
    frames = noisy_pan(16)
    fast, normal, high = (loss(frames, encoded(frames, x, quality=quality), quality) for x in Effort)
    assert high < 0.998 * normal < 0.99 * fast


@pytest.mark.parametrize("effort", Effort)
def test_every_effort_makes_a_file_that_decodes(effort, tmp_path):
    source = write_source(tmp_path / "in.mkv", panned(45, 62, 21, speed=1.5))
    encode_file(source, tmp_path / "out.vtok", effort=effort.value, verify=True)
    assert verify_file(tmp_path / "out.vtok").is_sound
    assert decode_file(tmp_path / "out.vtok", tmp_path / "out.mkv", codec="ffv1").num_frames == 21


def test_normal_is_the_default_and_the_others_differ(tmp_path):
    frames = noisy_pan(16)
    for frame, other in zip(frames, panned(HEIGHT, WIDTH, 16, speed=-3, seed=1), strict=True):
        frame.y[:, 37:] = other.y[:, 37:]
    source, files = write_source(tmp_path / "in.mkv", frames), []
    for options in ({}, *({"effort": effort.value} for effort in Effort)):
        encode_file(source, tmp_path / "out.vtok", overwrite=True, **options)
        files.append((tmp_path / "out.vtok").read_bytes())
    default, fast, normal, high = files
    assert default == normal
    assert len({fast, normal, high}) == 3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_number_of_threads_changes_nothing_in_high(precision):
    frames, num_threads, outcomes = noisy_pan(8), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outcomes.append(encoded(frames, Effort.HIGH, precision=precision))
    finally:
        torch.set_num_threads(num_threads)
    for a, b in zip(*outcomes, strict=True):
        assert np.array_equal(a.codes, b.codes)


def test_strips_hardly_change_what_high_costs(monkeypatch):
    frames = noisy_pan(8)
    whole = loss(frames, encoded(frames, Effort.HIGH), 5.0)
    monkeypatch.setattr(strips_module, "MAX_POSITIONS", 80)
    monkeypatch.setattr(strips_module, "MIN_ROWS", 1)
    assert loss(frames, encoded(frames, Effort.HIGH), 5.0) == pytest.approx(whole, rel=0.01)


@pytest.mark.parametrize("effort", [Effort.NORMAL, Effort.HIGH])
def test_models_are_left_as_they_were(effort):
    parameters = list(shared_model().networks.parameters())
    before = [(parameter.requires_grad, parameter.grad) for parameter in parameters]
    encoded(noisy_pan(8), effort)
    assert [(parameter.requires_grad, parameter.grad) for parameter in parameters] == before


def test_without_its_gradient_the_refinement_refines_all_the_same():
    model, quality = shared_model().networks, torch.tensor([5.0])
    codes = encoded(noisy_pan(8), Effort.FAST)[0].codes
    centred = model.quantizer.from_uint8(torch.from_numpy(codes))[None, :, None]
    decoded, gradients = [], []
    for refinement_gradient in (True, False):
        of = centred.clone().requires_grad_()
        with frozen_layers():
            chunk, _ = model.decode_chunk(of, quality, refinement_gradient=refinement_gradient)
        decoded.append(chunk.y.detach())
        gradients.append(torch.autograd.grad(chunk.y.square().sum(), of)[0].flatten())
    assert torch.equal(*decoded)
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


@pytest.mark.parametrize("effort", DESCENTS)
def test_codes_of_small_latents_stay_zero(effort):
    model, quality = shared_model().networks, torch.tensor([5.0])
    planes = (torch.from_numpy(np.stack([getattr(f, name) for f in noisy_pan(8)]))[None] for name in "yuv")
    chunk, arithmetic = Planes.from_uint8(*planes, full_range=False), choose_arithmetic("cpu")
    past = DisplacedPast(model, shared_model().exact_prior.displaced_codes(5.0), quality, (HEIGHT // 8, WIDTH // 8))
    still = np.zeros((8, 2, HEIGHT // 16, WIDTH // 16), np.int16)
    latents = torch.full((1, model.config.num_channels, HEIGHT // 8, WIDTH // 8), 0.34)
    codes = CodeCost(model, quality, arithmetic).descend(
        latents, chunk, past.seen_by_prior(None, ChunkMotion(still)), DESCENTS[effort]
    )
    assert not codes.any()


def test_the_descent_sees_what_the_prior_sees():
    frames, quality = panned(HEIGHT, WIDTH, 24, speed=2.25), torch.tensor([5.0])
    model, tokens = shared_model().networks, encoded(panned(HEIGHT, WIDTH, 24, speed=2.25), Effort.NORMAL)
    assert len(tokens) == len(frames) // 8
    past = DisplacedPast(model, shared_model().exact_prior.displaced_codes(5.0), quality, (HEIGHT // 8, WIDTH // 8))
    alone, displaced = [], []
    with torch.no_grad():
        for each in tokens:
            codes = past.displaced(each.motion.fields[-1])
            seen = past.seen_by_prior(codes, each.motion)
            displaced.append(seen.displaced[0])
            own = model.quantizer.from_uint8(torch.from_numpy(each.codes))[None]
            alone.append(model.prior.of_frames(own, seen, quality))
            past.add(each.codes)
        fields = torch.from_numpy(np.stack([each.motion.fields for each in tokens]))[None]
        codes = model.quantizer.from_uint8(torch.from_numpy(np.stack([each.codes for each in tokens], axis=1)))[None]
        motion = PriorMotion(torch.stack(displaced, dim=1)[None], motion_maps(fields, *codes.shape[3:]))
        together = model.prior(codes, quality, motion)
    assert any(each.motion.fields[-1].any() for each in tokens)
    for k in range(2):
        expected = torch.stack([each[k][0] for each in alone], dim=1)[None]
        torch.testing.assert_close(expected, together[k], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_convolutions_have_the_gradient_of_pytorch(kernel, dtype):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, seen = (
        torch.randn(shape, generator=generator) for shape in ((2, 6, 5, 7), (4, 6, kernel, kernel), (4,), (2, 4, 5, 7))
    )
    weight.requires_grad_()
    gradients, outputs = [], []
    for is_frozen in (False, True):
        of = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            if is_frozen:
                with frozen_layers():
                    y = convolve(of, weight, bias)
            else:
                y = convolve(of, weight, bias)
        outputs.append(y.detach())
        gradients.append(torch.autograd.grad((y.float() * seen).sum(), of)[0])
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(*outputs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("sharpness", [0.5, 4.0, 16.0])
def test_soft_rounding_rises_and_keeps_codes_and_midpoints(sharpness):
    exact = torch.tensor([-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0])
    torch.testing.assert_close(soft_round(exact, sharpness), exact)
    x = torch.linspace(-3, 3, 601)
    rounded = soft_round(x, sharpness)
    assert (rounded.diff() > -1e-6).all()
    assert (rounded - x).abs().max() < 0.5
