"""What an encoder knows of the chunk before: its codes, and where the next chunk comes from."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from vtok.entropy.displaced_codes import DisplacedCodes
from vtok.entropy.frame_coder import Codes
from vtok.motion.displacement import DisplacementSearch
from vtok.networks.klt import PATCH
from vtok.networks.latent_model import LatentModel
from vtok.networks.motion_maps import motion_maps
from vtok.networks.planes import Planes
from vtok.networks.prior import PriorPast
from vtok.video.frame import Plane
from vtok.video.motion import ChunkMotion, Vectors, motion_size

NUM_COMPARED = 32  # channels that the search compares


class DisplacedPast:
    """The codes of the chunk before the next one, in place and displaced.

    Args:
        model: The model of the codes, on the device of the chunks.
        displaced_codes: The exact displacement of codes at the quality that they have.
        quality: Qualities `[1]`, on the device of the chunks.
        size: Latent rows and columns.
    """

    def __init__(
        self,
        model: LatentModel,
        displaced_codes: DisplacedCodes,
        quality: torch.Tensor,
        size: tuple[int, int],
    ) -> None:
        self._model, self._displaced_codes, self._quality = model, displaced_codes, quality
        self._size = size
        self._num_compared = min(NUM_COMPARED, model.prior.context_channels[0])
        height, width = (side * PATCH for side in size)
        self._search = DisplacementSearch(height, width)
        self._still: Vectors = np.zeros((2, *motion_size(height, width)), np.int16)
        self.forget()

    def forget(self) -> None:
        """A group begins: there is no chunk before."""
        self._codes: Codes | None = None
        self._codes_before: Codes | None = None  # those of the chunk before that

    def add(self, codes: Codes) -> None:
        """Remember the codes of a chunk, uint8 `[n, H, W]`; they must not be changed."""
        self._codes, self._codes_before = codes, self._codes

    def field(self, frame: Plane, chunk: Planes, alignment: Vectors) -> Vectors:
        """The field that leads from the next chunk to the one before; zero if there is none.

        Args:
            frame: Luma of frame 2 of the next chunk, uint8 `[8 H, 8 W]`, of full range.
            chunk: The chunk as it will be coded, luma `[1, 8, 8 H, 8 W]`.
            alignment: Its own fields, `[7, 2, rows, columns]`.
        """
        if self._codes is None:
            return self._still
        latents = self._model.linear_latents(chunk, self._quality, self._num_compared)
        codes = self._model.quantizer(latents)[0].cpu().numpy().astype(np.int16)
        previous = self._codes[: self._num_compared].astype(np.int16) - self._model.quantizer.zero_code
        before = self._displaced_codes.frame(self._codes)
        expected = partial(self._displaced_codes.expected, before, num_channels=self._num_compared)
        return self._search.field(frame, before.luma_levels(), codes, previous, expected, alignment)

    def displaced(self, vectors: Vectors) -> NDArray[np.int16] | None:
        """The centred codes before, displaced by a field, as the prior sees them, `[n, H, W]`; None if there are none.

        They are not displaced where a vector is zero.
        """
        if self._codes is None:
            return None
        return self._displaced_codes.displaced(self._codes, vectors)

    def seen_by_prior(
        self, displaced: NDArray[np.int16] | None, motion: ChunkMotion, rows: slice = slice(None)
    ) -> PriorPast:
        """What the float prior sees besides the codes of the next chunk.

        Args:
            displaced: The result of `displaced` for the field of `motion`.
            motion: The motion of the next chunk.
            rows: The rows that are wanted.
        """
        device, (height, width) = self._quality.device, self._size
        maps = motion_maps(torch.from_numpy(motion.fields).to(device)[None, None], height, width)[:, :, rows]
        nothing = torch.zeros(1, self._model.config.num_channels, *maps.shape[2:], device=device)

        def centred(codes: Codes | None) -> torch.Tensor:
            if codes is None:
                return nothing
            return self._model.quantizer.from_uint8(torch.from_numpy(codes[:, rows]).to(device))[None]

        started = [[float(codes is not None) for codes in (self._codes, self._codes_before)]]
        return PriorPast(
            previous=centred(self._codes),
            before=centred(self._codes_before),
            started=torch.tensor(started, device=device)[:, :, None, None].expand(-1, -1, *maps.shape[2:]),
            displaced=nothing if displaced is None else torch.from_numpy(displaced[:, rows]).to(nothing)[None],
            maps=maps,
        )
