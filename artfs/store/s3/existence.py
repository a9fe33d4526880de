"""Which of several objects are there, in one round trip."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from artfs.errors import ObjectNotFound
from artfs.store.s3.transfer import Transfer

_AT_ONCE = 16


def existing(transfer: Transfer, keys: Sequence[str]) -> set[str]:
    """Those of the keys that have an object. Raises `Unreachable`."""
    question = _Question(transfer, keys)
    # Not by an executor, as in `writer`. What the caller's thread can do needs no other.
    others = [threading.Thread(target=question.work) for _ in range(min(_AT_ONCE, len(keys)) - 1)]
    for thread in others:
        thread.start()
    question.work()
    for thread in others:
        thread.join()
    if question.failure is not None:
        raise question.failure
    return question.found


class _Question:
    def __init__(self, transfer: Transfer, keys: Sequence[str]) -> None:
        self._transfer = transfer
        self._left = list(keys)
        self.found: set[str] = set()
        self.failure: Exception | None = None

    def work(self) -> None:
        """Ask for what is left, until nothing is, or something failed."""
        try:
            while self._left and self.failure is None:
                with contextlib.suppress(IndexError, ObjectNotFound):
                    key = self._left.pop()
                    self._transfer.info(key)
                    self.found.add(key)
        except Exception as error:
            self.failure = error
