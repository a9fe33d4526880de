"""Logical digests: BLAKE3 of what data means, not of how it is stored.

Every kind of thing hashed has its own prefix, so that no bytes of one kind can pass for another.
BLAKE3: https://github.com/BLAKE3-team/BLAKE3-specs
"""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

from artfs.types import Digest, Entry, Kind

_DIR = b"artfs dir 1\0"
_DIR_INNER = b"artfs dir inner 1\0"
_LIST = b"artfs chunks 1\0"
_LINK = b"artfs link 1\0"
_REFERENCE = b"artfs reference 1\0"

#: The owner's execute bit is the one permission that is content, as in git.
EXECUTE = 0o100


def of_bytes(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of a chunk, and of a file that is one chunk."""
    return Digest(blake3(data).digest())


EMPTY_FILE = of_bytes(b"")
EMPTY_DIR = Digest(blake3(_DIR).digest())


def of_link(target: bytes) -> Digest:
    """The digest of a symbolic link."""
    return Digest(blake3(_LINK + target).digest())


def of_reference(uri: str, checksum: str) -> Digest:
    """The digest of a reference: its URI and recorded checksum, which may be empty."""
    return Digest(blake3(_REFERENCE + uri.encode() + b"\0" + checksum.encode()).digest())


def of_entries(entries: Iterable[Entry]) -> Digest:
    """The digest of one leaf of a directory, entries in name order."""
    parts = [_DIR]
    for e in entries:
        executable = e.kind == Kind.FILE and e.mode & EXECUTE
        parts.extend((bytes((e.kind, 1 if executable else 0, len(e.name))), e.name, e.digest))
    return Digest(blake3(b"".join(parts)).digest())


def of_dir_children(height: int, digests: Iterable[bytes]) -> Digest:
    """The digest of an inner node of a directory `height` levels above the leaves."""
    return Digest(blake3(_DIR_INNER + bytes((height,)) + b"".join(digests)).digest())


def of_chunks(chunks: Iterable[tuple[bytes, int, int]]) -> Digest:
    """The digest of one leaf of a chunk list: (digest, size, repeats) in file order."""
    body = b"".join(d + size.to_bytes(4, "big") + n.to_bytes(8, "big") for d, size, n in chunks)
    return Digest(blake3(_LIST + b"\0" + body).digest())


def of_list_children(height: int, children: Iterable[tuple[bytes, int]]) -> Digest:
    """The digest of an inner node of a chunk list: (digest, bytes covered) in file order."""
    body = b"".join(d + size.to_bytes(8, "big") for d, size in children)
    return Digest(blake3(_LIST + bytes((height,)) + body).digest())
