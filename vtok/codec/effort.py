"""How much work the encoder does for a chunk."""

from enum import StrEnum
from typing import NoReturn

from vtok.errors import ConfigError


class Effort(StrEnum):
    """How much time the encoder takes; every decoder reads what comes out.

    `FAST` takes codes near the latents that the networks give. `NORMAL` goes one step of gradient descent on from
    these, `HIGH` six smaller ones (`vtok.codec.latent_descent`), and decides by real costs whether a chunk is aligned.

    Raises:
        ConfigError: There is no effort of that name.
    """

    FAST = "fast"
    NORMAL = "normal"
    HIGH = "high"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ConfigError(f"effort is {value!r}; expected one of {', '.join(cls)}")
