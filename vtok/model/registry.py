"""The weights that vtok ships, each with a card: what they are, how they were trained, how good they are.

A model is named by its file's name and by the SHA-256 of its tensors; a file is decoded with the weights that have the
hash it states and no others. They are looked for in the package and in the folders of the environment variable
`VTOK_MODELS` (`docs/models.md`). Nothing here, or anywhere in vtok, uses the network.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtok.errors import WeightsError

DEFAULT_MODEL = "vtok-8x8x8"
FOLDER = Path(__file__).parent.parent / "pretrained"
FOLDERS_VARIABLE = "VTOK_MODELS"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is said of a model, in `NAME.json` beside `NAME.safetensors`.

    Attributes:
        name: The model's name.
        tensors_sha256: Hash of its tensors; see `vtok.model.weights.tensors_sha256`.
        path: Its weights.
        card: All of the card.
    """

    name: str
    tensors_sha256: str
    path: Path
    card: dict[str, Any]


def model_cards() -> list[ModelCard]:
    """The models at hand, those of the package first. Cards that cannot be read are passed over."""
    return [card for card in _cards() if isinstance(card, ModelCard)]


def passed_over() -> str:
    """What is wrong with the cards that cannot be read, for the end of a message that a model is missing."""
    return "".join(f"; passed over: {card}" for card in _cards() if isinstance(card, str))


def model_names() -> list[str]:
    """Names of the models at hand."""
    return [card.name for card in model_cards()]


def model_card(name: str) -> ModelCard:
    """The card of a model at hand; of two with one name, the package's.

    Raises:
        WeightsError: There is no such model.
    """
    cards = model_cards()
    for card in cards:
        if card.name == name:
            return card
    names = ", ".join(card.name for card in cards) or "none"
    raise WeightsError(f"no pretrained model {name!r}; expected {names}, or a .safetensors file{passed_over()}")


def model_with_hash(tensors_sha256: str) -> ModelCard | None:
    """The card of the model at hand whose tensors have this hash, whatever it is called."""
    return next((card for card in model_cards() if card.tensors_sha256 == tensors_sha256), None)


def find_weights(name_or_path: str | Path) -> tuple[Path, ModelCard | None]:
    """The weights file of a model at hand and its card; a `.safetensors` file may have one beside it, or none.

    Raises:
        WeightsError: No model at hand has that name.
    """
    if str(name_or_path).endswith(".safetensors"):
        path = Path(name_or_path)
        return path, next((card for card in model_cards() if card.path == path), None)
    card = model_card(str(name_or_path))
    return card.path, card


def _cards() -> list[ModelCard | str]:
    """The cards in all folders; for one that cannot be read, what is wrong with it."""
    others = [Path(folder) for folder in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if folder]
    return [
        _read_card(path)
        for folder in (FOLDER, *others)
        for path in sorted(folder.glob("*.json"))
        if path.with_suffix(".safetensors").exists()
    ]


def _read_card(path: Path) -> ModelCard | str:
    try:
        card = json.loads(path.read_text())
        return ModelCard(path.stem, str(card["tensors_sha256"]), path.with_suffix(".safetensors"), card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path}: not a model's card: {error!r}"
