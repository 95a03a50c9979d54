"""LFQ and residual LFQ against their definitions."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtok.networks.quantizer import LFQ, PREVIOUS_MARGIN, ResidualLFQ, binary_entropy, prefer_cheap_codes


def test_channel_zero_is_the_most_significant_bit_and_zero_is_negative():
    lfq = LFQ(codebook_size=8)
    latents = torch.tensor([0.3, 0.0, 2.0]).view(1, 3, 1, 1, 1)
    signs, codes, _ = lfq(latents)
    assert codes.item() == 0b101
    assert signs.flatten().tolist() == [1, -1, 1]


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_codes_and_signs_are_inverse(num_codebooks, num_bits, seed):
    lfq = LFQ(num_codebooks=num_codebooks, codebook_size=2**num_bits)
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**num_bits, (2, num_codebooks, 1, 2, 3), generator=generator)
    assert torch.equal(lfq.signs_to_codes(lfq.codes_to_signs(codes)), codes)


def test_entropies_equal_those_over_the_whole_codebook():
    """The O(d) entropy of a soft code is the entropy of the softmax over all 2^d codes at negative squared distance."""
    torch.manual_seed(0)
    bits = 5
    lfq = LFQ(codebook_size=2**bits, inverse_temperature=0.7)
    latents = torch.randn(1, bits, 1, 3, 4)
    codebook = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=bits)))
    points = latents[0].flatten(1).T
    distances = (points[:, None] - codebook).square().sum(-1)
    soft = torch.softmax(-0.7 * distances, dim=-1)
    expected = torch.special.entr(soft).sum(-1).mean()
    _, _, losses = lfq(latents)
    torch.testing.assert_close(losses.entropy, expected)
    # The mean code's bits are not independent, so the sum over bits is a bound, and exact for a single bit.
    assert losses.diversity >= torch.special.entr(soft.mean(0)).sum()
    one = LFQ(codebook_size=2)
    _, _, single = one(latents[:, :1])
    torch.testing.assert_close(single.diversity, binary_entropy(torch.sigmoid(4 * latents[:, 0]).mean()))


def test_commitment_is_the_distance_to_the_signs():
    _, _, losses = LFQ(codebook_size=4)(torch.tensor([0.5, -3.0]).view(1, 2, 1, 1, 1))
    assert losses.commitment.item() == pytest.approx((0.25 + 4.0) / 2)


def test_gradient_goes_straight_through():
    latents = torch.randn(1, 3, 1, 2, 2, requires_grad=True)
    LFQ(codebook_size=8)(latents)[0].sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))


@pytest.mark.parametrize("num_stages", [1, 2, 3, 8])
def test_residual_lfq_is_rounding_and_its_signs_are_bit_planes(num_stages):
    quantizer = ResidualLFQ(num_stages=num_stages)
    # Half-way points are left out: there, rounding goes to even and signs go up.
    latents = torch.linspace(-150, 150, 7001).add(0.0003)
    codes = quantizer(latents)
    assert torch.equal(codes, quantizer.staged(latents))
    stored = quantizer.to_uint8(codes)
    assert stored.dtype == torch.uint8
    assert stored.unique().tolist() == list(range(2**num_stages))
    assert torch.equal(quantizer.from_uint8(stored), codes)
    assert quantizer.to_uint8(torch.zeros(1)).item() == 2 ** (num_stages - 1)


def test_residual_lfq_gradient_stops_beyond_the_range():
    latents = torch.tensor([-500.0, -3.4, 0.2, 500.0], requires_grad=True)
    ResidualLFQ()(latents).sum().backward()
    assert latents.grad.tolist() == [0, 1, 1, 0]


def test_a_cheap_code_is_taken_where_it_is_hardly_worse():
    latents = torch.tensor([0.54, -0.54, 0.56, 1.59, 1.54, 2.61, 0.54])
    previous = torch.tensor([5.0, 5.0, 5.0, 1.0, 3.0, 2.0, 1.0])
    nearest = latents.round()
    assert prefer_cheap_codes(latents, nearest, None).tolist() == [0, 0, 1, 2, 2, 3, 0]
    assert prefer_cheap_codes(latents, nearest, previous).tolist() == [0, 0, 1, 1, 2, 3, 1]


def test_no_choice_is_more_than_a_margin_farther_than_the_nearest_code():
    latents = torch.randn(10_000) * 3
    chosen = prefer_cheap_codes(latents, latents.round(), (latents + torch.randn(10_000)).round())
    assert (latents - chosen).abs().max() < 0.5 + PREVIOUS_MARGIN
    assert (chosen != latents.round()).float().mean() > 0.02
