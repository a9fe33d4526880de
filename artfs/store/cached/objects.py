"""Small objects that never change, kept whole, each in a file of its own beside its digest."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from blake3 import blake3

from artfs.store.cached.room import Room

_DIGEST = 32
#: Bytes of an object that is kept, at most.
_LARGEST = 1 << 20


class SmallObjects:
    """What is kept below `directory`, which may be missing, and be impossible to make."""

    def __init__(self, directory: Path, room: Room) -> None:
        self._directory = directory
        self._room = room

    def get(self, key: str) -> bytes | None:
        """The object, if it is here and is what was kept."""
        try:
            kept = self._path(key).read_bytes()
        except OSError:
            return None
        data = kept[_DIGEST:]
        return data if kept[:_DIGEST] == _digest(key, data) else None

    def put(self, key: str, data: bytes) -> None:
        """Keep an object, if that can be done. A reset may leave a part of it: see `get`."""
        if len(data) > _LARGEST or not self._room.take(4096 + len(data)):
            return
        path = self._path(key)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.write_bytes(_digest(key, data) + data)
            os.replace(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / blake3(key.encode()).hexdigest()[:32]


def _digest(key: str, data: bytes) -> bytes:
    return blake3(key.encode() + b"\0" + data).digest()
