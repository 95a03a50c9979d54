"""What both kinds of networks of `VideoTokenizer` give when they code a video and it is asked how well."""

from typing import NamedTuple

from torch import Tensor


class LossBreakdown(NamedTuple):
    """The parts of the loss, already weighted: their sum is the loss. Scalars; a part that does not apply is zero.

    Attributes:
        reconstruction: Plain LFQ: mean squared error, values in [-1, 1]. Residual LFQ: distortion and jumps.
        commitment: Plain LFQ: latents to their signs.
        entropy: Plain LFQ: entropy of each soft code, to be clear.
        diversity: Plain LFQ: minus the entropy of the mean soft code, to use all codes.
        rate: Residual LFQ: lambda of the quality times bits per pixel under the prior.
    """

    reconstruction: Tensor
    commitment: Tensor
    entropy: Tensor
    diversity: Tensor
    rate: Tensor


class Reconstruction(NamedTuple):
    """A video that was coded, its codes, and the loss if it was asked for."""

    video: Tensor
    codes: Tensor
    losses: LossBreakdown | None = None
