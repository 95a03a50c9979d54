"""The weights that vtok ships, each with a card: what they are, how they were trained, how good they are.

A model is named by its file's name and by the SHA-256 of its tensors; both must match before anything is decoded.
Nothing here, or anywhere in vtok, uses the network.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtok.errors import WeightsError

if TYPE_CHECKING:
    from vtok.tokenizer import VideoTokenizer

DEFAULT_MODEL = "vtok-8x8x8"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the package says of a model it ships."""

    name: str
    tensors_sha256: str
    card: dict[str, Any]


def model_names() -> list[str]:
    """Names of the models in the package."""
    folder = resources.files("vtok.pretrained")
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def model_card(name: str) -> ModelCard:
    """The card of a model in the package.

    Raises:
        WeightsError: There is no such model.
    """
    if name not in model_names():
        raise WeightsError(
            f"no pretrained model {name!r}; expected {', '.join(model_names()) or 'none'}, or a .safetensors file"
        )
    card = json.loads(resources.files("vtok.pretrained").joinpath(f"{name}.json").read_text())
    return ModelCard(name, card["tensors_sha256"], card)


def load_pretrained(name_or_path: str | Path) -> "VideoTokenizer":
    """A tokenizer with the weights of a model in the package, or of a `.safetensors` file written by `vtok train`.

    Raises:
        WeightsError: No such model or file; or the package's tensors are not those its card names.
    """
    from vtok.weights import load_tokenizer

    if str(name_or_path).endswith(".safetensors"):
        path = Path(name_or_path)
        return load_tokenizer(path, name=path.stem)
    card = model_card(str(name_or_path))
    with resources.as_file(resources.files("vtok.pretrained").joinpath(f"{card.name}.safetensors")) as path:
        tokenizer = load_tokenizer(path, name=card.name)
    if tokenizer.weights_sha256 != card.tensors_sha256:
        raise WeightsError(
            f"{card.name}: the tensors have SHA-256 {tokenizer.weights_sha256}, the card says {card.tensors_sha256}: "
            f"the installation is damaged. Reinstall vtok."
        )
    return tokenizer
