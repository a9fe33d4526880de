"""Random access to one object, a request for each read."""

from __future__ import annotations

from collections.abc import Callable

from artfs.store.base import ObjectReader
from artfs.store.s3.transfer import Transfer


class S3Reader(ObjectReader):
    """Holds nothing but names, so it may be closed at any time."""

    def __init__(self, transfer: Transfer, key: str, size: int | None = None) -> None:
        transfer.where(key)
        self._transfer = transfer
        self._key = key
        self._size = size

    def read(self, offset: int, length: int) -> bytes:
        if length <= 0 or (self._size is not None and offset >= self._size):
            return b""
        data, self._size = self._transfer.read(self._key, offset, length)
        return data

    def copy(self, offset: int, length: int, write: Callable[[bytes], object]) -> int | None:
        if length > 0 and (self._size is None or offset < self._size):
            self._size = self._transfer.copy(self._key, offset, length, write)
        return self._size

    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        past_end = self._size is not None and offset >= self._size
        return b"" if length <= 0 or past_end else None

    def prefetch(self, offset: int, length: int) -> None:
        """Nothing: bytes are kept by the caches above, not here."""

    def close(self) -> None:
        """Nothing to release."""
