"""A bounded cache for hot paths: two dictionaries, the older one dropped when the newer is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Keeps at least the `size`/2 most recently used entries, and at most `size` (as their
    weights add up).

    A hit costs one dictionary access; cachetools' LRU costs ten times that, at every open and read.
    For one thread.
    """

    def __init__(self, size: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        """`weigh` says what a value counts."""
        self._half = size // 2
        self._weigh = weigh
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0

    def get(self, key: K) -> V | None:
        """The value, which thereby counts as used."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember a value; it replaces one of its key, which weighs as much."""
        if key not in self._young:
            self._weight += self._weigh(value)
        self._young[key] = value
        if self._weight >= self._half:
            self._old, self._young, self._weight = self._young, {}, 0

    def pop(self, key: K) -> None:
        """Forget a value, if it is there."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._old, self._young, self._weight = {}, {}, 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
