"""From a running draft to versions: what is in them, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from artfs.aio.fetch import Fetcher
from artfs.errors import ArtfsError, NotFound, ObjectNotFound, Unreachable
from artfs.format.record import VersionRecord
from artfs.repo import chunking
from artfs.repo.blobs import Blobs
from artfs.repo.commit import Committed, commit
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import BlobRef
from artfs.vfs.draft import commit as commits
from artfs.vfs.draft import rebasing
from artfs.vfs.draft.control import control_handlers
from artfs.vfs.draft.datafiles import DataFile
from artfs.vfs.draft.records import list_drafts
from artfs.vfs.draft.state import Ending, create_draft, open_draft
from artfs.vfs.draft.status import PathChange
from artfs.vfs.draft.threads import in_thread
from artfs.vfs.errors import FileSystemError, NoSpace
from artfs.vfs.tree import ROOT, Caller
from tests.unit.draft.conftest import BASE, BIG
from tests.unit.draft.drafts import (
    KEY,
    Fs,
    Listing,
    Node,
    digest_of,
    drafted,
    killed,
    lose,
    make_version,
    mount,
    repository_in,
    version_tree,
)


def digest(repository: Repository, number: int | None) -> bytes:
    assert number is not None
    return bytes.fromhex(repository.catalog.version(KEY, number).digest)


def numbers(repository: Repository) -> list[int]:
    return repository.catalog.versions(KEY)


def test_a_version_has_the_digest_of_its_tree_stored_from_nothing(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.pwrite(b"big", 400_000, b"y" * 100_000)
            await fs.truncate(b"big", 800_000)
            await fs.rename(b"d", b"D")
            await fs.link(b"big", b"D/hard")
            result = await fs.tree.commit()
            assert result.changed
            tree = await fs.walk()
            assert version_tree(repository, 1) == tree
            assert digest(repository, 1) == digest_of(tree, repository)
            assert os.listdir(fs.tree.draft.data) == []
            await fs.unlink(b"D/hard")
            assert (await fs.tree.commit()).version == 2
            assert digest(repository, 2) == digest_of(await fs.walk(), repository)

    trio.run(check)


@pytest.mark.parametrize("size", [3, 0, 999_999, 1_000_001])
def test_a_file_that_was_only_truncated(
    tmp_path: Path, repository: Repository, base: VersionRecord, size: int
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.truncate(b"big", size)
            assert (await fs.tree.commit()).version == 1
            assert version_tree(repository, 1)[b"big"].data == BIG[:size].ljust(size, b"\0")

    trio.run(check)


def test_what_is_changed_while_the_last_version_is_taken_over_is_in_the_next(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"d/f", b"1")
            at_the_instant(monkeypatch, lambda: fs.put(b"d/f", b"2"))
            await fs.tree.commit()
            monkeypatch.undo()
            await fs.tree.commit()
            assert version_tree(repository, 2)[b"d/f"].data == b"2"

    trio.run(check)


def test_a_commit_stores_only_what_changed(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.pwrite(b"big", 500_000, b"new")
            await fs.tree.commit()
            assert 0 < repository.catalog.version(KEY, 1).stored < len(BIG) / 2

    trio.run(check)


def work_of_a_commit(
    root: Path, tree: Listing, edit: Callable[[Fs], Awaitable[None]], patch: pytest.MonkeyPatch
) -> Counter[str]:
    """What a commit of `edit` over `tree` takes: nodes asked for, bytes read, bytes cut anew."""
    node, proved, add = Blobs.node, Blobs._proved, PackWriter._add
    work: Counter[str] = Counter()

    def count_nodes(blobs: Blobs, ref: BlobRef) -> Any:  # noqa: ANN401  # as they are
        work["nodes"] += 1
        return node(blobs, ref)

    def count_read(blobs: Blobs, refs: Sequence[BlobRef], decode: Any) -> Any:  # noqa: ANN401  # as they are
        work["read"] += sum(ref.size for ref in refs)
        return proved(blobs, refs, decode)

    def count_made(writer: PackWriter, kind: Any, data: Any, digest: bytes) -> Any:  # noqa: ANN401  # as they are
        work["cut"] += len(data)
        return add(writer, kind, data, digest)

    async def run() -> None:
        async with drafted(root, repository, base) as fs:
            await edit(fs)
            patch.setattr(Blobs, "node", count_nodes)
            patch.setattr(Blobs, "_proved", count_read)
            patch.setattr(PackWriter, "_add", count_made)
            await fs.tree.commit()
            patch.undo()

    with repository_in(root) as repository:
        base = make_version(repository, tree)
        trio.run(run)
    return work


def test_the_work_of_a_commit_grows_with_the_edits_and_not_with_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for count in (10, 100):
        tree = {b"d%d" % n: Node("d", mode=0o755) for n in range(count)}
        tree |= {b"d%d/f%d" % (n, m): Node("f", b"%d" % m) for n in range(count) for m in range(50)}
        root = tmp_path / f"{count}"
        found.append(work_of_a_commit(root, tree, lambda fs: fs.put(b"d5/f7", b"x"), monkeypatch))
    few, many = found
    assert 0 < many["nodes"] <= few["nodes"] + 10
    assert many["read"] + many["cut"] <= few["read"] + few["cut"] + 100_000


def test_the_work_of_a_commit_grows_with_what_was_written_and_not_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is around a write is read and cut anew; of the base, no file is copied ever."""
    size = 16 << 20
    tree = {b"big": Node("f", random.Random(2).randbytes(size))}
    work = work_of_a_commit(
        tmp_path, tree, lambda fs: fs.pwrite(b"big", size // 2, b"x" * 4096), monkeypatch
    )
    assert 4096 < work["cut"] < 16 * chunking.AVERAGE
    assert work["read"] < 32 * chunking.AVERAGE


def test_no_net_change_makes_no_version_and_a_later_one_has_the_new_modes(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            assert await fs.tree.commit() == commits.CommitResult(0, False, [])
            await fs.put(b"f", b"1")
            await fs.unlink(b"f")
            await fs.put(b"a", b"hello")
            await fs.chmod(b"a", 0o600)
            assert await fs.tree.commit() == commits.CommitResult(0, False, [])
            await fs.put(b"f", b"1")
            assert (await fs.tree.commit()).version == 1
            assert version_tree(repository, 1)[b"a"].mode == 0o600

    trio.run(check)


def test_a_draft_over_nothing(tmp_path: Path, repository: Repository) -> None:
    async def check() -> None:
        draft = create_draft(tmp_path, repository, KEY, None, type="model", description="first")
        fs = mount(draft)
        assert (await fs.tree.commit()).version is None
        await fs.put(b"f", b"1")
        assert (await fs.tree.commit()).version == 0
        assert repository.catalog.version(KEY, 0).description == "first"
        assert repository.catalog.artifact(KEY).type == "model"
        await fs.tree.close()

    trio.run(check)


def test_writes_during_a_commit_are_in_it_if_they_returned_before_and_never_lost(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    """Each writer writes its turn into the two ends of a file, long and short ones alternating."""

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            returned = {b"w0": 0, b"w1": 0, b"big": 0}
            done = trio.Event()

            async def writer(path: bytes) -> None:
                if not await fs.exists(path):
                    await fs.put(path, b"")
                handle = await fs.open(path)
                turn = 0
                while not done.is_set():
                    turn += 1
                    data = b"%09d\n" % turn * (20_000 if turn % 2 else 3)
                    await fs.tree.write(handle, 0, data)
                    await fs.tree.write(handle, 900_000, data[:10])
                    returned[path] = turn
                    await trio.lowlevel.checkpoint()
                await fs.close(handle)

            async with trio.open_nursery() as nursery:
                for path in returned:
                    nursery.start_soon(writer, path)
                while not all(returned.values()):
                    await trio.lowlevel.checkpoint()
                for _ in range(5):
                    before = dict(returned)
                    result = await fs.tree.commit()
                    assert result.version is not None
                    tree = version_tree(repository, result.version)
                    for path, turn in before.items():
                        ends = tree[path].data[:10], tree[path].data[900_000:900_010]
                        first, second = map(int, ends)
                        assert first >= second >= turn
                        assert first - second <= 1
                done.set()
            for path, turn in returned.items():
                assert int((await fs.read(path))[:10]) == turn
            await fs.tree.commit()
            assert version_tree(repository, numbers(repository)[-1]) == await fs.walk()

    trio.run(check)


def test_nobody_waits_long_while_a_commit_is_taken_over(
    tmp_path: Path, repository: Repository
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            for i in range(1500):
                await fs.put(b"%d" % i, b"%d" % i)
            longest = 0.0  # of the event loop's own work between two turns, whatever else runs here

            async def read_on() -> None:
                nonlocal longest
                while True:
                    began = time.thread_time()
                    await fs.tree.getattr(ROOT)
                    await trio.lowlevel.checkpoint()
                    longest = max(longest, time.thread_time() - began)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_on)
                await fs.tree.commit()
                nursery.cancel_scope.cancel()
            assert longest < 0.2

    trio.run(check)


@pytest.mark.expect_errors
def test_a_failed_commit_keeps_the_draft_and_can_be_repeated(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.pwrite(b"big", 10, b"one")

            def fail(*_: object, **__: object) -> None:
                raise Unreachable("store", "is away")

            monkeypatch.setattr(rebasing, "commit_version", fail)
            with pytest.raises(Unreachable):
                await fs.tree.commit()
            assert fs.tree.draft.record.error == "store: is away"
            await fs.pwrite(b"big", 12, b"two")
            monkeypatch.undo()
            fs = killed(fs, tmp_path)
            result = await fs.tree.commit()
            assert result.version == 1
            assert version_tree(repository, 1)[b"big"].data == BIG[:10] + b"ontwo" + BIG[15:]
            assert fs.tree.draft.record.error == ""
            assert numbers(repository) == [0, 1]
            await fs.tree.close()

    trio.run(check)


@pytest.mark.expect_errors
@pytest.mark.parametrize("is_edited", [False, True])
def test_a_commit_whose_answer_was_lost_makes_one_version(
    tmp_path: Path, repository: Repository, base: VersionRecord, is_edited: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"f", b"1")
            monkeypatch.setattr(rebasing, "commit_version", lose)
            with pytest.raises(Unreachable):
                await fs.tree.commit()
            monkeypatch.undo()
            fs = killed(fs, tmp_path)
            if is_edited:
                await fs.put(b"g", b"2")
            await fs.tree.commit()
            assert numbers(repository) == ([0, 1, 2] if is_edited else [0, 1])
            assert b"g" not in version_tree(repository, 1)
            assert version_tree(repository, numbers(repository)[-1]) == await fs.walk()
            await fs.tree.close()

    trio.run(check)


def test_a_pack_that_went_away_meanwhile_is_stored_again(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"f", b"1")
            await fs.link(b"f", b"hard")
            failures = [ObjectNotFound("packs/1"), ObjectNotFound("packs/2")]
            finish = PackWriter.finish

            def fail_first(writer: PackWriter) -> None:
                if failures:
                    raise failures.pop()
                finish(writer)

            monkeypatch.setattr(PackWriter, "finish", fail_first)
            assert (await fs.tree.commit()).version == 1
            assert not failures
            assert version_tree(repository, 1) == await fs.walk()

    trio.run(check)


def test_a_deeply_nested_tree(tmp_path: Path, repository: Repository) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            parent = ROOT
            for _ in range(1500):
                parent = (await fs.tree.mkdir(parent, b"d", 0o755, Caller(1, 1, 1, 0))).ino
            assert len((await fs.tree.status()).changes) == 1500
            assert (await fs.tree.commit()).version == 0
            root = repository.root(repository.catalog.version(KEY, 0))
            assert root.count == 1500

    trio.run(check)


def test_status(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.pwrite(b"big", 7, b"four")
            await fs.rename(b"d", b"D")
            await fs.rename(b"D/x", b"moved")
            await fs.unlink(b"D/e/f")
            await fs.mkdir(b"n")
            await fs.put(b"n/f", b"12345")
            await fs.chmod(b"a", 0o600)  # not in the digest
            expected = [
                PathChange("R", b"D", True, 0, b"d"),
                PathChange("D", b"D/e/f", False),
                PathChange("M", b"big", False, 4),
                PathChange("R", b"moved", False, 0, b"d/x"),
                PathChange("A", b"n", True),
                PathChange("A", b"n/f", False, 5),
            ]
            status = await fs.tree.status()
            assert status.changes == expected
            assert status.written == 9
            assert (await killed_status(fs, tmp_path)) == expected

    async def killed_status(fs: Fs, directory: Path) -> list[PathChange]:
        fs.tree.draft.close()
        again = mount(open_draft(directory, fs.tree.draft.record.id, repository))
        try:
            found = (await again.tree.status()).changes
            await again.tree.commit()
            assert (await again.tree.status()).changes == []
            await again.rename(b"moved", b"d")
            [change] = (await again.tree.status()).changes
            assert (change.change, change.old_path) == ("R", b"moved")
            await again.rename(b"d", b"moved")
            assert (await again.tree.status()).changes == []
        finally:
            await again.tree.close()
        return found

    trio.run(check)


class TestSync:
    def as_sync(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("artfs.vfs.draft.tree._is_sync", lambda pid: pid == 77)

    async def fsync_root(self, fs: Fs, pid: int) -> None:
        handle = await fs.tree.opendir(ROOT, Caller(0, 0, pid, 0))
        try:
            await fs.tree.fsyncdir(handle)
        finally:
            await fs.tree.releasedir(handle)

    def test_commits_when_the_program_is_called_sync(
        self, tmp_path: Path, repository: Repository, base: VersionRecord,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        self.as_sync(monkeypatch)

        async def check() -> None:
            async with drafted(tmp_path, repository, base) as fs:
                await fs.put(b"f", b"1")
                await self.fsync_root(fs, 76)
                assert numbers(repository) == [0]
                await self.fsync_root(fs, 77)
                assert numbers(repository) == [0, 1]

        trio.run(check)

    def test_does_not_commit_where_only_unmounting_does(
        self, tmp_path: Path, repository: Repository, base: VersionRecord,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        self.as_sync(monkeypatch)

        async def check() -> None:
            fs = mount(create_draft(tmp_path, repository, KEY, base), commit_on="unmount")
            await fs.put(b"f", b"1")
            await self.fsync_root(fs, 77)
            assert numbers(repository) == [0]
            await fs.tree.close()

        trio.run(check)

    @pytest.mark.expect_errors
    def test_tells_of_a_failure(
        self, tmp_path: Path, repository: Repository, base: VersionRecord,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        self.as_sync(monkeypatch)

        async def check() -> None:
            async with drafted(tmp_path, repository, base) as fs:
                await fs.put(b"f", b"1")
                make_version(repository, {**BASE, b"f": Node("f", b"2")}, base=0)
                with pytest.raises(FileSystemError, match="changed on both sides: f"):
                    await self.fsync_root(fs, 77)

        trio.run(check)

    def test_this_process_is_not_sync(self) -> None:
        from artfs.vfs.draft.tree import _is_sync

        assert not _is_sync(os.getpid())
        assert not _is_sync(0)


class TestEnd:
    def edited(self, tmp_path: Path, repository: Repository, **options: object) -> Fs:
        fs = mount(create_draft(tmp_path, repository, KEY, None), **options)
        trio.run(fs.put, b"f", b"1")
        return fs

    def test_unmounting_commits(self, tmp_path: Path, repository: Repository) -> None:
        fs = self.edited(tmp_path, repository)
        result = trio.run(fs.tree.finish)
        assert result is not None
        assert result.version == 0
        [info] = list_drafts(tmp_path)
        assert (info.state, info.record.base) == ("committed", 0)
        assert not (fs.tree.draft.path / "journal.sqlite").exists()
        with pytest.raises(NotFound, match="has ended"):
            open_draft(tmp_path, info.record.id, repository)

    @pytest.mark.parametrize(("option", "ending"), [("sync", ""), ("unmount,sync", "keep")])
    def test_keeping(
        self, tmp_path: Path, repository: Repository, option: str, ending: str
    ) -> None:
        fs = self.edited(tmp_path, repository, commit_on=option)
        fs.tree.ending = Ending(ending)
        assert trio.run(fs.tree.finish) is None
        [info] = list_drafts(tmp_path)
        assert (info.state, numbers(repository)) == ("kept", [])
        again = mount(open_draft(tmp_path, info.record.id, repository))
        assert trio.run(again.read, b"f") == b"1"
        trio.run(again.tree.close)

    def test_discarding(self, tmp_path: Path, repository: Repository) -> None:
        fs = self.edited(tmp_path, repository)
        assert trio.run(fs.tree.finish, "discard") is None
        assert list_drafts(tmp_path) == []
        assert numbers(repository) == []

    def test_drafts_of_one_second_are_listed_oldest_first(
        self, tmp_path: Path, repository: Repository
    ) -> None:
        made = []
        for _ in range(8):
            draft = create_draft(tmp_path, repository, KEY, None)
            made.append(draft.record.id)
            draft.close()
        assert [info.record.id for info in list_drafts(tmp_path)] == made
        assert all(0 <= info.age < 600 for info in list_drafts(tmp_path))

    @pytest.mark.expect_errors
    def test_a_failure_keeps_the_draft_with_its_error(
        self, tmp_path: Path, repository: Repository
    ) -> None:
        fs = self.edited(tmp_path, repository)
        make_version(repository, {b"f": Node("f", b"2")})
        with pytest.raises(ArtfsError):
            trio.run(fs.tree.finish)
        [info] = list_drafts(tmp_path)
        assert info.state == "kept"
        assert "changed on both sides: f" in info.record.error

    def test_control(self, tmp_path: Path, repository: Repository) -> None:
        fs = self.edited(tmp_path, repository)
        handlers = control_handlers(fs.tree)

        async def check() -> Listing:
            status = await handlers["status"]({})
            assert status["changes"] == [
                {"change": "A", "path": "f", "old_path": "", "is_dir": False, "size": 1}
            ]
            sync = await handlers["sync"]({"description": "by hand"})
            assert (sync["version"], sync["changed"]) == (0, True)
            assert repository.catalog.version(KEY, 0).description == "by hand"
            await handlers["stop"]({"mode": "discard"})
            await fs.tree.finish()
            return {}

        trio.run(check)
        assert list_drafts(tmp_path) == []


def test_the_kernel_is_asked_for_what_it_has_before_a_commit(
    tmp_path: Path, repository: Repository
) -> None:
    async def check() -> None:
        async def flush() -> None:
            await fs.put(b"late", b"1")

        fs = mount(create_draft(tmp_path, repository, KEY, None), flush_kernel=flush)
        await fs.tree.commit()
        assert version_tree(repository, 0) == {b"late": Node("f", b"1")}
        await fs.put(b"late", b"2")
        await fs.tree.finish()  # unmounted: the kernel has nothing any more
        assert version_tree(repository, 1) == {b"late": Node("f", b"2")}

    trio.run(check)


def test_the_base_is_untouched(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.pwrite(b"a", 0, b"J")
            await fs.tree.commit()
            assert version_tree(repository, 0) == BASE

    trio.run(check)


def at_the_instant(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[], Awaitable[object]]
) -> None:
    """Do something just when a commit has begun, before its thread has read anything."""

    async def act_first(fn: Callable[..., object], *args: object) -> object:
        if getattr(fn, "__name__", "") == "_store":
            await action()
        return await in_thread(fn, *args)

    monkeypatch.setattr(commits, "in_thread", act_first)


async def cut_short(fs: Fs) -> None:
    await fs.truncate(b"f", 3)
    await fs.truncate(b"f", 6)


async def empty(fs: Fs) -> None:
    await fs.truncate(b"f", 0)
    await fs.tree.statfs()  # collects what may be deleted


async def delete(fs: Fs) -> None:
    await fs.unlink(b"f")
    await fs.tree.statfs()


async def overwrite(fs: Fs) -> None:
    await fs.pwrite(b"f", 1, b"XY")


async def extend(fs: Fs) -> None:
    await fs.pwrite(b"f", 12, b"!")


@pytest.mark.parametrize(
    ("action", "left"),
    [
        (cut_short, b"012\0\0\0"),
        (empty, b""),
        (delete, None),
        (overwrite, b"0XY3456789"),
        (extend, b"0123456789\0\0!"),
    ],
)
@pytest.mark.parametrize("over_base", [False, True])
def test_what_happens_to_a_file_while_it_is_committed_happens_after_it(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, over_base: bool,
    action: Callable[[Fs], Awaitable[None]], left: bytes | None,
) -> None:  # fmt: skip
    async def check() -> None:
        base = make_version(repository, {b"f": Node("f", b"0000000000")}) if over_base else None
        async with drafted(tmp_path, repository, base) as fs:
            if over_base:
                await fs.pwrite(b"f", 1, b"123456789")
            else:
                await fs.put(b"f", b"0123456789")
            at_the_instant(monkeypatch, lambda: action(fs))
            result = await fs.tree.commit()
            assert result.version is not None
            assert version_tree(repository, result.version)[b"f"].data == b"0123456789"
            monkeypatch.undo()
            expected = {} if left is None else {b"f": Node("f", left)}
            assert await fs.walk() == expected
            fs = killed(fs, tmp_path)
            assert await fs.walk() == expected
            rows = fs.tree._journal.ask("SELECT ino FROM inodes WHERE ino > 1").fetchall()
            assert len(rows) == len(expected)
            await fs.tree.commit()
            assert version_tree(repository, numbers(repository)[-1]) == expected
            await fs.tree.close()

    trio.run(check)


@pytest.mark.expect_errors
def test_a_failed_commit_leaves_layers_that_truncation_cuts_too(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        tree = {b"f": Node("f", b"0" * 10)}
        async with drafted(tmp_path, repository, make_version(repository, tree)) as fs:

            def fail(*_: object, **__: object) -> None:
                raise Unreachable("store", "is away")

            monkeypatch.setattr(rebasing, "commit_version", fail)
            await fs.put(b"g", b"g" * 10)
            for text in (b"123", b"456"):
                await fs.pwrite(b"f", 2, text)
                with pytest.raises(Unreachable):
                    await fs.tree.commit()
            for path in (b"f", b"g"):
                await fs.truncate(path, 3)
                await fs.truncate(path, 5)
            monkeypatch.undo()
            expected = {b"f": Node("f", b"004\0\0"), b"g": Node("f", b"ggg\0\0")}
            assert await fs.walk() == expected
            await fs.tree.commit()
            assert version_tree(repository, 1) == await fs.walk() == expected

    trio.run(check)


@pytest.mark.expect_errors
def test_what_a_killed_daemon_had_written_unseen_stays_unseen_below_a_new_layer(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1234")
            await fs.unanswered(b"f", 4, b"secret")
            fs = killed(fs, tmp_path)

            def fail(*_: object, **__: object) -> None:
                raise Unreachable("store", "is away")

            monkeypatch.setattr(rebasing, "commit_version", fail)
            with pytest.raises(Unreachable):
                await fs.tree.commit()
            await fs.pwrite(b"f", 9, b"z")
            assert await fs.read(b"f") == b"1234" + bytes(5) + b"z"
            await fs.tree.close()

    trio.run(check)


def test_a_read_that_waits_for_the_store_while_all_is_committed_gets_what_was_written(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layer that it is to read from is not needed by anybody else then."""
    waits, goes_on = trio.Event(), trio.Event()
    drive = Fetcher.drive

    async def wait(fetch: Fetcher, steps: Any) -> object:  # noqa: ANN401  # whatever is walked
        waits.set()
        await goes_on.wait()
        return await drive(fetch, steps)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1" * 50_000)
            await fs.tree.commit()
            await fs.pwrite(b"f", 40_000, b"2" * 10_000)
            monkeypatch.setattr(Fetcher, "drive", wait)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(compare, fs)
                await waits.wait()
                monkeypatch.undo()
                await fs.tree.commit()
                goes_on.set()
            await fs.put(b"g", b"3")
            await fs.tree.commit()
            assert os.listdir(fs.tree.draft.data) == [], "it is deleted after all"

    async def compare(fs: Fs) -> None:
        assert await fs.read(b"f") == b"1" * 40_000 + b"2" * 10_000

    trio.run(check)


def test_a_commit_waits_for_a_long_write_under_way(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its version would hold half of the write, and the other half would be lost."""
    release = threading.Event()
    write = DataFile.write

    def slowly(file: DataFile, offset: int, data: bytes) -> None:
        write(file, offset, data[:1000])
        release.wait(30)
        write(file, offset + 1000, data[1000:])

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"0")
            handle = await fs.open(b"f")
            fs.tree._contents.pace.took(1.0)  # so that a thread writes
            monkeypatch.setattr(DataFile, "write", slowly)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fs.tree.write, handle, 0, b"1" * 200_000)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(fs.tree.commit)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert numbers(repository) == []
                release.set()
            await fs.close(handle)
            assert version_tree(repository, 0)[b"f"].data == b"1" * 200_000
            assert await fs.read(b"f") == b"1" * 200_000

    trio.run(check)


@pytest.mark.expect_errors
def test_a_commit_goes_by_no_id_that_is_not_on_disk(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or after a kill nobody would know the version that was made by it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def checked(*args: Any, commit_id: str, **options: Any) -> Committed:  # noqa: ANN401  # whatever it takes
        [info] = list_drafts(tmp_path)
        assert info.record.commit == commit_id
        return commit(*args, commit_id=commit_id, **options)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            monkeypatch.setattr("artfs.vfs.draft.state.write_record", refuse)
            with pytest.raises(NoSpace):
                await fs.tree.commit()
            monkeypatch.undo()
            monkeypatch.setattr(rebasing, "commit_version", checked)
            assert (await fs.tree.commit()).version == 0

    trio.run(check)


@pytest.mark.expect_errors
def test_a_commit_that_cannot_begin_leaves_nothing_frozen(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            for name in ("Results", "Snapshot.take"):
                monkeypatch.setattr(f"artfs.vfs.draft.commit.{name}", refuse)
                with pytest.raises(FileSystemError):
                    await fs.tree.commit()
                monkeypatch.undo()
                committer = fs.tree._committer
                assert (committer.reading, committer._garbage._frozen) == (0, 0)
                assert committer._contents.floors is None

    trio.run(check)


@pytest.mark.expect_errors
def test_after_a_lost_answer_the_draft_stands_on_what_is_stored(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try finds its version; what it stored beside it must be durable all the same."""

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            monkeypatch.setattr(rebasing, "commit_version", lose)
            with pytest.raises(Unreachable):
                await fs.tree.commit()
            monkeypatch.undo()
            await fs.chmod(b"f", 0o600)  # another node, the same digest
            await fs.tree.commit()
            await fs.put(b"g", b"2")
            await fs.tree.commit()
            assert version_tree(repository, 1) == await fs.walk()

    trio.run(check)
