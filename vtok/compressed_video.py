"""A `.vtok` file as codes and as frames, read from front to back in constant memory."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from vtok.container import ContainerReader, FileHeader, VideoGroup
from vtok.errors import ConfigError, FormatError, MediaError, ModelMismatchError
from vtok.exact_prior import ExactPrior
from vtok.media import Frame, VideoInfo
from vtok.pretrained import model_names
from vtok.prior_coding import ENTROPY_CODER, Codes, PriorGroupDecoder
from vtok.streaming import FRAMES_PER_CHUNK, ChunkDecoder, file_model, latent_size
from vtok.tokenizer import VideoTokenizer


class CompressedVideo:
    """A `.vtok` file as frames, decoded as they are asked for; like `VideoReader`, it can be iterated once.

    Attributes:
        path: The file.
        header: Its header.
        info: The same as the description of a video; `num_frames_from_header` is of the whole file if that is sound.
        tokenizer: What decodes it.

    Args:
        path: The `.vtok` file.
        tokenizer: Default: the one in this package that the file names.

    Raises:
        FormatError: Not a `.vtok` file, or damaged; while iterating too.
        ModelMismatchError: It was written with other weights than those of the tokenizer.
    """

    def __init__(self, path: str | os.PathLike[str], *, tokenizer: VideoTokenizer | None = None) -> None:
        self.path = Path(path)
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise MediaError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            with _naming(self.path):
                self._reader = ContainerReader(self._file)
                self.header = self._reader.header
                self.tokenizer = _tokenizer_of(self.header, tokenizer)
                self._prior = file_prior(self.tokenizer)
                _check_header(self.header, self.tokenizer)
            self.info = _info(self.header, self._total_frames())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def chunks(self) -> Iterator[tuple[Codes, tuple[int, ...]]]:
        """Codes uint8 `[n, H, W]` and timestamps of each chunk of up to 8 frames; no network runs."""
        with _naming(self.path):
            for group in self._reader:
                codes = self._decode_group(group)
                for i, frame_codes in enumerate(codes):
                    yield frame_codes, group.pts[FRAMES_PER_CHUNK * i : FRAMES_PER_CHUNK * (i + 1)]

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order."""
        decoder = ChunkDecoder(self.tokenizer, self.info, self.header.quality)
        for codes, pts in self.chunks():
            yield from decoder.decode(codes, pts)

    def _decode_group(self, group: VideoGroup) -> list[Codes]:
        """Codes of a group's latent frames, checked as a whole before anything is made of them."""
        height, width = latent_size(self.header.height, self.header.width)
        decoder = PriorGroupDecoder(
            self._prior,
            self.header.quality,
            group.coded,
            num_latent_frames=group.num_latent_frames,
            height=height,
            width=width,
        )
        codes = [decoder.pull() for _ in range(group.num_latent_frames)]
        crc = 0
        for frame_codes in codes:
            crc = zlib.crc32(frame_codes.data, crc)
        group.check_codes(crc)
        return codes

    def _total_frames(self) -> int | None:
        """The number of frames if the file is sound; damage is for iterating to report, after what comes before it."""
        try:
            self._reader.read_index()
        except (FormatError, OSError):
            return None
        return self._reader.totals.num_frames if self._reader.totals else None


def file_prior(tokenizer: VideoTokenizer) -> ExactPrior:
    """The prior that codes files with `tokenizer`.

    Raises:
        ConfigError: It is not of the pretrained kind, or was not loaded from weights.
    """
    file_model(tokenizer)
    if tokenizer.exact_prior is None:
        raise ConfigError("files need trained weights, such as those of VideoTokenizer.from_pretrained()")
    return tokenizer.exact_prior


def new_header(tokenizer: VideoTokenizer, info: VideoInfo, quality: float) -> FileHeader:
    """The header of a file that `tokenizer` is about to write."""
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
    )


def _info(header: FileHeader, num_frames: int | None) -> VideoInfo:
    return VideoInfo(
        width=header.width,
        height=header.height,
        time_base=header.time_base,
        average_rate=header.average_rate,
        sample_aspect_ratio=header.sample_aspect_ratio,
        color_range=header.color_range,
        color_matrix=header.color_matrix,
        color_primaries=header.color_primaries,
        color_transfer=header.color_transfer,
        num_frames_from_header=num_frames,
    )


def _tokenizer_of(header: FileHeader, tokenizer: VideoTokenizer | None) -> VideoTokenizer:
    """The tokenizer that wrote the file: the given one, or that of the package, if it is the same."""
    if tokenizer is None:
        if header.model_name not in model_names():
            raise ModelMismatchError(
                f"needs the model {header.model_name!r} ({header.model_sha256[:16]}), which is not in this package "
                f"({', '.join(model_names())}). Name its weights with --model"
            )
        tokenizer = VideoTokenizer.from_pretrained(header.model_name)
    if tokenizer.weights_sha256 != header.model_sha256:
        raise ModelMismatchError(
            f"was written with {header.model_name} {header.model_sha256}; "
            f"the weights at hand are {tokenizer.name} {tokenizer.weights_sha256}"
        )
    return tokenizer


def _check_header(header: FileHeader, tokenizer: VideoTokenizer) -> None:
    """What a header may say in general, but not with this model."""
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


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    try:
        yield
    except (FormatError, ModelMismatchError) as error:
        raise type(error)(f"{path}: {error}") from error
