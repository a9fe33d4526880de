"""How a mount ends when two want it to."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pyfuse3
import pytest
import trio

from artfs.errors import InUse, MountFailed
from artfs.fuse import session as sessions
from artfs.fuse.session import Session
from artfs.vfs.tree import Tree
from tests.handlers.recording import Recording


@pytest.fixture
def terminated(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What asks libfuse to end, which kills the process where there is no session any more."""
    calls: list[bool] = []
    monkeypatch.setattr(pyfuse3, "terminate", lambda: calls.append(True))
    return calls


def stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, ended: bool, error: Exception) -> None:
    """Ask a mount to end that cannot be detached; `ended`: its session is over by then."""
    session = Session(cast("Tree", Recording({}, writable=False)), tmp_path, "0" * 12)

    def refuse(_: Path) -> None:
        if ended:
            session._crashed = False  # as `run` does once the kernel has said good-bye
        raise error

    monkeypatch.setattr(sessions, "detach", refuse)
    trio.run(session._stop)


def test_a_mount_that_another_has_taken_down_meanwhile_is_not_ended_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, terminated: list[bool]
) -> None:
    gone = MountFailed(str(tmp_path), "cannot be unmounted: Invalid argument")
    stop(monkeypatch, tmp_path, ended=True, error=gone)
    assert terminated == []


def test_a_mount_that_is_in_use_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, terminated: list[bool]
) -> None:
    stop(monkeypatch, tmp_path, ended=False, error=InUse(str(tmp_path), "is in use"))
    assert terminated == [True]
