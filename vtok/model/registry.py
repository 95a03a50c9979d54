"""Finds weights by their cards, which say what they are, how they were trained and how good they are.

A model is named by its weights file's name and by the SHA-256 of its tensors. A `.vtok` file is decoded only with the
weights that have the hash stated in it. They are looked for in the package and in the folders of the environment
variable `VTOK_MODELS` (`docs/models.md`). Nothing in vtok uses a network connection.
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
    """The card of a model, `NAME.json` beside `NAME.safetensors`.

    Attributes:
        name: Name of the model.
        tensors_sha256: Hash of the model's tensors; see `vtok.model.weights.tensors_sha256`.
        path: Path of the weights file.
        card: All entries of the card.
    """

    name: str
    tensors_sha256: str
    path: Path
    card: dict[str, Any]


def model_cards() -> list[ModelCard]:
    """The cards of the available models, those of the package first. Cards that cannot be read are skipped."""
    return [card for card in _cards() if isinstance(card, ModelCard)]


def passed_over() -> str:
    """The faults of the cards that cannot be read, as the end of a message that a model is missing."""
    return "".join(f"; passed over: {card}" for card in _cards() if isinstance(card, str))


def model_names() -> list[str]:
    """Names of the available models."""
    return [card.name for card in model_cards()]


def model_card(name: str) -> ModelCard:
    """Return the card of an available model; if two have the same name, that of the package.

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
    """Return the card of the available model whose tensors have this hash, whatever its name, or None."""
    return next((card for card in model_cards() if card.tensors_sha256 == tensors_sha256), None)


def find_weights(name_or_path: str | Path) -> tuple[Path, ModelCard | None]:
    """Find the weights that a name or a file stands for; whether the file exists and is whole shows when it is loaded.

    Args:
        name_or_path: The name of an available model, or the path of a `.safetensors` file.

    Returns:
        The weights file, and the card of the available model that it belongs to; None for any other file.

    Raises:
        WeightsError: No available model has that name.
    """
    if str(name_or_path).endswith(".safetensors"):
        path = Path(name_or_path)
        return path, next((card for card in model_cards() if card.path == path), None)
    card = model_card(str(name_or_path))
    return card.path, card


def _cards() -> list[ModelCard | str]:
    """The cards in all folders; in place of a card that cannot be read, a message about its fault."""
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
