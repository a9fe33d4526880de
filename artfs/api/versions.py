"""Versions by what they are called, each name looked up once; open stores, one a process each."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path

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
        self.url = url if "://" in url else str(Path(url).absolute())
        self._cache = cache
        self._options = options
        self._pinned = dict(pinned or {})
        self._roots: dict[tuple[str, int], Entry] = {}
        self._opened: tuple[int, Repository] | None = None

    @property
    def repository(self) -> Repository:
        """The open store. Raises `NotFound`, `Unreachable`, and more as `Repository.open`."""
        opened, pid = self._opened, os.getpid()
        if opened is None or opened[0] != pid:
            # Never the one of the process that forked us: its locks may be held for ever.
            self._opened = opened = (pid, _shared(self.url, self._cache, self._options))
        return opened[1]

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


_open: weakref.WeakValueDictionary[tuple[str, Path], Repository] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _shared(url: str, cache: Path, options: StoreOptions) -> Repository:
    """The store at a URL, the same object for all who have it open: nodes of directories that one
    has read are at hand for the others, and each pack takes one descriptor."""
    with _lock:
        repository = _open.get((url, cache))
        if repository is None:
            repository = Repository.open(url, cache, options=options)
            # Nothing waits for a thread of somebody's that reads to the end.
            repository.close_when_dropped(at_exit=False)
            _open[url, cache] = repository
        return repository


def _forked() -> None:
    global _open, _lock
    _open, _lock = weakref.WeakValueDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_forked)
