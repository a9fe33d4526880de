"""What a reader of sources is to the rest of artfs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from artfs.errors import InvalidValue, SourceChanged
from artfs.format.reference import MODE, Reference

#: Objects below a prefix that a reference may be expanded to, unless more are asked for.
MAX_OBJECTS = 10_000
#: The end of what is read to its end.
ENDLESS = 1 << 62
#: RFC 3986, 3.1.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Found(msgspec.Struct, frozen=True):
    """An object that a URI names, or one of those below it.

    `path`: its path below the URI; of the object that the URI `itself` names, its last name, which
    is empty where there is none. `size`: bytes, 0 where the reference says that it is not known.
    `link`: the target, of a symbolic link, which is no reference; `reference` has its URI only.
    """

    path: str
    reference: Reference
    size: int = 0
    mtime_ns: int = 0
    mode: int = MODE
    link: bytes | None = None
    itself: bool = False


class Source(Protocol):
    """Reads the URIs of one scheme, or of a few."""

    def describe(self, uri: str, *, checksum: bool, max_objects: int | None) -> Sequence[Found]:
        """What a URI names: one object, or those below it by path.

        Without `checksum` nothing is recorded but where they are. `max_objects`: None for what is
        usual for the scheme. Raises `NotFound`, `InvalidValue` (no such URI can be; more objects
        than that), `Unsupported`, `Unreachable`.
        """
        ...

    def require_allowed(self, reference: Reference) -> None:
        """Raises `SourceRefused` for what `read` refuses without asking the source."""
        ...

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of a source, in pieces; fewer where it is shorter. `ENDLESS` is
        an end behind that of any; an empty range only proves that the source is as it was.

        `size` is what was recorded, if `reference.sized`. Raises `SourceChanged` if it is not what
        was recorded, also in the middle; `Unreachable`, which another try may mend.
        """
        ...

    def size(self, reference: Reference) -> int | None:
        """The bytes of a source as it is now; None if it does not say. Raises as `read`."""
        ...

    def close(self) -> None:
        """Release connections. Idempotent."""
        ...


def scheme_of(uri: str) -> str:
    """The scheme in lower case. Raises `InvalidValue` if there is none."""
    match = _SCHEME.match(uri)
    if match is None:
        raise InvalidValue(
            f"reference '{shown(uri)}'", "is not a URI", "of a local file it is file:///PATH"
        )
    if not uri.isprintable():
        raise InvalidValue(f"reference '{shown(uri)}'", "holds control characters")
    return match[1].lower()


def shown(uri: str) -> str:
    """A URI for messages and logs: without user and password, and without the query, which may be
    a signature that lets anybody in. In `file://`, `?` and `#` are characters of names."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition("?")[0].rpartition("@")[2]
    text = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    if parts.scheme == "file":
        text = uri
    return text.encode("ascii", "backslashreplace").decode() if not text.isprintable() else text


def last_name(uri: str) -> str:
    """The last name in a URI's path, decoded; empty if it has none. Raises `InvalidValue`."""
    try:
        path = urlsplit(uri).path
    except ValueError as error:
        raise InvalidValue(f"reference '{shown(uri)}'", f"is not a URI: {error}") from error
    return posixpath.basename(unquote(path, errors="surrogateescape").rstrip("/"))


def changed(reference: Reference, why: str) -> SourceChanged:
    """The error of a source that is not what was recorded."""
    return SourceChanged(
        shown(reference.uri), f"has changed since it was recorded: {why}",
        "add the reference again to record what is there now",
    )  # fmt: skip


def too_many(uri: str, limit: int) -> InvalidValue:
    """The error of a prefix with more objects than are wanted."""
    return InvalidValue(shown(uri), f"has more than {limit} objects", "max_objects allows for more")


def relative_path(key: str, prefix: str, uri: str) -> str:
    """The path of an object below a prefix. Raises `InvalidValue` for a key that makes no path."""
    path = key.removeprefix(prefix)
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names) or "\0" in path:
        raise InvalidValue(
            f"{shown(uri)}: object '{key}'", "has a name that cannot be a path",
            "choose a prefix without it",
        )  # fmt: skip
    return path
