"""The pretrained kind of model: the transform, causality, streaming, and what the prior may look at."""

import math

import pytest
import torch

from vtok.networks.klt import (
    BLOCK_VALUES,
    CELL_VALUES,
    PATCH,
    BlockTransform,
    blocks_to_cells,
    cells_to_planes,
    frame_of_cells,
    pad_to_blocks,
    planes_to_blocks,
)
from vtok.networks.latent_model import LatentModel, LatentModelConfig
from vtok.networks.latent_networks import ChunkBlend
from vtok.networks.planes import Planes
from vtok.networks.prior import MIN_PROBABILITY, Distribution, checkerboard


def random_planes(t, h, w, b=1):
    return Planes(
        *(torch.rand(b, t, *size) * 2 - 1 for size in ((h, w), (-(-h // 2), -(-w // 2)), (-(-h // 2), -(-w // 2))))
    )


def test_blocks_and_planes_are_inverse():
    planes = random_planes(16, 24, 32, b=2)
    blocks = planes_to_blocks(planes)
    assert blocks.shape == (2 * 2, BLOCK_VALUES, 3, 4)
    cells = blocks_to_cells(blocks)
    assert cells.shape == (2 * 2, BLOCK_VALUES // 4, 6, 8)
    for a, b in zip(planes, cells_to_planes(cells, 2), strict=True):
        torch.testing.assert_close(a, b)


def test_a_cell_is_four_by_four_pixels_of_all_frames():
    planes = Planes(*(torch.zeros_like(p) for p in random_planes(8, 16, 16)))
    planes.y[0, :, 4:8, 8:12] = 1
    planes.v[0, :, 2:4, 4:6] = 1
    lit = blocks_to_cells(planes_to_blocks(planes)).abs().sum(1)[0].nonzero()
    assert lit.tolist() == [[1, 2]]


@pytest.mark.parametrize("size", [(1, 1, 1), (9, 17, 15), (8, 16, 8)])
def test_padding_repeats_the_edge(size):
    planes = random_planes(*size)
    padded = pad_to_blocks(planes)
    t, h, w = size
    assert padded.y.shape == (1, *(-(-n // 8) * 8 for n in size))
    assert padded.u.shape[2:] == (padded.y.shape[2] // 2, padded.y.shape[3] // 2)
    assert torch.equal(padded.y[:, :t, :h, :w], planes.y)
    assert torch.equal(padded.y[0, -1, :h, -1], planes.y[0, -1, :, -1])
    assert torch.equal(padded.crop(h, w).frames(0, t).v, planes.v)


def test_klt_of_blocks_in_a_subspace_is_lossless_and_orthonormal():
    torch.manual_seed(0)
    basis = torch.randn(BLOCK_VALUES, 6)
    blocks = (basis @ torch.randn(6, 500))[None, :, :, None]
    transform = BlockTransform(6)
    transform.set_klt(blocks[0, :, :, 0] @ blocks[0, :, :, 0].T / 500)
    cells = transform.synthesise(transform.analyse(blocks))
    torch.testing.assert_close(cells, blocks_to_cells(blocks), atol=1e-3, rtol=1e-4)
    gram = transform.analysis @ transform.analysis.T
    torch.testing.assert_close(gram, torch.eye(6), atol=1e-5, rtol=0)
    energy = transform.analyse(blocks).square().mean((0, 2, 3)).sqrt()
    torch.testing.assert_close(energy, transform.scale, rtol=1e-3, atol=1e-3)
    assert (transform.scale.diff() <= 0).all()


def test_rgb_to_planes_and_back_keeps_grey_and_flat_colours():
    colours = torch.rand(4, 3) * 2 - 1
    video = colours[:, :, None, None, None].expand(4, 3, 2, 6, 8)
    planes = Planes.from_rgb(video)
    torch.testing.assert_close(planes.to_rgb(), video)
    white = Planes.from_rgb(torch.ones(1, 3, 1, 2, 2))
    assert [plane.unique().round(decimals=5).item() for plane in white] == [1, 0, 0]


@pytest.mark.parametrize("full_range", [True, False])
def test_every_byte_survives_planes(full_range):
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    back = Planes.from_uint8(every, every, every, full_range=full_range).to_uint8(full_range=full_range)
    assert all(torch.equal(plane, every) for plane in back)


def test_untrained_model_is_its_linear_transform():
    torch.manual_seed(0)
    model = LatentModel(LatentModelConfig(num_channels=20, dim=16, refine_dim=8, guide_dim=4, prior_groups=(20,)))
    planes = random_planes(8, 16, 16)
    quality = torch.tensor([9.0])
    latents = model.encode(planes, quality)
    decoded = model.decode(latents, quality)
    matrix = model.transform.synthesis @ model.transform.analysis
    expected = torch.einsum("kc,bchw->bkhw", matrix, planes_to_blocks(planes))
    torch.testing.assert_close(planes_to_blocks(decoded), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_chunks_are_independent(tiny_tokenizer):
    model = tiny_tokenizer.networks
    planes, quality = random_planes(32, 24, 16, b=2), torch.tensor([4.0, 7.5])
    whole = model.encode(planes, quality)
    codes = model.quantizer(whole)
    decoded = model.decode(codes, quality)
    for i in (3, 0, 2):
        assert torch.equal(model.encode(planes.frames(8 * i, 8 * i + 8), quality), whole[:, :, i : i + 1])
        out = model.decode(codes[:, :, i : i + 1], quality)
        assert torch.equal(out.y, decoded.frames(8 * i, 8 * i + 8).y)


def pass_order(model, t, h, w):
    """For each code [n, T, H, W], in which pass it is coded: what comes first has a lower number."""
    ends = torch.tensor(model.prior.groups)
    group = torch.bucketize(torch.arange(model.config.num_channels), ends, right=True)
    second = checkerboard(h, w, device=torch.device("cpu")).long()
    frame = torch.arange(t)[:, None, None]
    passes = len(ends) * 2
    return frame * passes + group[:, None, None, None] * 2 + second


def test_prior_sees_only_what_was_decoded_before(tiny_tokenizer):
    model = tiny_tokenizer.networks
    torch.manual_seed(2)
    codes = torch.randint(-4, 5, (1, 12, 4, 6, 5)).float()
    quality = torch.tensor([6.0])
    order = pass_order(model, 4, 6, 5)
    with torch.no_grad():
        base = model.prior(codes, quality)
        for position in [(0, 0, 0, 0), (3, 1, 2, 2), (4, 1, 3, 2), (11, 2, 5, 4), (5, 3, 0, 1)]:
            changed = codes.clone()
            changed[(0, *position)] += 9
            moved = model.prior(changed, quality)
            differs = ((moved.location != base.location) | (moved.log2_scale != base.log2_scale))[0]
            assert not differs[order <= order[position]].any()
            assert differs.any() or position[1] == 3  # what comes after does depend on it


def test_prior_bits_are_a_probability_distribution(tiny_tokenizer):
    prior = tiny_tokenizer.networks.prior
    location = torch.tensor([0.0, 0.3, -7.8, 100.2])
    log2_scale = torch.tensor([-4.0, -1.0, 2.0, 3.0])
    values = torch.arange(-3000.0, 3000.0)[:, None]
    bits = prior.bits(values, Distribution(location.expand(6000, 4), log2_scale.expand(6000, 4)))
    mass = torch.exp2(-bits)
    assert (mass >= MIN_PROBABILITY * 0.999).all()
    # Every value has at least the smallest probability, so that much the sum may exceed one.
    assert ((mass.sum(0) > 0.999) & (mass.sum(0) < 1.001 + 6000 * MIN_PROBABILITY)).all()
    assert torch.equal(bits.argmin(0), torch.tensor([3000, 3000, 2992, 3100]))


def test_the_blend_moves_the_first_frames_of_a_chunk_towards_the_one_before():
    blend, quality = ChunkBlend(4, 6, 9), torch.tensor([2.0, 5.0])
    jump, hint = torch.randn(2, CELL_VALUES // PATCH, 4, 6), torch.randn(2, 6, 4, 6)
    assert not blend(jump, hint, quality).any()
    with torch.no_grad():
        blend.leave.bias[24:] = 1.0  # the gate of the long fade
        blend.log_strength.rows[1] = math.log(0.5)  # of quality 2
        change = blend(jump, hint, quality)
    for t in range(PATCH):
        share = (1 - t / 7) * torch.tensor([0.5, 1.0]).view(2, 1, 1, 1)
        torch.testing.assert_close(frame_of_cells(change, t), share * jump, rtol=1e-5, atol=1e-5)


def test_a_chunk_goes_on_from_the_frame_before():
    model = LatentModel(LatentModelConfig(num_channels=8, dim=8, refine_dim=8, guide_dim=4, blend_dim=4))
    with torch.no_grad():
        model.synthesis.blend.leave.bias[:24] = 1.0  # the gate of the short fade
    codes, quality = torch.randint(-3, 4, (1, 8, 2, 3, 4)).float(), torch.tensor([5.0])
    decoded, alone = model.decode(codes, quality), model.decode(codes[:, :, 1:], quality)
    for plane, other in zip(decoded, alone, strict=True):
        torch.testing.assert_close(plane[:, 8], plane[:, 7], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(plane[:, 15], other[:, 7], rtol=1e-4, atol=1e-5)
