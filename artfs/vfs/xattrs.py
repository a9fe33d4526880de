"""The extended attributes `user.artfs.*` of committed entries."""

from __future__ import annotations

import msgspec

from artfs.format.reference import reference_of
from artfs.types import Entry, Kind
from artfs.vfs.errors import FileTooLarge, NoAttribute
from artfs.vfs.remembering import Remembering, Version

#: The kernel's limit for a value (XATTR_SIZE_MAX).
_VALUE_MAX = 1 << 16

DIGEST = b"user.artfs.digest"
ARTIFACT = b"user.artfs.artifact"
VERSION = b"user.artfs.version"
REFERENCE = b"user.artfs.reference"
METADATA = b"user.artfs.metadata"
ALIASES = b"user.artfs.aliases"
SIZE = b"user.artfs.size"


def names(entry: Entry) -> list[bytes]:
    """What there is on an entry; a root is known by its empty name."""
    found = [DIGEST, ARTIFACT, VERSION]
    if entry.kind == Kind.REFERENCE:
        found.append(REFERENCE)
    if not entry.name:
        found += [METADATA, ALIASES, SIZE]
    return found


async def get(entry: Entry, version: Version, catalog: Remembering, name: bytes) -> bytes:
    """A value. Raises `NoAttribute`, `FileTooLarge`, `Damaged`; of a root also `Unreachable`."""
    if name not in names(entry):
        raise NoAttribute
    if name == METADATA:
        return await _metadata(version, catalog)
    if name == ALIASES:
        return msgspec.json.encode(await _aliases(version, catalog))
    if name == REFERENCE:
        return reference_of(entry).uri.encode()
    key = version.key
    values = {
        DIGEST: entry.digest.hex().encode(),
        ARTIFACT: f"{key.entity}/{key.project}/{key.name}".encode(),
        VERSION: b"v%d" % version.number,
        SIZE: b"%d" % entry.size,
    }
    return values[name]


async def _metadata(version: Version, catalog: Remembering) -> bytes:
    value = msgspec.json.encode((await catalog.labels(version.key, version.number)).metadata)
    if len(value) > _VALUE_MAX:
        raise FileTooLarge("metadata", "is longer than an extended attribute can be")
    return value


async def _aliases(version: Version, catalog: Remembering) -> list[str]:
    contents = await catalog.contents(version.key)
    return [alias for alias, number in contents.aliases.items() if number == version.number]
