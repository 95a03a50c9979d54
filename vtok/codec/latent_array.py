"""Arrays with one entry per latent frame, read on demand from a `.vtok` file."""

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np

from vtok.codec.chunk_tokens import ChunkTokens

Array = np.ndarray[Any, np.dtype[Any]]


class LatentArray(ABC):
    """A read-only array `[T, ...]`, for any number of threads; what is returned is the caller's.

    Attributes:
        shape: Latent frames, then the shape of an entry.
        dtype: Type of the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def tokens_of(self, index: int) -> ChunkTokens:
        """The tokens of latent frame `index`, from 0."""

    @abstractmethod
    def entry(self, tokens: ChunkTokens) -> Array:
        """The entry of a latent frame."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes of everything as one array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        """Entry `key`, or a slice, `[T, ...]`; negative numbers count from the end."""
        if isinstance(key, slice):
            return self._read(range(len(self))[key])
        index = operator.index(key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"latent frame {index} of a file of {len(self)} latent frames")
        return self._read(range(index % len(self), index % len(self) + 1))[0]

    def __iter__(self) -> Iterator[Any]:
        """All entries in order, in the memory of one group."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if copy is False:
            raise ValueError("tokens are decoded: they cannot be had without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _read(self, indices: range) -> Array:
        entries = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for row, index in zip(entries, indices, strict=True):
            row[...] = self.entry(self.tokens_of(index))
        return entries
