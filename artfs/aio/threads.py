"""The one way from the event loop to blocking code: threads under artfs' own limits.

What runs in such a thread is `artfs.repo` and `artfs.store`, which are thread-safe; it touches no
state of the event loop. A wait that is given up leaves its thread running to its end: reads have no
side effects, and the thread keeps its place under the limit until then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

from artfs.errors import Refused, Unreachable

if TYPE_CHECKING:
    from outcome import Outcome

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: Reads wait for a device or a network, not for a core: enough threads to keep either busy.
LIMIT = 16
#: What may wait for its turn as a hint; a hint that comes late is worth nothing.
_HINTS = 4

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_places = trio.CapacityLimiter(LIMIT)


async def run_blocking(
    fn: Callable[[*Args], T], *args: *Args, places: trio.CapacityLimiter = _places
) -> T:
    """What `fn` returns or raises, run in a thread, of which there are as many as `places`.

    Raises `Unreachable` if there can be no thread now. As
    `trio.to_thread.run_sync(abandon_on_cancel=True)`, but for what that does for functions which
    call back into trio or read context variables: 20 of its 56 us, at every read from a disk.
    """
    task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
    job = object()
    try:
        places.acquire_on_behalf_of_nowait(job)
    except trio.WouldBlock:
        await places.acquire_on_behalf_of(job)
    waiting = True

    def give_up(_: object) -> trio.lowlevel.Abort:
        nonlocal waiting
        waiting = False
        return trio.lowlevel.Abort.SUCCEEDED

    def finish(outcome: Outcome[T]) -> None:
        places.release_on_behalf_of(job)
        if waiting:
            trio.lowlevel.reschedule(task, outcome)

    def deliver(outcome: Outcome[T]) -> None:
        # RunFinishedError: the mount was given up meanwhile.
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(finish, outcome)

    try:
        trio.lowlevel.start_thread_soon(lambda: fn(*args), deliver)
    except RuntimeError as error:  # as many threads as the machine, or a container, allows
        places.release_on_behalf_of(job)
        raise Unreachable("this machine", f"starts no more threads: {error}") from error
    result: T = await trio.lowlevel.wait_task_rescheduled(give_up)
    return result


async def arrived(future: Future[T]) -> T:
    """What a future comes to, awaited without a thread; one that is given up is cancelled."""
    task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
    waiting = True

    def give_up(_: object) -> trio.lowlevel.Abort:
        nonlocal waiting
        waiting = False
        future.cancel()
        return trio.lowlevel.Abort.SUCCEEDED

    def wake() -> None:
        if waiting:
            trio.lowlevel.reschedule(task)

    def done(_: Future[T]) -> None:
        # RunFinishedError: the mount was given up meanwhile.
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(wake)

    future.add_done_callback(done)
    await trio.lowlevel.wait_task_rescheduled(give_up)
    return future.result()


async def run_retrying(
    patience: float,
    what: str,
    fn: Callable[[*Args], T],
    *args: *Args,
    places: trio.CapacityLimiter = _places,
) -> T:
    """What `fn` returns, run in a thread, again and again as `retrying`."""

    async def attempt() -> T:
        return await run_blocking(fn, *args, places=places)

    return await retrying(patience, what, attempt)


async def retrying(patience: float, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, tried with growing pauses while the store is unreachable.

    Raises `Unreachable` after `patience` seconds, also where it has not come back by then, and at
    once if it wants not to be asked for longer; and `Refused` at once, because asking again would
    not help.
    """
    failure: Unreachable | None = None
    pause = _FIRST_PAUSE
    with trio.move_on_after(patience) as scope:
        while True:
            try:
                return await attempt()
            except Refused:
                raise
            except Unreachable as error:
                failure = error
            if trio.current_time() + failure.after > scope.deadline:
                raise failure
            await trio.sleep(max(pause, failure.after))
            pause = min(pause * 2, _LONGEST_PAUSE)
    raise failure or Unreachable(what, f"has not answered for {patience:g} s")


class Hints:
    """Calls nobody waits for, such as prefetching; dropped when too many are under way."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_HINTS)

    def give(self, fn: Callable[[*Args], object], *args: *Args) -> bool:
        """Start `fn` in a thread, unless busy. Whatever it raises is dropped with it."""
        if not self._free.acquire(blocking=False):
            return False
        try:
            trio.lowlevel.start_thread_soon(lambda: fn(*args), lambda _: self._free.release())
        except RuntimeError:  # see `run_blocking`
            self._free.release()
            return False
        return True


class Turns:
    """Calls nobody waits for, in `threads` threads; as many as `most` wait for their turn."""

    def __init__(self, threads: int, most: int) -> None:
        self._threads = threads
        self._most = most
        self._running = 0
        self._lock = threading.Lock()
        self._calls: deque[tuple[float, Callable[[], object]]] = deque()

    def give(self, fn: Callable[[*Args], None], *args: *Args) -> bool:
        """Have `fn` called, in its turn; False if it will not be. What it raises is dropped."""
        with self._lock:
            if len(self._calls) >= self._most:
                return False
            self._calls.append((time.monotonic(), lambda: fn(*args)))
            if self._running == self._threads:
                return True
            self._running += 1
        try:
            trio.lowlevel.start_thread_soon(self._work, lambda _: None)
        except RuntimeError:  # see `run_blocking`
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._calls.clear()
                    return False
        return True

    def are_late(self, seconds: float) -> bool:
        """Whether the next call has waited longer for its turn."""
        with self._lock:
            return bool(self._calls) and time.monotonic() - self._calls[0][0] > seconds

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._running -= 1
                    return
                _, call = self._calls.popleft()
            with contextlib.suppress(Exception):
                call()
