"""What the kernel has cached of a draft, and is to ask for again."""

from __future__ import annotations

import msgspec


class Stale(msgspec.Struct):
    """What the kernel is to forget: names, as (directory, name), files' content, and the
    lengths of files, by path."""

    names: list[tuple[int, bytes]] = []
    files: list[int] = []
    lengths: list[bytes] = []
