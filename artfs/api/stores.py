"""Open stores: one of each in a process, closed when nobody has it any more."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from artfs.repo.repository import Repository
from artfs.store.options import StoreOptions

_Key = tuple[str, Path, bool]
_open: weakref.WeakValueDictionary[_Key, Repository] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def absolute(url: str) -> str:
    """The URL of a store, which means the same wherever the process goes."""
    return url if "://" in url else os.path.abspath(url)


def opened(
    url: str, cache: Path, options: StoreOptions, *, create: bool = False, at_exit: bool = True
) -> Repository:
    """The store at a URL that is `absolute`, the same object for all who have it open with
    `at_exit`: nodes of directories that one has read are at hand for the others, and each pack
    takes one descriptor.

    `create`: make it where nothing is there. `at_exit`: close it when the process ends, which waits
    for who is using it. Raises as `Repository.open`.
    """
    key = (url, cache, at_exit)
    with _lock:
        repository = _open.get(key)
        if repository is None:
            repository = _open[key] = Repository.open(url, cache, create, options)
            repository.close_when_dropped(at_exit)
        return repository


def _forked() -> None:
    # A child must not use connections of its parent, nor wait for a lock that a thread there held.
    global _open, _lock
    _open, _lock = weakref.WeakValueDictionary(), threading.Lock()


os.register_at_fork(after_in_child=_forked)
