"""Entries whose bytes are elsewhere: finding out what a URI names, and reading it later.

What is returned is what was recorded: the reader of the scheme asks the source for the state that
was recorded and compares the answer (`artfs.sources`), here it is made sure that all of it came,
and where the checksum is a digest of the content, that it is the right one. A source that does not
answer is asked again with growing pauses.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from blake3 import blake3

from artfs.errors import (
    ArtfsError,
    NotFound,
    Refused,
    SourceRefused,
    Unreachable,
    Unsupported,
)
from artfs.format import digest as digests
from artfs.format.reference import Reference, entry_of, reference_of
from artfs.repo.blobs import Blobs
from artfs.repo.catalog import Catalog
from artfs.repo.own_source import SCHEME, ArtfsSource, absolute
from artfs.sources.base import ENDLESS, Found, Source, changed, last_name, scheme_of, shown
from artfs.sources.opening import Sources
from artfs.store.options import StoreOptions
from artfs.types import DEFAULT_ENTITY, DEFAULT_PROJECT, Entry, Kind

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: Seconds for which an answer that goes on is taken to be of the state that it was asked for: a
#: server may send a file that is overwritten meanwhile, and readers may take their time.
_UNPROVEN = 1.0


class _Hasher(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


_HASHERS: dict[str, Callable[[], _Hasher]] = {
    "blake3": blake3,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}


class References:
    """The references of one store. Thread-safe; blocking."""

    def __init__(self, catalog: Catalog, blobs: Blobs, options: StoreOptions) -> None:
        self._own = ArtfsSource(catalog, blobs)
        self._sources = Sources(options)
        self._patience = options.sources.patience

    # Finding out ---------------------------------------------------------------------------

    def describe(
        self,
        uri: str,
        *,
        checksum: bool = True,
        max_objects: int | None = None,
        project: tuple[str, str] = (DEFAULT_ENTITY, DEFAULT_PROJECT),
    ) -> Sequence[Found]:
        """What a URI names: one object, or those below it.

        Of an unknown scheme only the URI is recorded. `project`: (entity, project) of `artfs://`
        URIs that name none. Raises `InvalidValue`, `NotFound`, `Unsupported`, `SourceRefused`,
        `Unreachable`.
        """
        scheme = scheme_of(uri)
        if scheme == SCHEME:
            uri = absolute(uri, project)
        source = self._source(scheme)
        if source is None:
            return [Found(last_name(uri), Reference(uri, sized=False), itself=True)]
        return self._patiently(
            lambda: source.describe(uri, checksum=checksum, max_objects=max_objects)
        )

    def _source(self, scheme: str) -> Source | None:
        return self._own if scheme == SCHEME else self._sources.of(scheme)

    def _patiently(self, ask: Callable[[], T]) -> T:
        waiting = _Waiting(self._patience)
        while True:
            try:
                return ask()
            except Unreachable as error:
                waiting.pause_after(error)

    # Reading -------------------------------------------------------------------------------

    def require_readable(self, entry: Entry) -> Reference:
        """What an entry records. Raises `Unsupported` if its scheme cannot be read."""
        return self._readable(entry)[0]

    def unreadable(self, references: Iterable[Reference]) -> ArtfsError | None:
        """What to say of those that nobody with these settings will read, as far as that is known
        without asking sources: the first, why, and how many more. None if there are none."""
        found: list[ArtfsError] = []
        for reference in references:
            try:
                self._source_of(reference).require_allowed(reference)
            except (Unsupported, SourceRefused) as error:
                found.append(error)
        if not found:
            return None
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        first = found[0]
        what = f"recorded, but not readable: {first.what}{more}"
        return ArtfsError(what, first.why, first.hint)

    def shown(self, entry: Entry) -> str:
        """The URI of an entry for messages. Raises `Damaged`."""
        return shown(reference_of(entry).uri)

    def _readable(self, entry: Entry) -> tuple[Reference, Source]:
        reference = reference_of(entry)
        return reference, self._source_of(reference)

    def _source_of(self, reference: Reference) -> Source:
        source = self._source(reference.scheme)
        if source is None:
            raise Unsupported(
                shown(reference.uri), f"nothing is known of '{reference.scheme}:' but the name"
            )
        return source

    def size(self, entry: Entry) -> int:
        """The bytes of an entry, asked for where they were not recorded.

        Raises as `content`; `Unsupported` if the source does not say.
        """
        reference, source = self._readable(entry)
        if reference.sized:
            return entry.size
        found = self._patiently(lambda: source.size(reference))
        if found is None:
            raise Unsupported(shown(reference.uri), "does not say its length")
        return found

    def content(
        self, entry: Entry, start: int = 0, end: int = ENDLESS, patience: float | None = None
    ) -> Iterator[bytes]:
        """The bytes [start, end) of an entry, in pieces, fewer at its end.

        Where all of it is read, the end is an error if the content has another digest than the one
        recorded, so what was returned counts only then. `patience`: seconds that the source may
        leave us without an answer. Raises `SourceChanged`, `SourceRefused`, `Unsupported`,
        `Unreachable`; for `artfs://` also `Damaged`, `ObjectNotFound`.
        """
        reference, source = self._readable(entry)
        if reference.sized:
            end = min(end, entry.size)
        is_whole = start == 0 and (end == entry.size if reference.sized else end >= ENDLESS)
        make = _HASHERS.get(reference.checksum_kind)
        hasher = make() if make is not None and is_whole else None
        waiting = _Waiting(self._patience if patience is None else patience)
        at = start
        while True:
            try:
                for piece in _read(source, reference, entry.size, at, end):
                    at += len(piece)
                    if hasher is not None:
                        hasher.update(piece)
                    yield piece
                    waiting.begin()
                break
            except NotFound as error:
                raise changed(reference, f"it is gone: {error.why}") from error
            except Unreachable as error:
                waiting.pause_after(error)
        if reference.sized and at < end:
            raise changed(reference, f"it ends after {at} bytes")
        if hasher is not None and hasher.hexdigest() != reference.checksum_value:
            raise changed(reference, f"its {reference.checksum_kind} is another")

    def same(self, entry: Entry, chunks: Iterator[bytes]) -> bool:
        """Whether some content is proven to be that of an entry, without asking the source."""
        reference = reference_of(entry)
        make = _HASHERS.get(reference.checksum_kind)
        if make is None:
            return False
        hasher = make()
        for chunk in chunks:
            hasher.update(chunk)
        return hasher.hexdigest() == reference.checksum_value

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._sources.close()


class _Waiting:
    """Pauses between tries, until there has been no progress for too long."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.begin()

    def begin(self) -> None:
        """Something has come: count anew."""
        self._deadline = time.monotonic() + self._patience
        self._pause = _FIRST_PAUSE

    def pause_after(self, error: Unreachable) -> None:
        """Wait for the next try. Raises the error if it is too late for one, or would not help."""
        pause = max(self._pause, error.after)
        if isinstance(error, Refused) or time.monotonic() + pause > self._deadline:
            raise error
        time.sleep(pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


def _read(source: Source, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
    """As `Source.read`; where only the source can tell, it is asked again while that goes on."""
    is_told = bool(reference.checksum) and reference.checksum_kind not in _HASHERS
    asked = time.monotonic()
    for piece in source.read(reference, size, start, end):
        if is_told and time.monotonic() - asked > _UNPROVEN:
            for _ in source.read(reference, size, 0, 0):
                pass
            asked = time.monotonic()
        yield piece


def entry_of_found(found: Found, name: bytes) -> Entry:
    """The entry of what a URI names. Times that are not known, or that no entry can have, are
    now."""
    known = found.mtime_ns and abs(found.mtime_ns) < 1 << 63
    mtime_ns = found.mtime_ns if known else time.time_ns()
    if found.link is not None:
        return Entry(
            name, Kind.SYMLINK, 0o777, mtime_ns, len(found.link), 0, digests.of_link(found.link),
            target=found.link,
        )  # fmt: skip
    return entry_of(name, found.reference, found.size, mtime_ns, found.mode)
