"""What a mount does while no request is there."""

from __future__ import annotations

import errno
from typing import cast

import pyfuse3
import pytest

from artfs.fuse.operations import Operations
from artfs.vfs.tree import Tree


class Offering:
    """As much of a tree as `idle` asks."""

    writable = False

    def __init__(self, offer: tuple[int, bytes] | None) -> None:
        self.offer = offer
        self.taken: list[int] = []

    def preload_next(self) -> tuple[int, bytes] | None:
        return self.offer

    def preloaded(self, ino: int) -> None:
        self.taken.append(ino)


class Broken(Offering):
    def preload_next(self) -> tuple[int, bytes] | None:
        raise AssertionError("a fault of ours")


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, bytes]]:
    calls: list[tuple[int, int, bytes]] = []
    monkeypatch.setattr(pyfuse3, "notify_store", lambda *args: calls.append(args))
    return calls


def test_what_the_tree_offers_goes_to_the_kernel(stored: list[tuple[int, int, bytes]]) -> None:
    tree = Offering((7, b"data"))
    Operations(cast("Tree", tree)).idle()
    assert stored == [(7, 0, b"data")]
    assert tree.taken == [7]


def test_nothing_is_offered(stored: list[tuple[int, int, bytes]]) -> None:
    Operations(cast("Tree", Offering(None))).idle()
    assert stored == []


def test_an_inode_that_the_kernel_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOENT, "no such inode")

    monkeypatch.setattr(pyfuse3, "notify_store", unknown)
    tree = Offering((7, b"data"))
    Operations(cast("Tree", tree)).idle()
    assert tree.taken == []


@pytest.mark.expect_errors
def test_a_fault_does_not_end_the_mount(caplog: pytest.LogCaptureFixture) -> None:
    Operations(cast("Tree", Broken(None))).idle()
    [record] = caplog.records
    assert record.exc_info is not None
