"""The arrays of tokens in an `.npz` archive, each checked before it is read; `docs/tokens.md` lists them."""

import math
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from typing import Any

import numpy as np
from numpy.lib import format as npy

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.entropy.frame_coder import Codes
from vtok.errors import ConfigError, MediaError, VtokError, naming
from vtok.system.paths import StrPath
from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, motion_size

COLOR_ARRAYS = ("color_range", "color_matrix", "color_primaries", "color_transfer")
_LARGEST_ARRAY = 1 << 26  # entries of every array but the codes: a month of timestamps
_LARGEST_DENOMINATOR = 10_000  # of fractions that are given as floating-point numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFileResult:
    """Result of `export_npz` and `import_npz`.

    Attributes:
        source: The file that was read.
        target: The file that was written.
        num_latent_frames: Number of latent frames in the target.
        num_frames: Number of frames that they stand for.
        num_bytes: Size of the target.
    """

    source: str
    target: str
    num_latent_frames: int
    num_frames: int
    num_bytes: int

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.target}: {self.num_latent_frames} latent frames for {self.num_frames} frames, "
            f"{self.num_bytes} bytes"
        )


class ArrayReader:
    """The arrays of an archive. Its methods raise ConfigError if an array is missing or not as it must be."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())

    def has(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return f"{name}.npy" in self._names

    def shape_of_codes(self) -> tuple[int, ...]:
        """Read the shape of the codes: T, n, H, W."""
        with self._open("codes") as (_, shape, dtype):
            if dtype != np.uint8 or len(shape) != 4 or 0 in shape:
                raise ConfigError(f"codes is {dtype} {list(shape)}: must be uint8 [T, n, H, W], none of them 0")
            if shape[0] > _LARGEST_ARRAY // FRAMES_PER_CHUNK:
                raise ConfigError(
                    f"codes is uint8 {list(shape)}: T must be {_LARGEST_ARRAY // FRAMES_PER_CHUNK} at most"
                )
            if math.prod(shape) > self._archive.getinfo("codes.npy").file_size:
                raise ConfigError(f"codes is uint8 {list(shape)}, and fewer bytes are there")
            return shape

    def codes(self) -> Generator[Codes, None, None]:
        """Yield latent frames, uint8 `[n, H, W]`; close it before the archive."""
        return self._rows("codes")

    def motion(self, height: int, width: int) -> Generator[ChunkMotion, None, None]:
        """Yield the motion of latent frames of `height` x `width` pixels; still if no array has it. Close it too."""
        num_latents, size = self.shape_of_codes()[0], motion_size(height, width)
        if not self.has("motion"):
            yield from repeat(ChunkMotion.still(height, width), num_latents)
            return
        wanted = (num_latents, NUM_FIELDS, 2, *size)
        with self._open("motion") as (_, shape, dtype):
            if dtype != np.int16 or shape != wanted:
                raise ConfigError(f"motion is {dtype} {list(shape)}: must be int16 {list(wanted)}")
        with closing(self._rows("motion")) as all_fields:
            for fields in all_fields:
                if not -MAX_VECTOR <= fields.min() <= fields.max() <= MAX_VECTOR:
                    expected = f"{-MAX_VECTOR} to {MAX_VECTOR}"
                    raise ConfigError(f"motion is from {fields.min()} to {fields.max()}: must be {expected}")
                yield ChunkMotion(fields.astype(np.int16))

    def _rows(self, name: str) -> Generator[Any, None, None]:
        """Yield the entries of the first axis of an array."""
        with self._open(name) as (member, shape, dtype):
            size = math.prod(shape[1:]) * dtype.itemsize
            for _ in range(shape[0]):
                data = member.read(size)
                if len(data) < size:
                    raise ConfigError(f"{name} ends too early")
                yield np.frombuffer(data, dtype).reshape(shape[1:])

    def integers(self, name: str, shape: tuple[int, ...]) -> list[int]:
        """Read whole numbers as a flat list; -1 in `shape` stands for any length."""
        array = self._array(name)
        fits = len(array.shape) == len(shape) and all(n in (m, -1) for m, n in zip(array.shape, shape, strict=True))
        if array.dtype.kind not in "iub" or not fits:
            wanted = str(list(shape)).replace("-1", "any length")
            raise ConfigError(f"{name} is {array.dtype} {list(array.shape)}: must be whole numbers {wanted}")
        return [int(value) for value in array.reshape(-1).tolist()]

    def number(self, name: str) -> float:
        """Read one finite number."""
        array = self._array(name)
        if array.dtype.kind not in "iuf" or array.size != 1 or not np.isfinite(array).all():
            raise ConfigError(f"{name} is {array.dtype} {list(array.shape)}: must be one finite number")
        return float(array.item())

    def numbers(self, name: str, length: int) -> list[float]:
        """Read `length` finite numbers; one number stands for that many equal ones."""
        array = self._array(name)
        if array.dtype.kind not in "iuf" or array.shape not in ((), (1,), (length,)) or not np.isfinite(array).all():
            raise ConfigError(f"{name} is {array.dtype} {list(array.shape)}: must be one finite number, or {length}")
        return [float(value) for value in np.broadcast_to(array, (length,)).tolist()]

    def text(self, name: str) -> str:
        """Read one text."""
        array = self._array(name)
        if array.dtype.kind != "U" or array.size != 1:
            raise ConfigError(f"{name} is {array.dtype} {list(array.shape)}: must be one text")
        return str(array.item())

    def fraction(self, name: str) -> Fraction:
        """Read a positive fraction from numerator and denominator, or from one number."""
        if self._array(name).size == 1:
            value = Fraction(self.number(name)).limit_denominator(_LARGEST_DENOMINATOR)
        else:
            numerator, denominator = self.integers(name, (2,))
            value = Fraction(numerator, denominator) if denominator > 0 else Fraction(0)
        if value <= 0:
            raise ConfigError(f"{name} is {self._array(name).tolist()}: must be above 0")
        return value

    def _array(self, name: str) -> np.ndarray[Any, Any]:
        with self._open(name) as (member, shape, dtype):
            if dtype.hasobject or dtype.itemsize > 4096 or math.prod(shape) > _LARGEST_ARRAY:
                raise ConfigError(f"{name} is {dtype} {list(shape)}: must be numbers or a text, and fewer")
            count = math.prod(shape)
            data = member.read(count * dtype.itemsize)
            if len(data) < count * dtype.itemsize:
                raise ConfigError(f"{name} ends too early")
            return np.frombuffer(data, dtype, count).reshape(shape)

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[Any, tuple[int, ...], np.dtype[Any]]]:
        if not self.has(name):
            raise ConfigError(f"there is no array {name}. docs/tokens.md lists those that are needed")
        with self._archive.open(f"{name}.npy") as member:
            readers: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
                (1, 0): npy.read_array_header_1_0,
                (2, 0): npy.read_array_header_2_0,
            }
            version = npy.read_magic(member)
            if version not in readers:
                raise ConfigError(f"{name} is stored in version {version} of npy: must be 1.0 or 2.0")
            shape, is_fortran, dtype = readers[version](member)
            if is_fortran and len(shape) > 1:
                raise ConfigError(f"{name} is stored column by column: save numpy.ascontiguousarray({name})")
            yield member, shape, dtype


@contextmanager
def opened_arrays(path: StrPath) -> Iterator[ArrayReader]:
    """Open the archive at `path`; errors mention its name.

    Raises:
        MediaError: The file is not an archive of arrays.
    """
    try:
        with naming(path), zipfile.ZipFile(path) as archive:
            yield ArrayReader(archive)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except VtokError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:
        raise MediaError(f"{path}: not a readable .npz archive: {str(error).partition(chr(10))[0]}") from error
