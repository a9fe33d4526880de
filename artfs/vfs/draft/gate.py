"""Who may pass while what: long writes, and the moment in which a commit begins; changes, and the
one in which the journal's log begins anew.

A long write is made by a thread, so the event loop goes on meanwhile, and a commit that began then
would find half of it. `closed` waits for the writes under way and keeps new ones waiting.

A change that is about to be made waits for a `Pause` to end, so that it does not wait in the event
loop for the lock that a thread has on the journal. Those who read go on. A change that is half made
goes on too, and may have to wait there after all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio


class Gate:
    """Many pass, or one closes. Event loop only."""

    def __init__(self) -> None:
        self._passing = 0
        self._closing = 0
        self._changed = trio.Condition()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """While the gate is open."""
        if self._closing:
            async with self._changed:
                while self._closing:
                    await self._changed.wait()
        self._passing += 1
        try:
            yield
        finally:
            self._passing -= 1
            if self._closing:
                await self._notify()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """While nobody passes."""
        self._closing += 1
        try:
            async with self._changed:
                while self._passing:
                    await self._changed.wait()
            yield
        finally:
            self._closing -= 1
            await self._notify()

    async def _notify(self) -> None:
        with trio.CancelScope(shield=True):
            async with self._changed:
                self._changed.notify_all()


class Pause:
    """On or over. Event loop only."""

    def __init__(self) -> None:
        self._over: trio.Event | None = None
        #: Whether nobody should begin to change anything.
        self.is_on = False

    async def over(self) -> None:
        """Wait until it is."""
        while self._over is not None:
            await self._over.wait()

    @contextmanager
    def on(self) -> Iterator[None]:
        """One at a time."""
        over = self._over = trio.Event()
        self.is_on = True
        try:
            yield
        finally:
            self._over = None
            self.is_on = False
            over.set()
