"""Keeping the journal's log short while the mount goes on.

The bulk is copied in a thread; then there is little left to copy, and the log can begin anew,
unless a commit reads it. That is the disk's time as well: who changes something waits for it, and
who only reads does not. Event loop only.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable

from artfs.vfs.draft.gate import Pause
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.space import Space
from artfs.vfs.draft.threads import in_thread
from artfs.vfs.errors import FileSystemError

log = logging.getLogger(__name__)

#: Seconds until the next try after the log could not be emptied.
_AGAIN = 5.0


class ShortLog:
    """Empties the log of a journal, when it is long. `is_read`: whether a commit reads it; `save`
    ends the open transaction; `go_on` is called after each pause."""

    def __init__(
        self,
        journal: Journal,
        space: Space,
        pause: Pause,
        is_read: Callable[[], bool],
        save: Callable[[], None],
        go_on: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._space = space
        self._pause = pause
        self._is_read = is_read
        self._save = save
        self._go_on = go_on
        self._busy = False
        self._not_before = 0.0

    async def keep(self) -> None:
        """Empty it if it is long; others return at once meanwhile.

        Nothing is lost where that fails, on a full disk: all of it is in the log."""
        self._journal.has_grown = False
        if not self._journal.wants_checkpoint(self._space.is_low):
            return
        if self._busy or self._is_read() or time.monotonic() < self._not_before:
            return
        self._busy = True
        try:
            await in_thread(self._journal.checkpoint)
            self._journal.log_changed()
            if not self._is_read():
                await self._restart()
        except (sqlite3.Error, OSError, FileSystemError) as error:
            log.warning("%s: the log cannot be emptied: %s", self._journal.path, error)
            self._not_before = time.monotonic() + _AGAIN
        finally:
            self._busy = False

    async def _restart(self) -> None:
        try:
            with self._pause.on():
                self._save()  # so that no transaction is open
                await in_thread(self._journal.restart_log)
        finally:
            self._journal.log_changed()
            self._go_on()
