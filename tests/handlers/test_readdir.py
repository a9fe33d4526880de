"""Listing a directory: what the kernel is given, and what the tree is told of it."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import cast

import pyfuse3
import pytest
import trio
from pyfuse3 import EntryAttributes, FUSEError, ReaddirToken

from artfs.errors import Unreachable
from artfs.fuse.operations import Operations
from artfs.vfs.tree import Attrs, DirEntry, Tree
from tests.handlers.recording import Recording, ask

TOKEN = cast("ReaddirToken", object())


def listed(*positions: int) -> list[DirEntry]:
    """Entries at positions; the one at N is called bN and has the inode 100 + N."""
    attrs = {n: Attrs(100 + n, stat.S_IFDIR | 0o755, 2, 0, 0, 0, 0, 0, 0) for n in positions}
    return [DirEntry(b"b%d" % n, attrs[n], n) for n in positions]


class Kernel:
    """Takes as many entries of a listing as there is room for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[tuple[bytes, int, int]] = []

    def reply(self, token: object, name: bytes, attrs: EntryAttributes, position: int) -> bool:
        assert token is TOKEN
        if len(self.taken) == self.room:
            return False
        self.taken.append((name, attrs.st_ino, position))
        return True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Kernel]:
    def make(room: int) -> Kernel:
        made = Kernel(room)
        monkeypatch.setattr(pyfuse3, "readdir_reply", made.reply)
        return made

    return make


@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_a_listing_goes_on_until_its_end(writable: bool, kernel: Callable[[int], Kernel]) -> None:
    taking = kernel(10)
    tree = Recording({"readdir": [listed(3, 5), listed(8), []]}, writable=writable)
    ask(tree, "readdir", 34, 2, TOKEN)
    assert taking.taken == [(b"b3", 103, 3), (b"b5", 105, 5), (b"b8", 108, 8)]
    asked = [call for call in tree.calls if call[0] == "readdir"]
    assert asked == [("readdir", 34, 2), ("readdir", 34, 5), ("readdir", 34, 8)]
    # Only a tree that can lose inodes has to know which of them the kernel holds.
    told = [call[1] for call in tree.calls if call[0] == "looked_up"]
    assert told == ([103, 105, 108] if writable else [])


def test_a_listing_stops_where_the_kernel_is_full(kernel: Callable[[int], Kernel]) -> None:
    taking = kernel(1)
    tree = Recording({"readdir": [listed(3, 5), listed(8), []]})
    ask(tree, "readdir", 34, 0, TOKEN)
    assert taking.taken == [(b"b3", 103, 3)]
    # What the kernel has not taken is no lookup, and nothing more is fetched for it.
    assert tree.calls == [("readdir", 34, 0), ("looked_up", 103)]


def test_an_error_behind_the_first_page_waits(kernel: Callable[[int], Kernel]) -> None:
    taking = kernel(10)
    tree = Recording({"readdir": [listed(3), Unreachable("store", "timed out")]})
    ask(tree, "readdir", 34, 0, TOKEN)
    assert taking.taken == [(b"b3", 103, 3)]
    with pytest.raises(FUSEError) as raised:
        ask(Recording({"readdir": [Unreachable("store", "timed out")]}), "readdir", 34, 3, TOKEN)
    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_a_list_that_a_tree_gives_again(writable: bool, kernel: Callable[[int], Kernel]) -> None:
    """What is remembered of a read-only tree's list is what is in it; a draft's may change."""
    page = listed(3, 5)
    tree = Recording({"readdir": [page, [], page, []]}, writable=writable)
    operations = Operations(cast("Tree", tree))
    taking = kernel(10)
    trio.run(operations.readdir, 34, 0, TOKEN)
    if writable:
        page[0] = listed(4)[0]
    trio.run(operations.readdir, 34, 0, TOKEN)
    first = (b"b4", 104, 4) if writable else (b"b3", 103, 3)
    assert taking.taken[2:] == [first, (b"b5", 105, 5)]
