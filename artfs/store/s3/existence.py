"""Which of several objects are there, in one round trip."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from artfs.errors import ObjectNotFound
from artfs.store.s3.transfer import Transfer

_AT_ONCE = 16


def existing(transfer: Transfer, keys: Iterable[str]) -> set[str]:
    """Those of the keys that have an object. Raises `Unreachable`."""

    def is_there(key: str) -> bool:
        try:
            transfer.info(key)
        except ObjectNotFound:
            return False
        return True

    return those_of(keys, is_there)


def those_of(keys: Iterable[str], is_so: Callable[[str], bool]) -> set[str]:
    """The keys of which something is so, asked for 16 at once. Raises what `is_so` raises."""
    question = _Question(keys, is_so)
    # Not by an executor, as in `writer`. What the caller's thread can do needs no other.
    others = [
        threading.Thread(target=question.work) for _ in range(min(_AT_ONCE, question.size) - 1)
    ]
    for thread in others:
        thread.start()
    question.work()
    for thread in others:
        thread.join()
    if question.failure is not None:
        raise question.failure
    return question.found


class _Question:
    def __init__(self, keys: Iterable[str], is_so: Callable[[str], bool]) -> None:
        self._left = list(keys)
        self._is_so = is_so
        self.size = len(self._left)
        self.found: set[str] = set()
        self.failure: Exception | None = None

    def work(self) -> None:
        """Ask for what is left, until nothing is, or something failed."""
        try:
            while self.failure is None:
                try:
                    key = self._left.pop()
                except IndexError:
                    return
                if self._is_so(key):
                    self.found.add(key)
        except Exception as error:
            self.failure = error
