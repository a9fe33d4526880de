"""Emptying the journal's log, in a thread, while the mount goes on.

First the log is copied into the database, which takes long, and transactions are made meanwhile.
Then it begins anew: SQLite writes a header with another salt and syncs it before the first frame
that goes behind it, or a reset of the machine could leave old frames that count again. All of this
waits for the disk, so none of it may fall to the event loop's connection. By itself SQLite would do
so: whoever writes next after all has been copied begins the log anew.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from artfs.vfs.draft.wal import Log

#: A log longer than this is cut when it begins anew.
_LOG_MAX = 64 << 20
#: Milliseconds for a query of the event loop to end. A commit reads far longer; it is not awaited.
_READERS_PATIENCE = 50


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """A connection that leaves transactions to its user, in whichever thread that is."""
    mode = "ro" if read_only else "rwc"
    uri = f"file:{_quoted(path)}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA cache_size = -8192")
    return db


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class Emptying:
    """Of the log of the journal at `path`. One thread at a time."""

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        #: Reads the log, so that it does not begin anew.
        self._pin: sqlite3.Connection | None = None
        #: Held while it does: whoever begins a transaction then waits, and finds the log as it is.
        self.restarting = threading.Lock()

    def copy(self) -> None:
        """Copy the log, as it is now, into the database. Blocks. Raises `sqlite3.Error`."""
        self.close()
        self._pin = connect(self._path, read_only=True)
        self._pin.execute("BEGIN")
        self._pin.execute("SELECT 1 FROM counters").fetchone()
        db = self._writer()
        try:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            db.close()
            self._log.copied()

    def restart(self) -> None:
        """Copy what is new, and begin the log anew if nobody reads it, and no transaction is open.
        Blocks, briefly if `copy` has just been run. Raises `sqlite3.Error`."""
        way = "TRUNCATE" if self._log.length > _LOG_MAX else "RESTART"
        with self.restarting:
            self.close()
            db = self._writer()
            try:
                is_busy = db.execute(f"PRAGMA wal_checkpoint({way})").fetchone()[0]
                if not is_busy:
                    # SQLite goes back to the beginning with the next transaction that changes a
                    # page. This one leaves a number out.
                    db.execute("UPDATE counters SET value = value + 1 WHERE name = 'seq'")
            finally:
                db.close()
                self._log.copied()

    def _writer(self) -> sqlite3.Connection:
        db = connect(self._path)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA busy_timeout = {_READERS_PATIENCE}")
        return db

    def close(self) -> None:
        """Let the log go. Idempotent."""
        if self._pin is not None:
            self._pin.close()
            self._pin = None
