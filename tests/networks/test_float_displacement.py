"""Displaced codes in floating point are those in exact arithmetic, and objectives see them where they pay."""

import numpy as np
import torch

from support.models import new_tiny_tokenizer
from support.motions import random_motion
from vtok.model.loading import shared_model
from vtok.networks.displaced_codes import displaced_codes
from vtok.networks.objective import code
from vtok.networks.planes import Planes


def test_displaced_codes_are_those_in_exact_arithmetic():
    model = shared_model()
    networks, quality = model.networks, torch.tensor([6.0])
    rng = np.random.default_rng(0)
    scale = np.exp(-np.arange(384) / 40)[:, None, None]
    stored = (128 + rng.normal(0, 12 * scale, (384, 11, 17)).round().clip(-128, 127)).astype(np.uint8)
    vectors = random_motion(8 * 11, 8 * 17).fields[-1]
    exact = model.exact_prior.displaced_codes(6.0).displaced(stored, vectors)
    codes = torch.from_numpy(stored.astype(np.float32) - 128)[None]
    gain, num_channels = networks.gain(quality).flatten(1), networks.prior.context_channels[0]
    result = displaced_codes(networks.transform, codes, torch.from_numpy(vectors)[None], gain, num_channels)
    difference = (result[0].numpy() - exact).astype(int)
    assert np.abs(difference).max() <= 1  # where sums are about midway between two codes
    assert (difference != 0).mean() < 0.01


def test_gradients_pass_to_the_codes_before():
    model = new_tiny_tokenizer().networks
    n = model.config.num_channels
    codes = torch.randn(1, n, 4, 4).round().requires_grad_()
    vectors = torch.zeros(1, 2, 2, 2)
    vectors[:, 0, 0, 0] = 9.0
    gain = model.gain(torch.tensor([5.0])).flatten(1)
    displaced_codes(model.transform, codes, vectors, gain, n).square().sum().backward()
    assert codes.grad.abs().sum() > 0


def test_the_objective_displaces_what_moved_and_not_what_stayed():
    model, quality = shared_model().networks, torch.tensor([6.0])
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 16, 40, generator=generator)
    texture = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")[0, 0].clamp(0, 1) - 0.5
    still = texture[:64, :96].expand(1, 8, -1, -1)
    moved = texture[:64, 20:116].expand(1, 8, -1, -1)  # 20 pixels to the left
    gray = torch.zeros(1, 16, 32, 48)
    fields = torch.zeros(1, 2, 8, 2, 4, 6)
    fields[:, 1, 7, 0] = 80.0
    with torch.no_grad():
        shares = [
            float(
                code(model, Planes(torch.cat([still, later], 1), gray, gray), fields, quality).motion.maps[1, 0].mean()
            )
            for later in (moved, still)
        ]
    assert shares[0] > 0.6
    assert shares[1] == 0
