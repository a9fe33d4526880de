"""Answers of a store that change now and then, each good for a moment.

Where the store does not answer, the last answer is still good: what is cached stays readable when
the server is gone, and nobody waits for it again and again. Belongs to the event loop.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, cast

import trio
from cachetools import LRUCache, TTLCache

from artfs.aio.threads import run_blocking, run_retrying
from artfs.errors import Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")
Args = TypeVarTuple("Args")

_ANSWERS = 1024
#: Seconds that somebody waits for a new answer where there is an old one.
_GRACE = 2.0
#: Questions under way at once; those to a server that hangs must not take the threads of others.
_PLACES = 8


class Answers:
    """Answers at most `seconds` old; waits up to `patience` seconds for a first one."""

    def __init__(self, seconds: float, patience: float) -> None:
        self._patience = patience
        self._fresh: TTLCache[object, object] = TTLCache(_ANSWERS, seconds, time.monotonic)
        self._last: LRUCache[object, object] = LRUCache(_ANSWERS)
        #: What threads found after nobody waited any more.
        self._late: dict[object, object] = {}
        self._asking: set[object] = set()
        self._places = trio.CapacityLimiter(_PLACES)

    async def ask(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        """What `fn` returns, called in a thread if the last answer is too old.

        Raises what `fn` does; but where it has answered before, not `Unreachable`.
        """
        key = (fn, args)
        if key in self._late:
            self._keep(key, self._late.pop(key))
        with contextlib.suppress(KeyError):  # no look before: it may grow too old between the two
            return cast("T", self._fresh[key])
        if key not in self._last:
            answer = await run_retrying(self._patience, "store", fn, *args, places=self._places)
            self._keep(key, answer)
            return answer
        last = cast("T", self._last[key])
        return last if key in self._asking else await self._ask_again(key, last, fn, args)

    def _keep(self, key: object, answer: object) -> None:
        self._fresh[key] = self._last[key] = answer

    async def _ask_again(
        self, key: object, last: T, fn: Callable[[*Args], T], args: tuple[*Args]
    ) -> T:
        """The new answer, or the `last` one, by now perhaps forgotten, if it does not come."""
        self._asking.add(key)
        waiting = True

        def call() -> None:
            try:
                answer = fn(*args)
                if waiting:
                    answers.append(answer)
                else:
                    self._late[key] = answer
            except Unreachable as error:
                log.info("%s", error)
                unreachable.append(error)
            finally:
                self._asking.discard(key)

        answers: list[T] = []
        unreachable: list[Unreachable] = []
        try:
            with trio.move_on_after(min(_GRACE, self._patience)):
                await run_blocking(call, places=self._places)
        finally:
            waiting = False
        answer = answers[0] if answers else last
        self._keep(key, answer)  # an old one for a moment: then it is asked again
        return answer
