"""The model of a `.vtok` file: found by the header, checked against it, and named in the header of a new file."""

from vtok.container.reader import FileHeader
from vtok.entropy.group_payload import ENTROPY_CODER, check_entropy_coder
from vtok.errors import FormatError, ModelMismatchError
from vtok.model.loading import shared_model
from vtok.model.pretrained_model import PretrainedModel
from vtok.model.registry import FOLDERS_VARIABLE, ModelCard, model_cards, model_with_hash, passed_over
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.frame import VideoInfo
from vtok.video.tracks import Extras


def model_of(header: FileHeader, tokenizer: VideoTokenizer | None) -> PretrainedModel:
    """Return the model that wrote the file: that of the given tokenizer, or an available one.

    Raises:
        ModelMismatchError: The tokenizer has another model, or the model is not available.
        ConfigError: The tokenizer has no model that codes files.
        FormatError: The header does not fit the model.
    """
    check_entropy_coder(header.entropy_coder)
    model = shared_model(card_of(header).path) if tokenizer is None else tokenizer.pretrained
    if model.tensors_sha256 != header.model_sha256:
        raise ModelMismatchError(
            f"was written with {header.model_name} {header.model_sha256}; "
            f"the weights at hand are {model.name} {model.tensors_sha256}"
        )
    _check(header, model)
    return model


def card_of(header: FileHeader) -> ModelCard:
    """Return the card of the model that wrote the file.

    Raises:
        FormatError: Its codes are in a form that this version does not know.
        ModelMismatchError: The model is not available.
    """
    check_entropy_coder(header.entropy_coder)
    card = model_with_hash(header.model_sha256)
    if card is None:
        at_hand = ", ".join(f"{card.name} {card.tensors_sha256[:16]}" for card in model_cards())
        raise ModelMismatchError(
            f"was written with the model {header.model_name} {header.model_sha256}; at hand are only "
            f"{at_hand}{passed_over()}. Name its weights with tokenizer=..., or their folder with {FOLDERS_VARIABLE}"
        )
    return card


def _check(header: FileHeader, model: PretrainedModel) -> None:
    """Refuse a header that is valid in general, but not with this model."""
    networks = model.networks
    sizes = (networks.num_codebooks, networks.time_factor, networks.space_factor)
    if (header.num_codebooks, header.frames_per_latent, header.patch_size) != sizes:
        raise FormatError(
            f"{header.num_codebooks} codebooks, {header.frames_per_latent} frames and {header.patch_size} pixels per "
            f"latent declared; {header.model_name} has {sizes}"
        )


def new_header(
    model: PretrainedModel,
    info: VideoInfo,
    extras: Extras | None = None,
) -> FileHeader:
    """Return the header of a file that `model` is about to write."""
    extras = extras or Extras()
    return FileHeader(
        model_name=model.name,
        model_sha256=model.tensors_sha256,
        width=info.width,
        height=info.height,
        num_codebooks=model.networks.num_codebooks,
        frames_per_latent=model.networks.time_factor,
        patch_size=model.networks.space_factor,
        entropy_coder=ENTROPY_CODER,
        time_base=info.time_base,
        average_rate=info.average_rate,
        sample_aspect_ratio=info.sample_aspect_ratio,
        color_range=info.color_range,
        color_matrix=info.color_matrix,
        color_primaries=info.color_primaries,
        color_transfer=info.color_transfer,
        tags=extras.tags,
        audio=extras.audio,
        subtitles=extras.subtitles,
        chapters=extras.chapters,
    )
