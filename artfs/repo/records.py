"""What all small records have in common: the time, and how those that change are read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from artfs.errors import ObjectNotFound
from artfs.format import record
from artfs.store.base import Store

R = TypeVar("R", bound=msgspec.Struct)

#: Tries to change a record that others change too.
TRIES = 100


def read(store: Store, name: str, kind: type[R]) -> tuple[R | None, str | None]:
    """A record and its revision, for `Store.compare_and_set`; (None, None) if there is none.

    Raises `Damaged`, `UnsupportedFormat`, `Unreachable`.
    """
    try:
        data, revision = store.read_record(name)
    except ObjectNotFound:
        return None, None
    return record.decode(data, kind, name), revision


def now(timespec: str = "seconds") -> str:
    """The time in UTC as records have it."""
    return datetime.now(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
