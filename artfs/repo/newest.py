"""The highest version number of each artifact: the end of a series (`Store.last_of`).

Where the search begins is what this process has seen before, or else the artifact's floor, a record
that writers raise after each hundredth commit. It is never believed: see artfs-format(5), Numbers.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Iterable

from artfs.errors import ArtfsError, Damaged, ObjectNotFound, UnsupportedFormat
from artfs.format import keys, record
from artfs.format.record import FloorRecord
from artfs.store.base import Store
from artfs.types import ArtifactKey

log = logging.getLogger(__name__)

#: How far a floor lags behind, but for what is being committed: few enough for one listing.
STEP = 100
#: A floor that is no number, or above all versions.
_WRONG = -1


class Newest:
    """The newest versions of a store's artifacts. Blocking, thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._seen: dict[ArtifactKey, int] = {}
        self._floors: dict[ArtifactKey, int] = {}

    def is_any(self, key: ArtifactKey) -> bool:
        """Whether an artifact has ever had a version. Cheaper than `number`."""
        with self._lock:
            if key in self._seen:
                return True
        return self._store.exists(keys.version(key, 0))

    def number(self, key: ArtifactKey) -> int:
        """The highest version number ever given, or -1."""
        self.expect([key])
        with self._lock:
            known, hint = self._seen.get(key, -1), self._floors[key] or -1
        newest = self._store.last_of(functools.partial(keys.version, key), known, hint)
        with self._lock:
            if newest >= 0:
                self._seen[key] = max(newest, self._seen.get(key, -1))
            if newest < hint:
                self._floors[key] = _WRONG
        return newest

    def expect(self, artifacts: Iterable[ArtifactKey]) -> None:
        """Look up what `number` needs of several artifacts; once."""
        with self._lock:
            names = {keys.floor(key): key for key in artifacts if key not in self._floors}
        if names:
            try:
                found = self._store.get_all(names)
            except Damaged:
                found = {}
            with self._lock:
                for name, key in names.items():
                    self._floors[key] = _number(found[name]) if name in found else 0

    def reached(self, key: ArtifactKey, number: int) -> None:
        """A version was committed; raise the floor if it is time. Fails silently."""
        floor = number - number % STEP
        with self._lock:
            if self._floors.get(key, floor) >= floor:
                return
            self._floors[key] = floor
        try:
            self._raise(key, floor)
        except (ArtfsError, OSError) as error:
            log.info("the floor of %s stays where it is: %s", key, error)

    def _raise(self, key: ArtifactKey, floor: int) -> None:
        name = keys.floor(key)
        there, revision = _WRONG, None
        with contextlib.suppress(ObjectNotFound):
            data, revision = self._store.read_record(name)
            there = _number(data)
        if there < floor or not self._store.exists(keys.version(key, there)):
            self._store.compare_and_set(name, record.encode(FloorRecord(floor)), revision)


def _number(data: bytes) -> int:
    try:
        return record.decode(data, FloorRecord, "floor.json").version
    except (Damaged, UnsupportedFormat):
        return _WRONG
