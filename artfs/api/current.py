"""The runs of this process that are going on; the youngest is the one meant where none is named."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from artfs.api.place import Place, find_place

if TYPE_CHECKING:
    from artfs.api.run import Run

_lock = threading.Lock()
_runs: list[Run] = []


def begin(run: Run) -> None:
    """Make a run the current one."""
    with _lock:
        _runs.append(run)


def end(run: Run) -> None:
    """The run has finished. Idempotent."""
    with _lock:
        if run in _runs:
            _runs.remove(run)


def runs() -> list[Run]:
    """All that go on, the oldest first."""
    with _lock:
        return list(_runs)


def current() -> Run | None:
    """The current run, if any."""
    with _lock:
        return _runs[-1] if _runs else None


def current_place() -> Place:
    """Where the current run is, else what the environment says. Raises as `find_place`."""
    run = current()
    return find_place() if run is None else run.place
