"""What is asked of several objects in one round trip: which of them are there, or all they hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from artfs.errors import ObjectNotFound
from artfs.store.s3.transfer import Transfer

T = TypeVar("T")

_AT_ONCE = 16


def existing(transfer: Transfer, keys: Iterable[str]) -> set[str]:
    """Those of the keys that have an object. Raises `Unreachable`."""
    return set(_found(keys, transfer.info))


def get_all(transfer: Transfer, keys: Iterable[str]) -> dict[str, bytes]:
    """The objects that are there, by key. Raises `Damaged`, `Unreachable`."""
    return {key: whole.data for key, whole in _found(keys, transfer.get).items()}


def _found(keys: Iterable[str], ask: Callable[[str], T]) -> dict[str, T]:
    def answer(key: str) -> T | None:
        try:
            return ask(key)
        except ObjectNotFound:
            return None

    return _answers(keys, answer)


def those_of(keys: Iterable[str], is_so: Callable[[str], bool]) -> set[str]:
    """The keys of which something is so, asked for 16 at once. Raises what `is_so` raises."""
    return set(_answers(keys, lambda key: is_so(key) or None))


def _answers(keys: Iterable[str], ask: Callable[[str], T | None]) -> dict[str, T]:
    """What `ask` says to each of the keys, but for None."""
    question = _Question(keys, ask)
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
    return question.answers


class _Question(Generic[T]):
    def __init__(self, keys: Iterable[str], ask: Callable[[str], T | None]) -> None:
        self._left = list(keys)
        self._ask = ask
        self.size = len(self._left)
        self.answers: dict[str, T] = {}
        self.failure: Exception | None = None

    def work(self) -> None:
        """Ask for what is left, until nothing is, or something failed."""
        try:
            while self.failure is None:
                try:
                    key = self._left.pop()
                except IndexError:
                    return
                answer = self._ask(key)
                if answer is not None:
                    self.answers[key] = answer
        except Exception as error:
            self.failure = error
