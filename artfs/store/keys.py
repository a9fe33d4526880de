"""Which keys a store accepts: the same in every store, so that copying the objects moves it."""

from __future__ import annotations

import re

from artfs.errors import InvalidValue

_COMPONENT = re.compile(r"[ -.0-~]{1,255}\Z")

RESERVED = frozenset({".tmp", ".lock"})
"""First components that a directory store keeps for itself."""

PROBE = "probe-"
"""What keys begin with that are made to try a server, and deleted at once; a kill leaves them."""


def is_component(name: str) -> bool:
    """Whether the name may stand between two slashes of a key."""
    return _COMPONENT.match(name) is not None and name not in (".", "..")


def check_key(key: str) -> str:
    """The key itself. Raises `InvalidValue` for one that could leave the store."""
    parts = key.split("/")
    if not all(map(is_component, parts)):
        raise InvalidValue(
            f"key {key!r}", "its components must be 1 to 255 printable ASCII, and not '.' or '..'"
        )
    if parts[0] in RESERVED:
        raise InvalidValue(f"key {key!r}", f"'{parts[0]}' is reserved")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself if it is empty, or a key and a '/'. Raises `InvalidValue`."""
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidValue(f"prefix {prefix!r}", "does not end in '/'")
        check_key(prefix[:-1])
    return prefix
