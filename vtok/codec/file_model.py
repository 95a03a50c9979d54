"""The tokenizer of a `.vtok` file: found by its header, checked against it, and named in that of a new file."""

from vtok.codec.chunk_coder import file_model
from vtok.container.reader import FileHeader
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import ENTROPY_CODER
from vtok.errors import ConfigError, FormatError, ModelMismatchError
from vtok.model.registry import FOLDERS_VARIABLE, ModelCard, model_cards, model_with_hash
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.frame import VideoInfo
from vtok.video.tracks import Extras


def tokenizer_of(header: FileHeader, tokenizer: VideoTokenizer | None) -> VideoTokenizer:
    """The tokenizer that wrote the file: the given one, or that of the package, if it is the same.

    Raises:
        ModelMismatchError: It is another one, or none is at hand.
    """
    tokenizer = tokenizer or VideoTokenizer.from_pretrained(card_of(header).path)
    if tokenizer.weights_sha256 != header.model_sha256:
        raise ModelMismatchError(
            f"was written with {header.model_name} {header.model_sha256}; "
            f"the weights at hand are {tokenizer.name} {tokenizer.weights_sha256}"
        )
    return tokenizer


def card_of(header: FileHeader) -> ModelCard:
    """The card of the model that wrote the file.

    Raises:
        ModelMismatchError: It is not at hand.
    """
    card = model_with_hash(header.model_sha256)
    if card is None:
        at_hand = ", ".join(f"{card.name} {card.tensors_sha256[:16]}" for card in model_cards())
        raise ModelMismatchError(
            f"was written with the model {header.model_name} {header.model_sha256}; at hand are only {at_hand}. "
            f"Name its weights with tokenizer=..., or their folder with {FOLDERS_VARIABLE}"
        )
    return card


def check_header(header: FileHeader, tokenizer: VideoTokenizer) -> None:
    """Refuse what a header may say in general, but not with this model.

    Raises:
        ConfigError: The tokenizer is not of the pretrained kind.
        FormatError: The header does not fit it.
    """
    sizes = (tokenizer.num_codebooks, tokenizer.time_factor, tokenizer.space_factor)
    if (header.num_codebooks, header.frames_per_latent, header.patch_size) != sizes:
        raise FormatError(
            f"{header.num_codebooks} codebooks, {header.frames_per_latent} frames and {header.patch_size} pixels per "
            f"latent declared; {header.model_name} has {sizes}"
        )
    if header.entropy_coder != ENTROPY_CODER:
        raise FormatError(f"entropy coder {header.entropy_coder!r} is unknown; expected {ENTROPY_CODER}")
    highest = file_model(tokenizer).config.num_qualities
    if not 1 <= header.quality <= highest:
        raise FormatError(f"quality {header.quality:g} declared; expected 1 to {highest}")


def file_prior(tokenizer: VideoTokenizer) -> ExactPrior:
    """The prior that codes files with `tokenizer`.

    Raises:
        ConfigError: It is not of the pretrained kind, or was not loaded from weights.
    """
    file_model(tokenizer)
    if tokenizer.exact_prior is None:
        raise ConfigError("files need trained weights, such as those of VideoTokenizer.from_pretrained()")
    return tokenizer.exact_prior


def new_header(tokenizer: VideoTokenizer, info: VideoInfo, quality: float, extras: Extras | None = None) -> FileHeader:
    """The header of a file that `tokenizer` is about to write."""
    extras = extras or Extras()
    return FileHeader(
        model_name=tokenizer.name,
        model_sha256=tokenizer.weights_sha256,
        quality=quality,
        width=info.width,
        height=info.height,
        num_codebooks=tokenizer.num_codebooks,
        frames_per_latent=tokenizer.time_factor,
        patch_size=tokenizer.space_factor,
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
        chapters=extras.chapters,
    )
