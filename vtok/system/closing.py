"""A base for contexts that are closed at their end."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """A context whose end calls `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release what is held; calling it again does nothing."""
