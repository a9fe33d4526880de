"""The runs of this process that are going on, and which of them is meant where none is named: the
youngest that this thread has begun, else the youngest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from artfs.api.place import Place, find_place

if TYPE_CHECKING:
    from artfs.api.run import Run

_lock = threading.Lock()
_runs: list[tuple[int, Run]] = []  # with the thread that has begun it


def begin(run: Run) -> None:
    """Make a run the current one."""
    with _lock:
        _runs.append((threading.get_ident(), run))


def end(run: Run) -> None:
    """The run has finished. Idempotent."""
    with _lock:
        _runs[:] = [item for item in _runs if item[1] is not run]


def runs() -> list[Run]:
    """All that go on, the oldest first."""
    with _lock:
        return [run for _, run in _runs]


def current() -> Run | None:
    """The current run, if any."""
    with _lock:
        own = [run for thread, run in _runs if thread == threading.get_ident()]
        return next(iter(own[-1:] or [run for _, run in _runs[-1:]]), None)


def current_place() -> Place:
    """Where the current run is, else what the environment says. Raises as `find_place`."""
    run = current()
    return find_place() if run is None else run.place
