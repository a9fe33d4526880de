"""The disk below a draft refuses something, at each step in turn, once or from then on.

Who is told of an error finds what was before or what was to be, nothing else, or no answer at all;
and what was answered for is there after the draft is mounted again, and in the next version.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from artfs.repo.repository import Repository
from artfs.vfs.draft import punching
from artfs.vfs.draft.state import create_draft, open_draft
from artfs.vfs.errors import FileSystemError
from tests.unit.draft.conftest import BASE, BIG
from tests.unit.draft.drafts import (
    KEY,
    Fs,
    Listing,
    make_version,
    mount,
    repository_in,
    version_tree,
)

_CALLS = (
    "open", "pwrite", "write", "pread", "fsync", "fdatasync", "posix_fallocate", "truncate",
    "unlink", "rename", "statvfs", "fstat", "stat", "lseek", "scandir",
)  # fmt: skip
#: There are hundreds of steps: they are dealt out to so many tests, which run side by side.
_SHARES = 4


class Disk:
    """Counts what is asked of the disk below `root` while it is `on`; refuses it at step `fatal`,
    or with `for_good` from there on."""

    def __init__(self, root: Path, code: int, fatal: int = 0, for_good: bool = False) -> None:
        self.on = False
        self.steps = 0
        self._root = str(root)
        self._code = code
        self._fatal = fatal
        self._for_good = for_good

    def refuses(self) -> bool:
        """Whether the step that is taken now is refused."""
        if not self.on:
            return False
        self.steps += 1
        return self.steps == self._fatal or (0 < self._fatal < self.steps and self._for_good)

    def call(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """A system call that has a file or a path first."""

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as `real`
            if self.on and self._is_below(args[0]) and self.refuses():
                raise OSError(self._code, os.strerror(self._code))
            return real(*args, **kwargs)

        return call

    def _is_below(self, file: object) -> bool:
        path = str(file)
        if isinstance(file, int):
            path = os.readlink(f"/proc/self/fd/{file}")
        return path.startswith(self._root)

    def connection(self) -> type[sqlite3.Connection]:
        """SQLite's, where a refusal undoes the transaction, as it may."""
        disk = self

        class Connection(sqlite3.Connection):
            def _step(self) -> None:
                if disk.refuses():
                    if self.in_transaction:
                        super().execute("ROLLBACK")
                    raise sqlite3.OperationalError("disk I/O error")

            def execute(self, *args: Any) -> sqlite3.Cursor:  # noqa: ANN401  # as it is
                self._step()
                return super().execute(*args)

            def executemany(self, *args: Any) -> sqlite3.Cursor:  # noqa: ANN401  # as it is
                self._step()
                return super().executemany(*args)

        return Connection

    @contextlib.contextmanager
    def below_all(self) -> Iterator[None]:
        """Everybody uses this disk."""
        connect, connection = sqlite3.connect, self.connection()
        with pytest.MonkeyPatch.context() as patch:
            for name in _CALLS:
                patch.setattr(os, name, self.call(getattr(os, name)))
            patch.setattr(punching, "_punch", self.call(punching._punch))
            patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=connection))
            yield


class Work:
    """Something of everything, as small steps, each of which outlives the daemon once it is
    answered."""

    def __init__(self, fs: Fs) -> None:
        self._fs = fs
        self._tree = fs.tree
        self._new = self._big = 0

    def steps(self) -> list[Callable[[], Awaitable[object]]]:
        fs, tree = self._fs, self._tree
        return [
            self._make,
            lambda: tree.write(self._new, 0, BIG[:70_000]),
            lambda: fs.mkdir(b"made"),
            self._open,
            lambda: tree.write(self._big, 700_000, b"in the middle" * 100),
            lambda: tree.fsync(self._big, False),
            lambda: fs.truncate(b"big", 700_500),
            lambda: fs.truncate(b"big", 800_000),
            lambda: fs.link(b"new", b"d/hard"),
            tree.commit,
            lambda: tree.write(self._big, 100, b"after it"),
            lambda: fs.rename(b"d", b"made/d"),
            lambda: fs.rename(b"made/d/e/f", b"a"),
            lambda: fs.symlink(b"made", b"sym"),
            lambda: fs.chmod(b"made/d/x", 0o600),
            lambda: fs.truncate(b"new", 0),
            lambda: tree.write(self._new, 5, b"small"),
            lambda: tree.fsync(self._new, False),
            lambda: fs.unlink(b"made/d/x"),
            tree.statfs,
            tree.commit,
        ]

    async def _make(self) -> None:
        self._new = await self._fs.create(b"new")

    async def _open(self) -> None:
        self._big = await self._fs.open(b"big")


class Ended(NamedTuple):
    """`done` steps were answered; then there was `error`. `shown` is what the mount shows then,
    None if it cannot tell."""

    done: int
    error: Exception | None
    shown: Listing | None


async def work(fs: Fs, disk: Disk, seen: list[Listing] | None = None) -> Ended:
    """Take the steps until one fails; what the mount shows after each of them goes to `seen`."""
    done = 0
    for step in Work(fs).steps():
        disk.on = True
        try:
            await step()
        except Exception as error:
            disk.on = False
            return Ended(done, error, await shown(fs))
        disk.on = False
        done += 1
        if seen is not None:
            seen.append(await fs.walk())
    return Ended(done, None, await fs.walk())


async def shown(fs: Fs) -> Listing | None:
    try:
        return await fs.walk()
    except FileSystemError:
        return None


def begin(root: Path) -> tuple[Repository, Fs]:
    repository = repository_in(root)
    base = make_version(repository, BASE)
    return repository, mount(create_draft(root / "state", repository, KEY, base))


def check(root: Path, disk: Disk, seen: list[Listing]) -> None:
    """`seen[n]`: what is right when n steps are done."""
    with disk.below_all():
        repository, fs = begin(root)
        ended = trio.run(work, fs, disk)
        where = f"step {disk.steps} of the disk, {ended.done} of work: {ended.error}"
        assert ended.shown is None or ended.shown in seen[ended.done : ended.done + 2], where
        draft = fs.tree.draft
        draft.abandon()
        fs.tree._data.close_all()
        fs = mount(open_draft(root / "state", draft.record.id, repository))
        found = trio.run(fs.walk)
        assert found in seen[ended.done : ended.done + 2], where
        version = trio.run(fs.tree.commit).version
        assert version is not None
        assert version_tree(repository, version) == found, where
        trio.run(fs.tree.close)


@pytest.mark.slow
@pytest.mark.expect_errors
@pytest.mark.parametrize("first", range(1, 1 + _SHARES))
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_the_disk_refuses_each_step(tmp_path: Path, code: int, for_good: bool, first: int) -> None:
    disk, seen = Disk(tmp_path / "dry" / "state", code), [BASE]
    with disk.below_all():
        _, fs = begin(tmp_path / "dry")
        assert trio.run(work, fs, disk, seen).error is None
        trio.run(fs.tree.close)
    assert disk.steps > 200
    # Who is refused for good has been refused that once, and goes on to fail: fewer will do.
    for fatal in range(first, disk.steps + 1, _SHARES * (3 if for_good else 1)):
        root = tmp_path / f"{fatal}"
        check(root, Disk(root / "state", code, fatal, for_good), seen)
