"""Versions by what they are called, each name looked up once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from artfs.api.stores import absolute, opened
from artfs.repo.repository import Repository
from artfs.store.options import StoreOptions
from artfs.types import Entry, Ref, parse_version

#: Root entries remembered, half a kilobyte each.
_ROOTS = 1024


class Versions:
    """The versions of one store, for readers.

    A ref means the same version for as long as this object lives, however its alias moves. Opens
    the store when it is first needed, and again after a fork. Any thread may call anything.
    """

    def __init__(
        self,
        url: str,
        cache: Path,
        options: StoreOptions,
        pinned: Mapping[str, int] | None = None,
    ) -> None:
        """`pinned`: version numbers of refs, as `pinned` of another one gives them."""
        self.url = absolute(url)
        self._cache = cache
        self._options = options
        self._pinned = dict(pinned or {})
        self._roots: dict[tuple[str, int], Entry] = {}
        self._opened: tuple[int, Repository] | None = None

    @property
    def repository(self) -> Repository:
        """The open store. Raises `NotFound`, `Unreachable`, and more as `Repository.open`."""
        there, pid = self._opened, os.getpid()
        if there is None or there[0] != pid:
            # Never the one of the process that forked us: its locks may be held for ever. Nothing
            # waits for a thread of somebody's that reads to the end.
            repository = opened(self.url, self._cache, self._options, at_exit=False)
            self._opened = there = (pid, repository)
        return there[1]

    @property
    def pinned(self) -> dict[str, int]:
        """What was looked up so far."""
        return dict(self._pinned)

    def forget(self) -> None:
        """Look every name up again."""
        self._pinned.clear()

    def root(self, ref: Ref) -> Entry:
        """The root of the version that a ref names. Raises `NotFound`, `Damaged`, `Unreachable`."""
        key = ref.artifact
        artifact = f"{key.entity}/{key.project}/{key.name}"
        number = None if ref.digest else parse_version(ref.selector)
        if number is None:
            number = self._pinned.get(ref.full)
        if number is None:
            # Of several threads that look it up at once, one decides for all.
            found = self.repository.catalog.resolve(ref).version
            number = self._pinned.setdefault(ref.full, found)
        root = self._roots.get((artifact, number))
        if root is None:
            root = self.repository.catalog.version(key, number).root.entry()
            if len(self._roots) >= _ROOTS:
                self._roots.clear()
            self._roots[artifact, number] = root
        return root
