"""Waiting for the lock of a file, with an end: who holds it may be stopped, or on a machine that is
gone (NFS)."""

from __future__ import annotations

import errno
import fcntl
import random
import time

_LONGEST_NAP = 0.02  # seconds


def lock(fd: int, patience: float) -> None:
    """Take the exclusive flock(2) of an open file. Raises `TimeoutError` after `patience` seconds,
    and `OSError`."""
    deadline = time.monotonic() + patience
    nap = 0.0005
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(errno.ETIMEDOUT, "another process holds the lock") from None
        time.sleep(nap * random.uniform(0.5, 1.0))  # spreads those who wait
        nap = min(nap * 2, _LONGEST_NAP)
