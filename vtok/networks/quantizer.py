"""Lookup-free quantization (LFQ): codes are signs, and there is no codebook to look anything up in.

`LFQ` is that of MAGVIT-v2 (Yu et al. 2023, https://arxiv.org/abs/2310.05737, section 3). `ResidualLFQ` repeats the sign
decision on the remainder, at half the scale each time, which makes a uniform quantizer of one channel.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

# A cheap code may be this many steps farther than 0.5, the farthest that a nearest code is: zero, or the one before.
ZERO_MARGIN, PREVIOUS_MARGIN = 0.05, 0.1


class ResidualLFQ(nn.Module):
    """Residual LFQ on each channel: stage i decides the sign of what the stages before it left, at scale `2^-i`.

    With `num_stages` sign decisions at the scales 1/2, 1/4, ... of the full range, and the range centred on a code, the
    result is rounding to the nearest of `2^num_stages` levels. The decisions, first to last, are the bits of the code
    from the most significant down, in offset binary: code `2^(num_stages - 1)` means zero. `staged` decides one by one
    and is the reference for `forward`, which rounds.

    Args:
        num_stages: Number of sign decisions per channel, 1 to 8.
    """

    def __init__(self, *, num_stages: int = 8) -> None:
        super().__init__()
        self.num_stages = num_stages
        self.zero_code = 2 ** (num_stages - 1)
        self.min_code, self.max_code = -self.zero_code, self.zero_code - 1

    def forward(self, latents: Tensor) -> Tensor:
        """Centred codes as floats, any shape, in `[-2^(s-1), 2^(s-1) - 1]`; the gradient passes straight through.

        Outside the range the gradient is zero, so that the encoder is not pushed further out.
        """
        clipped = latents.clamp(self.min_code, self.max_code)
        return clipped + (torch.round(clipped) - clipped).detach()

    def staged(self, latents: Tensor) -> Tensor:
        """The same codes as `forward`, decided sign by sign."""
        # Half a step up puts the thresholds between codes; the first threshold is then half a step below zero.
        residual = latents + 0.5
        code = torch.zeros_like(latents)
        for stage in reversed(range(self.num_stages)):
            scale = 2**stage / 2
            sign = torch.where(residual >= 0, 1.0, -1.0)
            residual = residual - sign * scale
            code = code + sign * scale
        return code - 0.5

    def to_uint8(self, codes: Tensor) -> Tensor:
        """Centred codes as bytes in offset binary."""
        stored: Tensor = (codes + self.zero_code).to(torch.uint8)
        return stored

    def from_uint8(self, codes: Tensor) -> Tensor:
        """Bytes in offset binary as centred float codes."""
        centred: Tensor = codes.float() - self.zero_code
        return centred


def prefer_cheap_codes(latents: Tensor, codes: Tensor, previous: Tensor | None) -> Tensor:
    """Take a cheap code, zero or the previous latent frame's, where it is hardly worse than the nearest.

    Where a latent lies about midway between two codes, both are about as good, but not as cheap: noise makes the
    nearest code change from one latent frame to the next, and the prior expects it to stay. On validation clips this
    lowered rate plus distortion by 1 % (`docs/training.md`). Only the encoder makes this choice; a decoder need not
    know of it.

    Args:
        latents: Latents in units of one code step, any shape.
        codes: The nearest centred codes, shaped like `latents`.
        previous: Codes of the latent frame before, displaced as the prior sees them; None at the start of a group.

    Returns:
        Codes, shaped like `latents`.
    """
    codes = torch.where(latents.abs() < 0.5 + ZERO_MARGIN, 0, codes)
    if previous is None:
        return codes
    return torch.where((latents - previous).abs() < 0.5 + PREVIOUS_MARGIN, previous, codes)


class LFQLosses(NamedTuple):
    """The losses that plain LFQ adds to the reconstruction loss; scalars, before any weight.

    Attributes:
        commitment: Mean squared distance of latents from their signs.
        entropy: Mean entropy of each position's soft code, in nats per codebook: low when decisions are clear.
        diversity: Entropy of the mean soft code, in nats per codebook: high when all codes are used.
    """

    commitment: Tensor
    entropy: Tensor
    diversity: Tensor


class LFQ(nn.Module):
    """Plain lookup-free quantization: one code is the signs of `log2(codebook_size)` channels.

    Channel 0 of a codebook is the most significant bit; 0 counts as negative. No codebook is ever built. Given the
    latents, bits are independent, so both entropies are sums over bits, in O(d) memory for a codebook of 2^d. (For the
    mean soft code that sum is an upper bound of the joint entropy.)

    Args:
        num_codebooks: n, the number of codebooks.
        codebook_size: Number of codes per codebook, a power of two.
        inverse_temperature: Sharpness of the soft code, whose bits have the logits `4 * inverse_temperature * latent`.
    """

    def __init__(self, *, num_codebooks: int = 1, codebook_size: int = 8192, inverse_temperature: float = 1.0) -> None:
        super().__init__()
        self.num_codebooks, self.codebook_size = num_codebooks, codebook_size
        self.num_bits = codebook_size.bit_length() - 1
        self.dim = num_codebooks * self.num_bits
        self.inverse_temperature = inverse_temperature

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, LFQLosses]:
        """Quantize latents `[b, n * d, T, H, W]`.

        Returns:
            Signs of the same shape, through which the gradient passes straight; codes, int64 `[b, n, T, H, W]` in
            `[0, codebook_size)`; the losses.
        """
        signs = torch.where(latents > 0, 1.0, -1.0).to(latents.dtype)
        quantized = latents + (signs - latents).detach()
        probability = torch.sigmoid(4 * self.inverse_temperature * latents.float())
        entropy = binary_entropy(probability).mean((0, 2, 3, 4)).sum() / self.num_codebooks
        diversity = binary_entropy(probability.mean((0, 2, 3, 4))).sum() / self.num_codebooks
        commitment = (latents - signs).square().mean()
        return quantized, self.signs_to_codes(signs), LFQLosses(commitment, entropy, diversity)

    def signs_to_codes(self, signs: Tensor) -> Tensor:
        """Signs `[b, n * d, T, H, W]` as codes, int64 `[b, n, T, H, W]`."""
        bits = rearrange(signs > 0, "b (n d) T H W -> b n d T H W", d=self.num_bits).long()
        return (bits * self._bit_values(signs.device)).sum(2)

    def codes_to_signs(self, codes: Tensor) -> Tensor:
        """The inverse of `signs_to_codes`, float32."""
        bits = (codes.long().unsqueeze(2) & self._bit_values(codes.device)) != 0
        return rearrange(bits, "b n d T H W -> b (n d) T H W").float() * 2 - 1

    def _bit_values(self, device: torch.device) -> Tensor:
        exponents = torch.arange(self.num_bits - 1, -1, -1, device=device)
        return (2**exponents).view(-1, 1, 1, 1)


def binary_entropy(probability: Tensor) -> Tensor:
    """Entropy of a bit in nats, for probabilities in [0, 1]; 0 at both ends."""
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy
