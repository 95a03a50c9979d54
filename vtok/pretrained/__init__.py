"""The weights that vtok ships, each with a card: what they are, how they were trained, how good they are.

A model is named by its file's name and by the SHA-256 of its tensors; both must match before anything is decoded.
Nothing here, or anywhere in vtok, uses the network.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtok.errors import WeightsError

DEFAULT_MODEL = "vtok-8x8x8"
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the package says of a model it ships."""

    name: str
    tensors_sha256: str
    card: dict[str, Any]


def model_names() -> list[str]:
    """Names of the models in the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def model_card(name: str) -> ModelCard:
    """The card of a model in the package.

    Raises:
        WeightsError: There is no such model.
    """
    if name not in model_names():
        raise WeightsError(
            f"no pretrained model {name!r}; expected {', '.join(model_names()) or 'none'}, or a .safetensors file"
        )
    card = json.loads((FOLDER / f"{name}.json").read_text())
    return ModelCard(name, card["tensors_sha256"], card)


def find_weights(name_or_path: str | Path) -> tuple[Path, ModelCard | None]:
    """The weights file of a model in the package and its card, or a `.safetensors` file, which has none.

    Raises:
        WeightsError: No model in the package has that name.
    """
    if str(name_or_path).endswith(".safetensors"):
        return Path(name_or_path), None
    card = model_card(str(name_or_path))
    return FOLDER / f"{card.name}.safetensors", card
