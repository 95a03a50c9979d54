"""Displaced codes in exact arithmetic: against plain integers and the float ones, with any vectors and threads."""

from copy import deepcopy
from fractions import Fraction

import numpy as np
import pytest
import torch

from support.integer_prior import clipped, integers, nearest, plain_displaced
from support.models import new_tiny_tokenizer
from vtok.entropy.displaced_codes import DisplacementMatrices, SampledFrame, quantize_gains
from vtok.errors import WeightsError
from vtok.networks.displaced_codes import displaced_codes as float_displaced_codes
from vtok.networks.klt import CHROMA_WEIGHT, cells_to_planes
from vtok.video.motion import MAX_VECTOR, motion_size

SIZES = [(1, 1), (2, 3), (5, 4), (7, 9)]
NUM_DISPLACED = 7  # of 12 channels


@pytest.fixture(scope="module")
def model():
    return new_tiny_tokenizer().networks


@pytest.fixture(scope="module")
def matrices(model):
    return DisplacementMatrices(model.transform, quantize_gains(model.log_gain), NUM_DISPLACED)


def made_codes(height, width, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.clip(np.round(rng.laplace(0, np.linspace(20, 0.5, 12)[:, None, None], (12, height, width))), -128, 127)
    codes[5] = 0
    return (codes + 128).astype(np.uint8)


def made_vectors(height, width, largest=40, seed=0):
    rng = np.random.default_rng(seed)
    size = motion_size(8 * height, 8 * width)
    return (rng.integers(-largest, largest + 1, (2, *size)) * (rng.random(size) < 0.7)).astype(np.int16)


def as_map(found, num_channels, height, width):
    codes = np.zeros((num_channels, height, width), int)
    for (y, x), values in found.items():
        codes[:, y, x] = values
    return codes


@pytest.mark.parametrize("largest", [6, 60, MAX_VECTOR])
@pytest.mark.parametrize("size", SIZES)
def test_codes_are_those_of_plain_integers(matrices, size, largest):
    displaced_codes = matrices.of_quality(6)
    codes, vectors = made_codes(*size), made_vectors(*size, largest)
    want = plain_displaced(displaced_codes, codes.tolist(), vectors.tolist())
    got = displaced_codes.displaced(codes, vectors)
    is_displaced = (vectors != 0).any(0).repeat(2, 0).repeat(2, 1)[: size[0], : size[1]]
    assert {(int(y), int(x)) for y, x in np.argwhere(is_displaced)} == set(want)
    assert np.array_equal(got[:, ~is_displaced], codes[:, ~is_displaced].astype(int) - 128)
    assert np.array_equal(got[:NUM_DISPLACED, is_displaced], as_map(want, NUM_DISPLACED, *size)[:, is_displaced])
    assert not got[NUM_DISPLACED:, is_displaced].any()
    assert got.dtype == np.int16


@pytest.mark.parametrize("size", SIZES)
def test_expected_displaces_every_block(matrices, size):
    displaced_codes = matrices.of_quality(3)
    codes, vectors = made_codes(*size), made_vectors(*size)
    want = plain_displaced(displaced_codes, codes.tolist(), vectors.tolist(), everywhere=True)
    frame = displaced_codes.frame(codes)
    assert np.array_equal(displaced_codes.expected(frame, vectors), as_map(want, NUM_DISPLACED, *size))
    assert np.array_equal(displaced_codes.expected(frame, vectors, 3), as_map(want, NUM_DISPLACED, *size)[:3])


def test_strips_change_nothing(matrices, monkeypatch):
    codes, vectors = made_codes(13, 11), made_vectors(13, 11, 100)
    displaced_codes = matrices.of_quality(4)

    def results():
        frame = displaced_codes.frame(codes)
        return (
            frame.luma,
            frame.chroma,
            displaced_codes.expected(frame, vectors),
            displaced_codes.displaced(codes, vectors),
        )

    expected = results()
    monkeypatch.setattr("vtok.entropy.displaced_codes.POSITIONS_AT_ONCE", 12)
    for got, want in zip(results(), expected, strict=True):
        assert np.array_equal(got, want)


def test_products_are_exact_with_any_number_of_threads():
    model = new_tiny_tokenizer().networks
    matrices = DisplacementMatrices(model.transform, quantize_gains(model.log_gain), 12)
    displaced_codes = matrices.of_quality(9)
    codes, vectors = made_codes(40, 50), made_vectors(40, 50)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
                results.append(displaced_codes.displaced(codes, vectors))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*results)
    frame = displaced_codes.frame(codes)
    to_samples = (displaced_codes.to_samples * 2**16).astype(np.int64)
    sums = to_samples @ (codes[:, :1].reshape(12, -1).astype(np.int64) - 128)
    want = [clipped(nearest(int(x), 16), 2**15) for x in sums[0]]
    assert frame.luma[0, ::8].tolist() == want


def test_no_vector_displaces_nothing(matrices):
    codes = made_codes(4, 5)
    places, expected = matrices.of_quality(5).at_displaced(codes, np.zeros((2, 2, 3), np.int16))
    assert len(places) == 0
    assert expected.shape == (NUM_DISPLACED, 0)
    zeros = np.full_like(codes, 128)
    assert not matrices.of_quality(5).displaced(zeros, made_vectors(4, 5)).any()


@pytest.mark.parametrize("vector", [(-MAX_VECTOR, 3), (MAX_VECTOR, 0), (1, MAX_VECTOR), (-2, -MAX_VECTOR), (3, -5)])
def test_the_edges_go_on_beyond_the_frame(matrices, vector):
    frame = matrices.of_quality(5).frame(made_codes(3, 4))
    vectors = np.array(vector, np.int16)[:, None].repeat(4, 1)
    rows, columns = np.divmod(np.arange(4), 2)
    luma = frame.sampled(vectors, rows, columns)[..., :64].reshape(4, 2, 2, 8, 8)
    for block in range(4):
        for y in range(16):
            for x in range(16):
                places = [4 * (16 * z[block] + i) + v for z, i, v in zip((columns, rows), (x, y), vector, strict=True)]
                places = [min(max(place, 0), 4 * (size - 1)) for place, size in zip(places, (32, 24), strict=True)]
                (left, a), (up, b) = (divmod(place, 4) for place in places)
                right, down = min(left + 1, 31), min(up + 1, 23)
                upper, lower = ((4 - a) * int(frame.luma[i, left]) + a * int(frame.luma[i, right]) for i in (up, down))
                want = ((4 - b) * upper + b * lower + 8) >> 4
                assert luma[block, y // 8, x // 8, y % 8, x % 8] == want


def test_matrices_are_those_of_the_format(model, matrices):
    synthesis, analysis = (
        x.detach().half().double().numpy() for x in (model.transform.synthesis, model.transform.analysis)
    )
    gains = matrices.gains.tolist()
    assert np.allclose(np.array(gains) / 4096, model.log_gain.rows.detach().exp(), rtol=2e-3)
    places = {
        sample: [start + size * t for t in range(8)]
        for sample, start, size in ((3, 3, 64), (64, 512, 16), (95, 655, 16))
    }
    for quality, row in ((1, 0), (3.49, 2), (3.5, 3), (9, 8), (100, 8), (0, 0)):
        displaced_codes = matrices.of_quality(quality)
        to_samples, to_codes = integers(displaced_codes.to_samples, 16), integers(displaced_codes.to_codes, 24)
        for sample, columns in places.items():
            for c in range(12):
                want = sum(Fraction(float(synthesis[i, c])) for i in columns) * 255 * 2**28 / gains[row][c]
                assert abs(to_samples[sample][c] - want) < 0.51
                if c < NUM_DISPLACED:
                    want = sum(Fraction(float(analysis[c, i])) for i in columns) * gains[row][c] * 2**12 / 2040
                    assert abs(to_codes[c][sample] - want) < 0.51


def test_it_does_what_the_float_one_does(model, matrices):
    codes, vectors = made_codes(8, 9), made_vectors(8, 9)
    quality = 9
    gain = model.log_gain(torch.tensor([float(quality)])).exp()
    centred = torch.from_numpy(codes).float()[None] - 128
    with torch.no_grad():
        expected = float_displaced_codes(
            model.transform, centred, torch.from_numpy(vectors)[None], gain, NUM_DISPLACED
        )[0]
    got = matrices.of_quality(quality).displaced(codes, vectors)
    assert np.abs(got - expected.numpy()).max() <= 1
    assert (got == expected.numpy()).mean() > 0.98


def test_the_frame_is_the_mean_of_the_frames_of_the_transform(model, matrices):
    codes = made_codes(2, 3)
    gain = model.log_gain(torch.tensor([7.0])).exp()
    latents = (torch.from_numpy(codes).float()[None] - 128) / gain[..., None, None]
    with torch.no_grad():
        planes = cells_to_planes(model.transform.synthesise(latents), 1)
    frame = matrices.of_quality(7).frame(codes)
    assert np.abs(frame.luma / 2040 - planes.y[0].mean(0).numpy()).max() < 1e-3
    for got, want in zip(frame.chroma, (planes.u, planes.v), strict=True):
        assert np.abs(got / 2040 - CHROMA_WEIGHT * want[0].mean(0).numpy()).max() < 2e-3


def test_levels_of_luma():
    luma = np.array([[-32768, -2040, -8, -9, 0], [7, 8, 2040, 32767, 16]], np.int16).repeat(8, 0)[:8, :]
    luma = np.pad(luma, ((0, 0), (0, 3)))
    assert (
        SampledFrame(luma, np.zeros((2, 4, 4), np.int16)).luma_levels()[0].tolist() == [0, 1, 128, 127, 128] + [128] * 3
    )


def test_weights_that_break_the_bound_are_refused(model):
    gains = quantize_gains(model.log_gain)
    for name, factor, gain in (
        ("synthesis", 1e4, 1),
        ("analysis", 1e4, 2**31 - 1),
        ("synthesis", 1e9, 4096),  # infinite in half precision
        ("analysis", float("nan"), 4096),
    ):
        grown = deepcopy(model.transform)
        with torch.no_grad():
            getattr(grown, name).mul_(factor)
        with pytest.raises(WeightsError, match="worst case"):
            DisplacementMatrices(grown, torch.full_like(gains, gain), 12)
    for wrong in (gains * 0, gains.long(), gains[:, 1:], gains[0], gains[:0]):
        with pytest.raises(WeightsError, match="gains are"):
            DisplacementMatrices(model.transform, wrong, 12)
    with torch.no_grad():
        log_gain = deepcopy(model.log_gain)
        log_gain.rows.fill_(20)
    with pytest.raises(WeightsError, match="too large"):
        quantize_gains(log_gain)
