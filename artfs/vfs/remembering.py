"""The catalog as a mount asks it: from threads, with patience, and each answer good for a moment.

Belongs to the event loop. Failures are not remembered, so what is new is there at once; an answer
is remembered for as long as the store does not give a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import msgspec

from artfs.aio.answers import Answers
from artfs.format.record import VersionRecord
from artfs.repo.catalog import Catalog
from artfs.repo.labels import Labels
from artfs.types import LATEST, ArtifactKey, Entry, Ref

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: Versions whose sizes one statfs reads at most; a bigger project shows less than it has at first.
_COUNTED = 200


class Version(msgspec.Struct, frozen=True):
    """A version as a mount keeps it; the rest of its record is read again when asked for."""

    key: ArtifactKey
    number: int
    root: Entry

    def __str__(self) -> str:
        return f"{self.key}:v{self.number}"


class Contents(msgspec.Struct, frozen=True):
    """What an artifact's directory shows: its versions, and its aliases (`latest` too)."""

    versions: list[int]
    aliases: dict[str, int]


class Remembering:
    """Answers from the catalog, at most `seconds` old; waits up to `timeout` for a store."""

    def __init__(self, catalog: Catalog, seconds: float, timeout: float) -> None:
        self._catalog = catalog
        self._answers = Answers(seconds, timeout)
        self._sizes: dict[tuple[ArtifactKey, int], tuple[int, int]] = {}

    async def _ask(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        return await self._answers.ask(fn, *args)

    async def record(self, key: ArtifactKey, number: int) -> VersionRecord:
        """Raises `NotFound`, also of a deleted version."""
        return await self._ask(self._catalog.version, key, number)

    async def labels(self, key: ArtifactKey, number: int) -> Labels:
        """What people say of a version now. Raises `NotFound`, also of a deleted version."""
        return await self._ask(self._labels, key, number)

    def _labels(self, key: ArtifactKey, number: int) -> Labels:
        return self._catalog.labels.of(key, self._catalog.version(key, number))

    async def version(self, key: ArtifactKey, number: int) -> Version:
        """Raises `NotFound`, also of a deleted version."""
        return Version(key, number, (await self.record(key, number)).root.entry())

    async def artifacts(self, entity: str, project: str) -> list[ArtifactKey]:
        """By name."""
        return await self._ask(self._catalog.artifacts, entity, project)

    async def require(self, key: ArtifactKey) -> None:
        """Raises `NotFound` if an artifact has no version."""
        await self._ask(self._catalog.require, key)

    async def alias(self, key: ArtifactKey, alias: str) -> int:
        """Where an alias points. Raises `NotFound`, also where it points at a deleted version."""
        return await self._ask(self._alias, key, alias)

    def _alias(self, key: ArtifactKey, alias: str) -> int:
        if alias == LATEST:
            return self._catalog.latest(key)
        return self._catalog.resolve(Ref(key, alias)).version

    async def contents(self, key: ArtifactKey) -> Contents:
        """What an artifact's directory shows."""
        return await self._ask(self._contents, key)

    def _contents(self, key: ArtifactKey) -> Contents:
        versions = self._catalog.versions(key)
        there = set(versions)
        aliases = {a: n for a, n in sorted(self._catalog.aliases(key).items()) if n in there}
        if versions:
            aliases[LATEST] = versions[-1]
        return Contents(versions, aliases)

    async def totals(self, entity: str, project: str) -> tuple[int, int]:
        """(bytes, paths) of a project's versions, their roots among them."""
        return await self._ask(self._totals, entity, project)

    def _totals(self, entity: str, project: str) -> tuple[int, int]:
        size = files = counted = 0
        for key in self._catalog.artifacts(entity, project):
            there = list(reversed(self._catalog.versions(key)))
            unread = [n for n in there if (key, n) not in self._sizes][: _COUNTED - counted]
            counted += len(unread)
            for version in self._catalog.records(key, unread):
                root = version.root
                self._sizes[key, version.version] = root.size, root.count
            for known in filter(None, (self._sizes.get((key, n)) for n in there)):
                size, files = size + known[0], files + known[1] + 1
        return size, files
