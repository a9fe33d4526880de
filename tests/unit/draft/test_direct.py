"""Writes past the kernel's page cache, and a kernel that has pages all the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from artfs.repo.repository import Repository
from artfs.vfs.draft.foreign import Stale
from artfs.vfs.draft.state import create_draft
from artfs.vfs.tree import ROOT, Caller
from tests.unit.draft.drafts import KEY, ME, Fs, mount

PAGE = 4096
BOSS = Caller(uid=0, gid=0, pid=1, umask=0)


class Kernel:
    """What a draft tells the kernel to forget, and what the kernel does then."""

    def __init__(self) -> None:
        self.told: list[Stale] = []
        self.hands_over: Callable[[], Awaitable[object]] | None = None

    async def forget(self, stale: Stale) -> bool:
        self.told.append(stale)
        if self.hands_over is not None:
            await self.hands_over()
        return True


def with_draft(
    directory: Path, repository: Repository, check: Callable[[Fs, Kernel], Awaitable[None]]
) -> None:
    async def run() -> None:
        kernel = Kernel()
        fs = mount(create_draft(directory, repository, KEY, None), forget_kernel=kernel.forget)
        await check(fs, kernel)
        await fs.tree.close()

    trio.run(run)


async def make(fs: Fs, name: bytes = b"f", flags: int = os.O_WRONLY, mode: int = 0o644) -> int:
    _, opened = await fs.tree.create(ROOT, name, mode, flags, ME)
    assert opened.direct_io
    return opened.handle


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        (os.O_RDWR, 0o644),
        (os.O_WRONLY | os.O_DIRECT, 0o644),
        (os.O_WRONLY | os.O_SYNC, 0o644),
        (os.O_WRONLY | os.O_DSYNC, 0o644),
        (os.O_WRONLY, 0o4755),
    ],
)
def test_which_files_are_written_by_way_of_pages(
    tmp_path: Path, repository: Repository, flags: int, mode: int
) -> None:
    async def check(fs: Fs, kernel: Kernel) -> None:
        _, opened = await fs.tree.create(ROOT, b"f", mode, flags, ME)
        assert not opened.direct_io

    with_draft(tmp_path, repository, check)


def test_the_kernel_forgets_what_was_read_before_a_write(
    tmp_path: Path, repository: Repository
) -> None:
    async def check(fs: Fs, kernel: Kernel) -> None:
        handle = await make(fs)
        await fs.tree.write(handle, 0, b"one")
        await fs.tree.write(handle, 3, b"two")
        assert kernel.told == []
        assert await fs.read(b"f") == b"onetwo"
        await fs.tree.write(handle, 3, b"six")
        await fs.tree.write(handle, 6, b"ten")
        assert kernel.told == [Stale(files=[await fs.ino(b"f")])]
        assert await fs.read(b"f") == b"onesixten"

    with_draft(tmp_path, repository, check)


def test_the_kernel_forgets_what_was_written_by_way_of_pages(
    tmp_path: Path, repository: Repository
) -> None:
    async def check(fs: Fs, kernel: Kernel) -> None:
        handle = await make(fs)
        await fs.pwrite(b"f", 0, b"one")
        await fs.tree.write(handle, 0, b"two")
        assert len(kernel.told) == 1

    with_draft(tmp_path, repository, check)


@pytest.mark.parametrize("offset", [0, 1, 100, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
@pytest.mark.parametrize("size", [1, 100, PAGE, 3 * PAGE])
def test_a_page_that_the_kernel_hands_over_takes_nothing_of_a_write_away(
    tmp_path: Path, repository: Repository, offset: int, size: int
) -> None:
    async def check(fs: Fs, kernel: Kernel) -> None:
        handle = await make(fs)
        await fs.tree.write(handle, 0, b"." * 6 * PAGE)
        mapped = await fs.open(b"f")
        page = await fs.tree.read(mapped, PAGE, PAGE)

        async def hand_over() -> None:
            # Read before the write, and stored all over since.
            await fs.tree.write(mapped, PAGE, page.replace(b".", b"s"))

        kernel.hands_over = hand_over
        await fs.tree.write(handle, offset, b"w" * size)
        kernel.hands_over = None
        expected = bytearray(b"." * 6 * PAGE)
        expected[PAGE : 2 * PAGE] = b"s" * PAGE
        expected[offset : offset + size] = b"w" * size
        assert await fs.read(b"f") == expected
        await hand_over()
        assert (await fs.read(b"f"))[PAGE : 2 * PAGE] == b"s" * PAGE

    with_draft(tmp_path, repository, check)


@pytest.mark.parametrize(
    ("caller", "left"), [(ME, 0o755), (BOSS, 0o6755)], ids=["somebody", "root"]
)
def test_set_id_bits(tmp_path: Path, repository: Repository, caller: Caller, left: int) -> None:
    async def check(fs: Fs, kernel: Kernel) -> None:
        _, opened = await fs.tree.create(ROOT, b"f", 0o755, os.O_WRONLY, caller)
        await fs.chmod(b"f", 0o6755)
        await fs.tree.write(opened.handle, 0, b"x")
        assert stat.S_IMODE((await fs.stat(b"f")).mode) == left
        assert len(kernel.told) == (left == 0o755)

    with_draft(tmp_path, repository, check)
