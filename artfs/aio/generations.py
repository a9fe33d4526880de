"""A bounded cache for hot paths: two dictionaries, the older one dropped when the newer is full."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Keeps at least the `size`/2 most recently used entries, and at most `size` (as `weight` adds
    them up).

    A hit costs one dictionary access; cachetools' LRU costs ten times that, at every open and read.
    For one thread.
    """

    def __init__(self, size: int) -> None:
        self._half = size // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0

    def get(self, key: K) -> V | None:
        """The value, which thereby counts as used."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Remember a value; one of a key that is there already replaces it."""
        self._young[key] = value
        self._weight += weight
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
