"""The pretrained kind of model for RGB video, with the methods that `VideoTokenizer` needs."""

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.networks.klt import PATCH, pad_to_blocks
from vtok.networks.latent_model import LatentModel, LatentModelConfig
from vtok.networks.losses import LossBreakdown, Reconstruction
from vtok.networks.objective import Coded, ObjectiveConfig, balance, evaluate
from vtok.networks.planes import Planes

DEFAULT_QUALITY = 5.0


class RgbModel(LatentModel):
    """A `LatentModel` that takes and returns RGB video `[b, 3, t, h, w]` in [-1, 1], in chunks without motion.

    Qualities are 1 to 9, or None for `DEFAULT_QUALITY`; others raise ConfigError.

    Attributes:
        num_codebooks: Codes per latent position, n.
        codebook_size: Codes per codebook.
        channels: Channels of the video.
        latent_dim: Channels of the latents, n.
        time_factor: Frames per latent frame.
        space_factor: Rows and columns of pixels per latent row and column.
    """

    channels = 3
    time_factor = space_factor = PATCH

    def __init__(self, config: LatentModelConfig) -> None:
        super().__init__(config)
        self.num_codebooks = self.latent_dim = config.num_channels
        self.codebook_size = 2**config.num_stages

    def to_latents(self, video: Tensor, quality: float | None) -> Tensor:
        """Return the latents of video of any size, in units of one code step."""
        return self.encode(pad_to_blocks(Planes.from_rgb(video)), self._qualities(quality, video))

    def to_codes(self, latents: Tensor) -> Tensor:
        """Return the codes `[b, n, T, H, W]` of latents, uint8."""
        return self.quantizer.to_uint8(self.quantizer(latents))

    def from_codes(self, codes: Tensor) -> Tensor:
        """Return the quantized latents of codes."""
        return self.quantizer.from_uint8(codes)

    def to_video(self, latents: Tensor, quality: float | None) -> Tensor:
        """Return the video of latents, in whole blocks."""
        return self.decode(latents, self._qualities(quality, latents)).to_rgb()

    def reconstruct(self, source: Tensor, target: Tensor | None, quality: float | None) -> Reconstruction:
        """Code `source`; with a `target` of the same shape, also compute the training loss."""
        qualities = self._qualities(quality, source)
        planes = Planes.from_rgb(source)
        t, h, w = planes.y.shape[1:]
        latents = self.encode(pad_to_blocks(planes), qualities)
        rounded = self.quantizer(latents)
        decoded = self.decode(rounded, qualities).crop(h, w).frames(0, t)
        coded = Coded(latents, rounded, decoded, motion=None)
        video, codes = coded.decoded.to_rgb(), self.quantizer.to_uint8(coded.codes.detach())
        if target is None:
            return Reconstruction(video, codes)
        config, lam = ObjectiveConfig(), self.lagrangian(qualities)
        seeds = torch.randint(2**62, (len(source),), device="cpu").tolist()
        outcome = evaluate(self, coded, Planes.from_rgb(target), qualities, config, noise_seeds=seeds)
        rate = (lam * outcome.bits_per_pixel / balance(outcome.cost, lam, config)).mean()
        zero = torch.zeros_like(rate)
        return Reconstruction(video, codes, LossBreakdown(outcome.loss.mean() - rate, zero, zero, zero, rate))

    def _qualities(self, quality: float | None, like: Tensor) -> Tensor:
        quality, highest = DEFAULT_QUALITY if quality is None else float(quality), self.config.num_qualities
        if not 1 <= quality <= highest:
            raise ConfigError(f"quality is {quality:g}; expected 1 (smallest) to {highest} (best)")
        return torch.full((len(like),), quality, device=like.device, dtype=torch.float32)
