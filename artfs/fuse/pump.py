"""How pyfuse3 waits for requests: without a turn of trio's scheduler where none is needed.

pyfuse3 has one task read a request and answer it while another already waits to read the next: two
turns of the scheduler and an epoll a request, twice what most handlers of ours take. Here the same
task goes on reading as long as its handlers do not wait for anything, and takes a request that is
there already without asking epoll; if a handler does wait, `pass_on` lets the next task read.

A program that works through files sends its next request some 10 us after an answer. Going to sleep
and being woken for it takes longer than that, mostly in the kernel, and in a virtual machine far
longer; so where requests have come that soon, the next one is awaited by polling. Opening, reading
and closing 20,000 small files that the kernel has cached takes 0.76 s so, and 1.45 s without, for
less processor time in all. Who lists a directory and looks at each name pauses between requests
that follow each other at once: so a few polls may be in vain before it is given up, and a pause of
a millisecond does without the scheduler. A mount that nobody uses polls nothing.

When the mount is gone, nobody waits for what is being read: then such handlers are cancelled, which
pyfuse3 would wait for, as long as a store that hangs is waited for.

Uses what `pyfuse3.asyncio` uses: pyfuse3 takes everything it needs of trio from its global `trio`.
"""

from __future__ import annotations

import select
import time
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Self, TypeVar

import pyfuse3
import trio

T = TypeVar("T")

#: Requests in a row that a task may take without a turn of the scheduler: about a millisecond.
_IN_A_ROW = 16
#: Seconds of polling for the next request.
_POLLED = 50e-6
#: How often in a row polling may be in vain before it is given up.
_HOPES = 4
#: Milliseconds to sleep after it without the scheduler: others may have to wait so long.
_BLOCKED = 1


class Baton:
    """The right to read from the session. Whoever gives it back may take it again at once; those
    who wait for it get it from `pass_on` only, which is called where a task is about to wait."""

    def __init__(self) -> None:
        #: Handlers that wait for something: their answers come by way of the scheduler.
        self.pending = 0
        #: Of each task that reads from the session; and those whose handlers wait, and only read.
        self.scopes: dict[trio.lowlevel.Task, trio.CancelScope] = {}
        self.reading: set[trio.CancelScope] = set()
        #: Whether all handlers only read.
        self.read_only = False
        self.is_over = False
        self._held = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    async def __aenter__(self) -> None:
        if not self._held:
            self._held = True
            return
        task = trio.lowlevel.current_task()
        self._waiting.append(task)

        def give_up(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    async def __aexit__(self, *_: object) -> None:
        self._held = False

    def pass_on(self) -> None:
        """Let the next task read, if nobody does."""
        if not self._held and self._waiting:
            self._held = True
            trio.lowlevel.reschedule(self._waiting.popleft())

    def finish(self) -> None:
        """The mount is gone, or about to go."""
        self.is_over = True
        for scope in self.reading:
            scope.cancel()


class _Nursery:
    """pyfuse3's nursery: each task that ends passes the baton on."""

    def __init__(self, baton: Baton, is_gone: Callable[[], bool]) -> None:
        self._baton = baton
        self._is_gone = is_gone
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:  # noqa: ANN401  # as trio's
        return await self._manager.__aexit__(*exc)

    def start_soon(
        self, fn: Callable[..., Awaitable[object]], *args: object, name: object = None
    ) -> None:
        self._nursery.start_soon(self._run, fn, args, name=name)

    async def _run(self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        task = trio.lowlevel.current_task()
        try:
            with trio.CancelScope() as self._baton.scopes[task]:
                await fn(*args)
        finally:
            del self._baton.scopes[task]
            self._baton.pass_on()
            if self._is_gone():
                self._baton.finish()


class LowLevel:
    """The part of `trio.lowlevel` that pyfuse3 uses."""

    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)
    notify_closing = staticmethod(trio.lowlevel.notify_closing)

    def __init__(self, baton: Baton, idle: Callable[[], None]) -> None:
        self._baton = baton
        self._idle = idle
        self._poll: select.poll | None = None
        self._row = 0
        #: How often more to poll.
        self._hopes = 0

    def is_gone(self) -> bool:
        """Whether the kernel has ended the session; then it sends no requests."""
        return self._poll is not None and any(e & select.POLLERR for _, e in self._poll.poll(0))

    async def wait_readable(self, fd: int) -> None:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
        self._row += 1
        if self._row >= _IN_A_ROW:
            self._row = 0
            await trio.lowlevel.checkpoint()
        if self._poll.poll(0):
            return
        start = time.perf_counter()
        if self._hopes and not self._baton.pending:
            self._idle()
            while time.perf_counter() - start < _POLLED:
                if self._poll.poll(0):
                    self._hopes = _HOPES
                    return
            self._hopes -= 1
            if self._poll.poll(_BLOCKED):
                return
        self._row = 0
        await trio.lowlevel.wait_readable(fd)
        if time.perf_counter() - start < 2 * _POLLED:
            self._hopes = _HOPES


class _Trio:
    """Stands for `trio` in pyfuse3."""

    ClosedResourceError = trio.ClosedResourceError
    from_thread = trio.from_thread

    def __init__(self, baton: Baton, idle: Callable[[], None]) -> None:
        self._baton = baton
        self.lowlevel = LowLevel(baton, idle)

    def Lock(self) -> Baton:  # as it is called in trio
        return self._baton

    def open_nursery(self) -> _Nursery:
        return _Nursery(self._baton, self.lowlevel.is_gone)


_baton = Baton()


def install(idle: Callable[[], None], *, read_only: bool) -> None:
    """Make pyfuse3 wait this way; before `pyfuse3.main`. Where programs ask so much that they are
    awaited by polling, `idle` is called first. `read_only`: no handler changes anything."""
    _baton.read_only = read_only
    pyfuse3.trio = _Trio(_baton, idle)  # type: ignore[attr-defined]  # as pyfuse3.asyncio.enable does


def finish() -> None:
    """The session is over: have it wait for no handler that only reads."""
    _baton.finish()


@types.coroutine
def passing_on(
    steps: Coroutine[Any, Any, T], trap: object, *, reads: bool = False
) -> Generator[Any, Any, T]:
    """Await a coroutine that has begun and waits for `trap`; let another task read requests. If it
    only `reads`, it is cancelled when the session is over."""
    _baton.pass_on()
    _baton.pending += 1
    scope = None
    if reads or _baton.read_only:
        scope = _baton.scopes.get(trio.lowlevel.current_task())
    if scope is not None:
        _baton.reading.add(scope)
        if _baton.is_over:
            scope.cancel()
    try:
        while True:
            try:
                value, failure = (yield trap), None
            except BaseException as error:  # trio throws what the wait came to
                value, failure = None, error
            try:
                trap = steps.send(value) if failure is None else steps.throw(failure)
            except StopIteration as end:
                result: T = end.value
                return result
    finally:
        _baton.pending -= 1
        if scope is not None:
            _baton.reading.discard(scope)
