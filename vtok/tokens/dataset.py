"""Windows of tokens from many `.vtok` files as a PyTorch data set. Training reads the compressed files directly.

    dataset = TokenDataset("coded/", num_latents=4, crop=(16, 16), num_channels=64)
    loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=2)

The windows and their order depend on the files and the arguments alone, so samplers that divide indices, such as
`DistributedSampler`, divide the data exactly.
"""

import glob
import os
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vtok.codec.token_reader import GroupCache, TokenReader
from vtok.container.verification import verify_file
from vtok.errors import ConfigError, MediaError, TruncatedError, VtokError
from vtok.model.checks import check_integer
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.paths import StrPath, is_vtok

_MOST_REASONS = 3  # in messages; all are in `skipped`


class SkippedFile(NamedTuple):
    """A file that is left out of the data set, with the reason."""

    path: str
    reason: str


class TokenItem(TypedDict):
    """One window, in the form that the default collation of a `DataLoader` takes.

    `tokens` is uint8 `[T, n, H, W]`, and `motion` is int16 `[T, 8, 2, rows, columns]`, over blocks of 2 x 2 latent
    positions. `path` is that of the file. `first_latent` and `first_frame` are the numbers of the window's first latent
    frame and first frame in the file. That frame begins `pts_seconds` after frame 0. `quality`, float32 `[T]`, is that
    of each latent frame.
    """

    tokens: Tensor
    motion: Tensor
    path: str
    first_latent: int
    first_frame: int
    pts_seconds: float
    quality: Tensor


class TokenDataset(Dataset[TokenItem]):
    """Windows of latent frames from `.vtok` files. Only the last of a window may stand for fewer than eight frames.

    Creating a data set reads each file's header and index, nothing else. Reading an item decodes the groups that its
    window is in. The last groups stay in memory, so windows in order are fast. Random windows are the faster the
    shorter the groups are (`vtok encode --keyframe-seconds`).

    Attributes:
        files: Readers of the files, in order.
        skipped: Files that are left out, with reasons; a warning tells of them too.

    Args:
        source: A folder, searched for `*.vtok`; a pattern with `*`, `?` or `[`, or with `**` for folders in between; a
            `.vtok` file; a manifest, which is a text file with one path per line, relative to its own folder; or any
            number of these. Folders and patterns give their files in the order of their names.
        num_latents: Latent frames per window, T.
        stride: Latent frames from the beginning of one window to that of the next; default: `num_latents`. A rest that
            is shorter than a window is left out. After a latent frame of fewer than eight frames a window begins.
        crop: Latent rows and columns to cut out, which all files must have; default: all.
        crop_at: Position of the crop: `random`, by seed, epoch and index; `center`; or the first row and column. It is
            at an even row and an even column, where blocks of motion begin.
        num_channels: Number of channels to take, the most important ones first; default: all.
        seed: Seed of random crops.
        verify: Check all checksums of all files now, and leave out damaged files. Otherwise, damage after the header is
            an error when an item meets it.
        num_cached_groups: Number of decoded groups that stay in memory.
        tokenizer: Default: the one in this package that the files name.

    Raises:
        ConfigError: An argument is out of its range, files are of different models, or no file has a window.
        MediaError: There are no files.
    """

    def __init__(
        self,
        source: StrPath | Iterable[StrPath],
        *,
        num_latents: int,
        stride: int | None = None,
        crop: tuple[int, int] | None = None,
        crop_at: str | tuple[int, int] = "random",
        num_channels: int | None = None,
        seed: int = 0,
        verify: bool = False,
        num_cached_groups: int = 4,
        tokenizer: VideoTokenizer | None = None,
    ) -> None:
        self.num_latents, self.stride = num_latents, num_latents if stride is None else stride
        self.crop, self.crop_at, self.num_channels, self.seed = crop, crop_at, num_channels, seed
        self._check_arguments()
        self._verify = verify
        # In shared memory, so that workers that live longer than an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._cache = GroupCache(num_cached_groups)
        self.files: list[TokenReader] = []
        self.skipped: list[SkippedFile] = []
        self._firsts: list[tuple[TokenReader, range]] = []  # first latent frames of windows, for each run of a file
        self._ends: list[int] = []  # number of windows up to the end of each run
        for path in find_token_files(source):
            self._add(path, tokenizer)
        self._tell_of_skipped()
        if not self.files:
            raise ConfigError(f"no file has a window of {num_latents} latent frames: {self._reasons}")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> TokenItem:
        """Window `index`; negative numbers count from the end.

        Raises:
            FormatError: The window is in a damaged part of its file.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        index %= len(self)
        place = bisect_right(self._ends, index)
        file, firsts = self._firsts[place]
        first = firsts[index - (self._ends[place - 1] if place else 0)]
        part = self._part(file, index)
        rows, columns = (slice(side.start // 2, -(-side.stop // 2)) for side in part)
        chunks = [file.tokens_of(i) for i in range(first, first + self.num_latents)]
        return {
            "tokens": _stacked([chunk.codes[: self.num_channels, *part] for chunk in chunks]),
            "motion": _stacked([chunk.motion.fields[..., rows, columns] for chunk in chunks]),
            "path": str(file.path),
            "first_latent": first,
            "first_frame": file.first_frame(first),
            "pts_seconds": file.pts_seconds(first),
            "quality": torch.tensor([file.quality_of(i) for i in range(first, first + self.num_latents)]),
        }

    def set_epoch(self, epoch: int) -> None:
        """Choose other random crops, as `DistributedSampler.set_epoch` chooses another order."""
        self._epoch.fill_(epoch)

    def _check_arguments(self) -> None:
        check_integer("num_latents", self.num_latents, minimum=1)
        check_integer("stride", self.stride, minimum=1)
        check_integer("seed", self.seed, minimum=0)
        if self.num_channels is not None:
            check_integer("num_channels", self.num_channels, minimum=1)
        if self.crop is not None:
            for name, value in zip(("rows of crop", "columns of crop"), self.crop, strict=True):
                check_integer(name, value, minimum=1)
        if isinstance(self.crop_at, str):
            if self.crop_at not in ("random", "center"):
                raise ConfigError(f"crop_at is {self.crop_at!r}; expected random, center, or a row and a column")
        else:
            for name, value in zip(("row of crop_at", "column of crop_at"), self.crop_at, strict=True):
                check_integer(name, value, minimum=0)
                if value % 2:
                    raise ConfigError(f"{name} is {value}; expected an even number: blocks of motion are 2 x 2")

    def _add(self, path: Path, tokenizer: VideoTokenizer | None) -> None:
        """Add a file to the data set, or record why it is skipped."""
        try:
            file = TokenReader(path, tokenizer=tokenizer, cache=self._cache)
            if not file.is_complete:
                raise TruncatedError(f"{path}: the end of the file is missing")
            faults = verify_file(path).faults if self._verify else []
        except (VtokError, OSError) as error:
            self.skipped.append(SkippedFile(str(path), str(error).removeprefix(f"{path}: ")))
            return
        self._check_model(file)
        reason = str(faults[0]["message"]) if faults else self._too_small(file)
        if reason:
            self.skipped.append(SkippedFile(str(path), reason))
            return
        self.files.append(file)
        for run in file.index.latent_runs:
            if firsts := range(run.start, run.stop - self.num_latents + 1, self.stride):
                self._firsts.append((file, firsts))
                self._ends.append((self._ends[-1] if self._ends else 0) + len(firsts))

    def _check_model(self, file: TokenReader) -> None:
        """Refuse a file of another model, because the same code means something else there."""
        if self.files and self.files[0].header.model_sha256 != file.header.model_sha256:
            models = [f"{x.header.model_name} {x.header.model_sha256[:16]}" for x in (file, self.files[0])]
            raise ConfigError(
                f"{file.path}: was written with the model {models[0]}, and {self.files[0].path} with {models[1]}. "
                f"Make a data set of each"
            )
        if self.num_channels is not None and self.num_channels > file.shape[1]:
            raise ConfigError(f"num_channels is {self.num_channels}; {file.path} has {file.shape[1]}")

    def _too_small(self, file: TokenReader) -> str | None:
        height, width = file.shape[2:]
        longest = max(map(len, file.index.latent_runs), default=0)
        if longest < self.num_latents:
            return f"{longest} latent frames in a row, and windows have {self.num_latents}"
        if self.crop is not None:
            row, column = (0, 0) if isinstance(self.crop_at, str) else self.crop_at
            if row + self.crop[0] > height or column + self.crop[1] > width:
                return f"{height}x{width} latent rows and columns, and the crop has {self.crop[0]}x{self.crop[1]}" + (
                    f" from {row}, {column} on" if row or column else ""
                )
        return None

    def _part(self, file: TokenReader, index: int) -> tuple[slice, slice]:
        """The rows and columns of a window."""
        if self.crop is None:
            return slice(0, file.shape[2]), slice(0, file.shape[3])
        free = [size - crop for size, crop in zip(file.shape[2:], self.crop, strict=True)]
        if self.crop_at == "random":
            generator = np.random.default_rng([self.seed, int(self._epoch), index])
            row, column = (2 * int(start) for start in generator.integers(0, [n // 2 for n in free], endpoint=True))
        elif isinstance(self.crop_at, str):
            row, column = (room // 4 * 2 for room in free)
        else:
            row, column = self.crop_at
        return slice(row, row + self.crop[0]), slice(column, column + self.crop[1])

    def _tell_of_skipped(self) -> None:
        if self.skipped:
            warnings.warn(self._reasons, stacklevel=3)

    @property
    def _reasons(self) -> str:
        """How many files are skipped, and why the first ones are."""
        total = len(self.files) + len(self.skipped)
        reasons = "; ".join(f"{path}: {reason}" for path, reason in self.skipped[:_MOST_REASONS])
        more = "; ..." if len(self.skipped) > _MOST_REASONS else ""
        return f"{len(self.skipped)} of {total} files skipped: {reasons}{more}"


def _stacked(arrays: list[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def find_token_files(source: StrPath | Iterable[StrPath]) -> list[Path]:
    """The files that the argument `source` of `TokenDataset` names, in its order.

    Raises:
        MediaError: A folder or a pattern has none, or a manifest cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return list(_files_of(source))
    return [path for item in source for path in _files_of(item)]


def _files_of(source: StrPath) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield from _found(source, path.rglob("*.vtok"))
    elif not path.exists() and glob.has_magic(str(source)):
        yield from _found(source, map(Path, glob.glob(str(source), recursive=True)))  # noqa: PTH207 (absolute patterns)
    elif is_vtok(path):
        yield path  # its reader reports a missing file
    else:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", error)
            raise MediaError(f"{path}: is no folder, .vtok file or list of such files: {reason}") from error
        for line in filter(None, map(str.strip, lines)):
            yield path.parent / line


def _found(source: StrPath, paths: Iterable[Path]) -> list[Path]:
    found = sorted(path for path in paths if path.is_file())
    if not found:
        raise MediaError(f"{source}: there are no .vtok files")
    return found
