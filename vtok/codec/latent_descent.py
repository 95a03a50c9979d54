"""Gradient descent on the latents of a chunk, towards codes that cost least: what efforts "normal" and "high" add.

    cost = distortion of the decoded chunk + lambda x bits of the codes under the prior

The encoder's networks give a good start in one go. From there each step goes down the gradient of the cost, which goes
back through synthesis and prior. (Optimising latents of a trained codec: Campos et al. 2019,
https://arxiv.org/abs/1906.01219; with annealed rounding: Yang et al. 2020, https://arxiv.org/abs/2006.04240.)

Codes are integers, so two things are eased. Networks see latents that are rounded softly, ever more sharply from step
to step (the soft rounding of Agustsson and Theis 2020, https://arxiv.org/abs/2006.09952). And between two codes, the
bits of a code are taken to lie on a line through what both really cost: the true length is nearly flat around zero,
and its gradient there would say nothing of what the next code costs.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vtok.codec.effort import Effort
from vtok.networks.arithmetic import Arithmetic
from vtok.networks.latent_model import DISTORTION_WEIGHT, LatentModel
from vtok.networks.layers import frozen_layers
from vtok.networks.planes import Planes
from vtok.networks.prior import Distribution, PriorPast

# Few latents are farther from zero than this, in code steps. The others do not come to a code of one.
_LEAST_ACTIVE = 0.35
_CHANNELS_AT_ONCE = 64  # whose bits are computed together; more take much memory
_PLANE_WEIGHTS = (1.0, 2.0, 2.0)  # of squared errors of a sample in Y, U and V; so planes count as in the objective


class Descent(NamedTuple):
    """How far to descend.

    Attributes:
        num_steps: Number of steps.
        step: Share of the way to where the gradient would be zero if codes did not depend on each other.
        sharpness: Of the soft rounding, in the first step and in the last one.
        is_exact: Whether the gradient goes through all networks. Else it does not go through the decoder's refinement,
            nor through the prior, so it does not count what a code says about others.
    """

    num_steps: int
    step: float
    sharpness: tuple[float, float]
    is_exact: bool


DESCENTS: Mapping[Effort, Descent] = {
    Effort.NORMAL: Descent(1, 0.5, (8.0, 8.0), is_exact=False),
    Effort.HIGH: Descent(6, 0.3, (4.0, 16.0), is_exact=True),
}


class CodeCost:
    """What the codes of a chunk cost, in the units of the objective's cost times the pixels of the chunk.

    Args:
        model: The model that decodes the codes.
        quality: Quality `[1]`.
        arithmetic: Number format of the networks.
    """

    def __init__(self, model: LatentModel, quality: Tensor, arithmetic: Arithmetic) -> None:
        self._model, self._quality, self._arithmetic = model, quality, arithmetic
        self._lagrangian = float(model.lagrangian(quality))
        # The transform is nearly orthonormal, so a step of a code adds about this much to the gradient of distortion.
        self._curvature = DISTORTION_WEIGHT / model.gain(quality)[:, :, 0].square() + self._lagrangian

    def of(self, codes: Tensor, chunk: Planes, past: PriorPast, rows: slice) -> float:
        """Return the cost of some rows of centred codes `[1, n, H, W]`; the other arguments are those of `descend`."""
        with torch.no_grad(), self._arithmetic.autocast():
            decoded, _ = self._model.decode_chunk(codes.unsqueeze(2), self._quality)
            distribution = self._model.prior.of_frames(codes, past, self._quality)
        bits = self._model.prior.bits(codes, distribution)[:, :, rows].sum()
        wanted = (planes.block_rows(rows.start, rows.stop) for planes in (decoded, chunk))
        return float(_distortion(*wanted) + self._lagrangian * bits)

    def descend(self, latents: Tensor, chunk: Planes, past: PriorPast, descent: Descent) -> Tensor:
        """Return codes of an aligned chunk that cost less than its rounded latents.

        Args:
            latents: Where to start, in units of one code step, `[1, n, H, W]`.
            chunk: The chunk that the decoder should come to, luma `[1, 8, 8 H, 8 W]`.
            past: What the prior sees of the chunks before.
            descent: How far to descend.

        Returns:
            Centred codes, `[1, n, H, W]`.
        """
        quantizer = self._model.quantizer
        first, last = (math.log2(sharpness) for sharpness in descent.sharpness)
        for sharpness in torch.logspace(first, last, descent.num_steps, base=2).tolist():
            codes = soft_round(latents, sharpness).clamp(quantizer.min_code, quantizer.max_code)
            gradient = self._gradient_of_distortion(codes, chunk, is_exact=descent.is_exact)
            if descent.is_exact:
                of_bits, distribution = self._gradient_of_other_bits(codes, past)
                gradient += self._lagrangian * of_bits
            else:
                with torch.no_grad(), self._arithmetic.autocast():
                    distribution = self._model.prior.of_frames(codes, past, self._quality)
            latents = latents - descent.step * self._with_own_bits(gradient, latents, distribution) / self._curvature
        rounded: Tensor = quantizer(latents)
        return rounded

    def _gradient_of_distortion(self, codes: Tensor, chunk: Planes, *, is_exact: bool) -> Tensor:
        with torch.enable_grad(), frozen_layers():
            codes = codes.detach().requires_grad_()
            with self._arithmetic.autocast():
                decoded, _ = self._model.decode_chunk(codes.unsqueeze(2), self._quality, refinement_gradient=is_exact)
            (gradient,) = torch.autograd.grad(_distortion(decoded, chunk), codes)
        return gradient

    def _gradient_of_other_bits(self, codes: Tensor, past: PriorPast) -> tuple[Tensor, Distribution]:
        """What each code says about others: the gradient of their bits. Also the distribution of all."""
        prior = self._model.prior
        with torch.enable_grad(), frozen_layers():
            codes = codes.detach().requires_grad_()
            with self._arithmetic.autocast():
                distribution = prior.of_frames(codes, past, self._quality)
            split = (torch.split(x.detach(), _CHANNELS_AT_ONCE, dim=1) for x in (codes, *distribution))
            parts = []
            for of_codes, location, log2_scale in zip(*split, strict=True):
                seen = Distribution(location.requires_grad_(), log2_scale.requires_grad_())
                parts.append(torch.autograd.grad(prior.bits(of_codes, seen).sum(), seen))
            of_distribution = [torch.cat(x, dim=1) for x in zip(*parts, strict=True)]
            (gradient,) = torch.autograd.grad(tuple(distribution), codes, of_distribution)
        return gradient, Distribution(*(x.detach() for x in distribution))

    def _with_own_bits(self, gradient: Tensor, latents: Tensor, distribution: Distribution) -> Tensor:
        """Add the slope of each code's own bits; codes far from one stay zero."""
        active = (latents.abs() > _LEAST_ACTIVE).flatten().nonzero()[:, 0]
        lower, seen = latents.take(active).floor(), Distribution(*(x.take(active) for x in distribution))
        slope = self._model.prior.bits(lower + 1, seen) - self._model.prior.bits(lower, seen)
        complete = torch.zeros_like(latents)
        return complete.put_(active, gradient.take(active) + self._lagrangian * slope)


def _distortion(decoded: Planes, chunk: Planes) -> Tensor:
    """The distortion of the objective, times the pixels of the chunk."""
    planes = zip(decoded, chunk, _PLANE_WEIGHTS, strict=True)
    return 0.5 * DISTORTION_WEIGHT * torch.stack([w * (a - b).square().sum() for a, b, w in planes]).sum()


def soft_round(x: Tensor, sharpness: float) -> Tensor:
    """Rounding to integers that is a smooth curve; it comes near to steps as sharpness grows."""
    middle = x.floor() + 0.5
    return middle + torch.tanh(sharpness * (x - middle)) / (2 * math.tanh(sharpness / 2))
