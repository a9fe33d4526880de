"""The runs of this process that are going on, and which of them is meant where none is named: the
youngest that this thread has begun, else the youngest."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from artfs.api.place import Place, find_place

if TYPE_CHECKING:
    from artfs.api.run import Run

_lock = threading.Lock()
_runs: list[tuple[int, int, Run]] = []  # with the process and the thread that have begun it


def begin(run: Run) -> None:
    """Make a run the current one."""
    with _lock:
        _runs.append((os.getpid(), threading.get_ident(), run))


def end(run: Run) -> None:
    """The run has finished. Idempotent."""
    with _lock:
        _runs[:] = [item for item in _runs if item[2] is not run]


def own_runs() -> list[Run]:
    """All that this process has begun, and not one that it was forked from; the oldest first."""
    with _lock:
        return [run for process, _, run in _runs if process == os.getpid()]


def runs_of_thread() -> list[Run]:
    """All that this thread of this process has begun, the oldest first."""
    with _lock:
        me = (os.getpid(), threading.get_ident())
        return [run for process, thread, run in _runs if (process, thread) == me]


def current() -> Run | None:
    """The current run, if any."""
    with _lock:
        own = [run for _, thread, run in _runs if thread == threading.get_ident()]
        return next(iter(own[-1:] or [run for _, _, run in _runs[-1:]]), None)


def current_place() -> Place:
    """Where the current run is, else what the environment says. Raises as `find_place`."""
    run = current()
    return find_place() if run is None else run.place


def _forked() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_forked)
