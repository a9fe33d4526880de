"""What the draft answers, operation by operation; the model test compares whole trees."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from artfs.format.record import VersionRecord
from artfs.repo.repository import Repository
from artfs.vfs.draft import journal
from artfs.vfs.draft.content import WritePace
from artfs.vfs.draft.datafiles import DataFile
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.state import create_draft
from artfs.vfs.errors import (
    Exists,
    FileTooLarge,
    IsADirectory,
    NameTooLong,
    NeverSupported,
    NoEntry,
    NoSpace,
    NotEmpty,
)
from artfs.vfs.tree import ROOT, Caller, Change
from tests.support.disks import filled, small_disk
from tests.unit.draft.conftest import BASE, BIG
from tests.unit.draft.drafts import KEY, ME, WRITE, Fs, drafted, killed, mount


def data_bytes(fs: Fs) -> int:
    return sum(os.stat(e).st_blocks * 512 for e in os.scandir(fs.tree.draft.data))


def test_an_untouched_draft_shows_its_base(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            assert await fs.walk() == BASE

    trio.run(check)


def test_writing_into_a_big_file_stores_and_fetches_only_what_is_written(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.stat(b"big")
            fetched = []
            monkeypatch.setattr(repository.blobs, "read", lambda ref: fetched.append(ref))
            await fs.pwrite(b"big", 500_000, b"new")
            assert not fetched
            assert data_bytes(fs) <= 8192
            monkeypatch.undo()
            expected = BIG[:500_000] + b"new" + BIG[500_003:]
            assert await fs.read(b"big") == expected

    trio.run(check)


def test_what_was_cut_off_never_comes_back(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.pwrite(b"big", 100, b"y" * 1000)
            await fs.truncate(b"big", 50)
            await fs.truncate(b"big", 5000)
            assert await fs.read(b"big") == BIG[:50] + bytes(4950)
            await fs.truncate(b"big", 0)
            await fs.pwrite(b"big", 10, b"z")
            assert await fs.read(b"big") == bytes(10) + b"z"

    trio.run(check)


def test_inode_numbers_survive_renames_and_commits(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"new", b"1")
            paths = [b"d", b"d/e", b"d/e/f", b"new"]
            before = [(await fs.stat(path)).ino for path in paths]
            await fs.rename(b"d", b"D")
            await fs.rename(b"new", b"D/new")
            await fs.tree.commit()
            paths = [b"D", b"D/e", b"D/e/f", b"D/new"]
            assert [(await fs.stat(path)).ino for path in paths] == before
            assert len(set(before)) == 4

    trio.run(check)


def test_new_inodes_belong_to_the_caller_and_a_setgid_directory_hands_its_group_down(
    tmp_path: Path, repository: Repository
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            other = Caller(uid=5, gid=6, pid=1, umask=0o027)
            attrs = await fs.tree.mkdir(ROOT, b"d", 0o777, other)
            assert (attrs.uid, attrs.gid, stat.S_IMODE(attrs.mode)) == (5, 6, 0o750)
            await fs.chmod(b"d", 0o2777)
            inner = await fs.tree.mkdir(attrs.ino, b"e", 0o777, ME)
            assert (inner.uid, inner.gid, stat.S_IMODE(inner.mode)) == (1000, 6, 0o2777)
            file, _ = await fs.tree.create(attrs.ino, b"f", 0o666, WRITE, ME)
            assert (file.uid, file.gid, stat.S_IMODE(file.mode)) == (1000, 6, 0o666)

    trio.run(check)


@pytest.mark.parametrize(("mode", "left"), [(0o6777, 0o777), (0o6767, 0o2767)])
def test_set_id_bits_go_where_the_kernel_does_not_see_to_it(
    tmp_path: Path, repository: Repository, mode: int, left: int
) -> None:
    """The kernel sends the mode that a write, truncation or chown leaves; only O_TRUNC is ours."""

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            await fs.chmod(b"f", mode)
            for change in (Change(uid=7), Change(), Change(size=0), Change(mtime_ns=5)):
                await fs.tree.setattr(await fs.ino(b"f"), change, None)
            await fs.pwrite(b"f", 0, b"2")
            for caller, expected in ((Caller(0, 0, 1, 0), mode), (ME, left)):
                opened = await fs.tree.open(await fs.ino(b"f"), WRITE | os.O_TRUNC, caller)
                await fs.close(opened.handle)
                assert stat.S_IMODE((await fs.stat(b"f")).mode) == expected, caller

    trio.run(check)


def test_times(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            ino = await fs.ino(b"a")
            attrs = await fs.tree.setattr(ino, Change(atime_ns=123, mtime_ns=456_000_000_789), None)
            assert (attrs.atime_ns, attrs.mtime_ns) == (123, 456_000_000_789)
            assert attrs.ctime_ns > 10**18
            before = await fs.stat(b"d")
            await fs.put(b"d/new", b"")
            assert (await fs.stat(b"d")).mtime_ns > before.mtime_ns
            before = await fs.stat(b"d/new")
            await fs.rename(b"d/new", b"d/newer")
            after = await fs.stat(b"d/newer")
            assert after.ctime_ns > before.ctime_ns
            assert after.mtime_ns == before.mtime_ns

    trio.run(check)


def test_link_counts(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.link(b"a", b"d/hard")
            assert (await fs.stat(b"a")).nlink == (await fs.stat(b"d/hard")).nlink == 2
            await fs.pwrite(b"d/hard", 0, b"J")
            assert await fs.read(b"a") == b"Jello"
            await fs.unlink(b"a")
            assert (await fs.stat(b"d/hard")).nlink == 1
            await fs.mkdir(b"n")
            await fs.mkdir(b"n/1")
            await fs.mkdir(b"n/2")
            assert (await fs.stat(b"n")).nlink == 4
            await fs.mkdir(b"m")
            await fs.rename(b"n/1", b"m/1")
            await fs.rename(b"n/2", b"m/1")
            assert (await fs.stat(b"n")).nlink == 2
            assert (await fs.stat(b"m")).nlink == 3
            # Nobody has counted the base's: 1 says so.
            await fs.mkdir(b"d/more")
            assert (await fs.stat(b"d")).nlink == 1

    trio.run(check)


def test_an_unlinked_open_file_lives_until_it_is_closed(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            handles = {path: await fs.open(path) for path in (b"big", b"a")}
            await fs.put(b"other", b"other")
            await fs.unlink(b"big")
            await fs.rename(b"other", b"a")
            await fs.tree.write(handles[b"big"], 0, b"still here")
            assert await fs.tree.read(handles[b"big"], 0, 12) == b"still here" + BIG[10:12]
            assert await fs.tree.read(handles[b"a"], 0, 12) == b"hello"
            assert not await fs.exists(b"big")
            for handle in handles.values():
                await fs.close(handle)
            await fs.tree.statfs()  # df shows the room at once
            assert len(os.listdir(fs.tree.draft.data)) == 1
            assert fs.tree._journal.ask("SELECT count(*) FROM dead").fetchone() == (0,)

    trio.run(check)


def test_errors(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            with pytest.raises(NameTooLong):
                await fs.create(b"n" * 256)
            await fs.close(await fs.create(b"n" * 255))
            with pytest.raises(Exists):
                await fs.mkdir(b"d")
            with pytest.raises(NotEmpty):
                await fs.rmdir(b"d")
            with pytest.raises(IsADirectory):
                await fs.unlink(b"d")
            with pytest.raises(Exists):
                await fs.rename(b"a", b"d/x", 1)
            with pytest.raises(NoEntry):
                await fs.rename(b"a", b"none", 2)
            with pytest.raises(NeverSupported):  # the kernel must not ask before every write
                await fs.tree.getxattr(ROOT, b"security.capability")
            with pytest.raises(NeverSupported):
                await fs.tree.setxattr(ROOT, b"user.x", b"1")

    trio.run(check)


def test_what_the_disk_below_finds_too_large(tmp_path: Path, repository: Repository) -> None:
    def write(self: DataFile, offset: int, data: bytes) -> None:
        raise OSError(errno.EFBIG, "File too large")

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            handle = await fs.create(b"f")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(DataFile, "write", write)
                with pytest.raises(FileTooLarge):
                    await fs.tree.write(handle, 1 << 50, b"x")
            await fs.close(handle)
            assert await fs.read(b"f") == b""

    trio.run(check)


def test_what_was_deleted_makes_room(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it is being deleted for somebody else."""

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"old", bytes(1 << 20))
            await fs.put(b"new", b"")
            ino = (await fs.stat(b"old")).ino
            await fs.unlink(b"old")
            fs.tree.forget([(ino, 1)])
            monkeypatch.setattr(fs.tree._space, "_free", lambda: 0 if data_bytes(fs) else 1 << 30)
            handle = await fs.open(b"new", WRITE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fs.tree.statfs)
                nursery.start_soon(fs.tree.write, handle, 0, b"new")
            await fs.close(handle)
            assert await fs.read(b"new") == b"new"

    trio.run(check)


def test_a_full_disk_is_told_to_the_writer_and_making_room_still_works(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            handle = await fs.create(b"f")
            free = 1 << 20
            monkeypatch.setattr(fs.tree._space, "_free", lambda: free)
            fs.tree._space._ample_until = 0.0  # what it knew is out of date
            with pytest.raises(NoSpace):
                await fs.tree.write(handle, 0, b"x")
            with pytest.raises(NoSpace):
                await fs.mkdir(b"dir")
            await fs.unlink(b"a")
            await fs.truncate(b"big", 0)
            free = 1 << 30
            await fs.tree.write(handle, 0, b"x")
            await fs.close(handle)
            assert await fs.read(b"f") == b"x"

    trio.run(check)


@pytest.mark.parametrize("way", ["unlink", "empty", "cut"])
def test_a_file_written_in_many_places_can_be_deleted_on_a_full_disk(
    tmp_path: Path, repository: Repository, base: VersionRecord, way: str
) -> None:
    """Noting that its ranges go takes no more room than there is for that."""

    async def check(disk: Path) -> None:
        async with drafted(disk, repository, base) as fs:
            handle = await fs.open(b"big")
            for n in range(4000):
                await fs.tree.write(handle, 2_000_000 + n * 4099, b"x")
                if n % 100 == 0:
                    await fs.tree.fsync(handle, False)
            await fs.close(handle)
            with filled(disk):
                if way == "unlink":
                    await fs.unlink(b"big")
                else:
                    await fs.truncate(b"big", 0 if way == "empty" else 1)
                await fs.unlink(b"a")  # notes it, too
            for _ in range(30):
                await fs.chmod(b"d", 0o700)
            await fs.tree.statfs()
            left = fs.tree._journal.ask("SELECT count(*) FROM extents").fetchone()
            assert (left, data_bytes(fs)) == ((0,), 0)

    with small_disk(tmp_path / "small", 32 << 20) as disk:
        trio.run(check, disk)


def test_what_finds_no_room_to_be_noted_is_not_done(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    """Even deleting comes to an end on a full disk, where a commit reads the journal and its log
    cannot begin anew; what is refused then has not happened, and what was answered before has."""
    count = 2000

    async def check(disk: Path) -> None:
        fs = mount(create_draft(disk, repository, KEY, base))
        for n in range(count):
            await fs.put(b"%d" % n, b"")
        deleted = 0
        with fs.tree._committer.snapshot(), filled(disk):
            with contextlib.suppress(NoSpace):
                while deleted < count:
                    await fs.tree.unlink(ROOT, b"%d" % deleted, ME)
                    deleted += 1
            assert 0 < deleted < count
            assert await fs.exists(b"%d" % deleted)
        fs = killed(fs, disk)
        names = {entry.name for entry in await fs.list(b"")}
        assert names == {*(b"%d" % n for n in range(deleted, count)), b"a", b"big", b"d", b"link"}
        await fs.tree.close()

    with small_disk(tmp_path / "small", 64 << 20) as disk:
        trio.run(check, disk)


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_a_listing_shows_each_name_once_while_others_come_and_go(
    tmp_path: Path, repository: Repository, base: VersionRecord, page: int
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            for i in range(300):
                await fs.put(b"new%d" % i, b"")
            handle = await fs.tree.opendir(ROOT, ME)
            seen: list[bytes] = []
            position = i = 0
            while got := (await fs.tree.readdir(handle, position))[:page]:
                seen += [entry.name for entry in got]
                position = got[-1].position
                i += 1
                await fs.put(b"later%d" % i, b"")
                await fs.put(b"tmp", b"%d" % i)
                await fs.rename(b"tmp", b"a")  # as an editor saves
                await fs.unlink(b"new%d" % (i % 300)) if i < 300 else None
                await fs.put(b"new%d" % (i % 300), b"") if i < 300 else None
            assert len(seen) == len(set(seen))
            assert {b"a", b"big", b"d", b"link", b"new0"} <= set(seen)
            assert not [name for name in seen if name.startswith(b"later")]

    trio.run(check)


def test_a_listing_can_be_taken_up_again_where_it_was(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            for i in range(5):
                await fs.put(b"new%d" % i, b"")
            every = await fs.list(b"")
            handle = await fs.tree.opendir(ROOT, ME)
            for i, entry in enumerate(every[:-1]):
                [following, *_] = await fs.tree.readdir(handle, entry.position)
                assert following == every[i + 1]

    trio.run(check)


def test_a_new_directory_in_the_place_of_a_removed_one_is_empty(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            for path in (b"d/e/f", b"d/x"):
                await fs.unlink(path)
            for path in (b"d/e", b"d"):
                await fs.rmdir(path)
            await fs.mkdir(b"d")
            assert await fs.list(b"d") == []
            await fs.tree.statfs()

    trio.run(check)


def test_names_of_a_new_directory_are_found_when_not_all_are_in_memory_any_more(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_DENTRIES", 8)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.mkdir(b"d")
            for n in range(20):
                await fs.put(b"d/%d" % n, b"%d" % n)
            await fs.unlink(b"d/3")
            await fs.rename(b"d/4", b"d/new")
            assert [n for n in range(20) if not await fs.exists(b"d/%d" % n)] == [3, 4]
            assert await fs.read(b"d/new") == b"4"
            with pytest.raises(Exists):
                await fs.mkdir(b"d/0")

    trio.run(check)


def test_special_files_live_in_the_draft_and_are_named_when_left_out(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.mknod(b"d/pipe", stat.S_IFIFO | 0o600)
            await fs.mknod(b"d/e/sock", stat.S_IFSOCK | 0o600)
            assert stat.S_ISFIFO((await fs.stat(b"d/pipe")).mode)
            assert (await fs.tree.status()).left_out == [b"d/e/sock", b"d/pipe"]
            result = await fs.tree.commit()
            assert (result.changed, result.left_out) == (False, [b"d/e/sock", b"d/pipe"])

    trio.run(check)


def test_memory_does_not_grow_with_files_visited_or_written(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.vfs.draft.inodes._KEPT", 32)

    async def check() -> None:
        fs = mount(create_draft(tmp_path, repository, KEY, None))
        for i in range(300):
            await fs.put(b"f%d" % i, b"x")
        await fs.walk()
        assert len(fs.tree._inodes._alive) <= 32
        await fs.tree.close()

    trio.run(check)


def test_parts_of_a_long_write_that_threads_make_at_once(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the kernel sends a long O_DIRECT write that makes a file longer."""
    parts = [b"1" * 200_000, b"2" * 200_000]
    first_is_written, second_is_written = threading.Event(), threading.Event()
    write = DataFile.write

    def overtaken(file: DataFile, offset: int, data: bytes) -> None:
        write(file, offset, data)
        if bytes(data[:1]) == b"1":
            first_is_written.set()
            second_is_written.wait(30)
        else:
            second_is_written.set()

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            handle = await fs.create(b"f")
            fs.tree._contents.pace.took(1.0)  # so that threads write
            monkeypatch.setattr(DataFile, "write", overtaken)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fs.tree.write, handle, 0, parts[0])
                await trio.to_thread.run_sync(first_is_written.wait)
                await fs.tree.write(handle, 200_000, parts[1])
            await fs.close(handle)
            assert await fs.read(b"f") == b"".join(parts)

    trio.run(check)


def test_a_file_is_emptied_when_nobody_writes_to_it(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel lets O_TRUNC overtake a write; what was before that one must not come back."""
    release = threading.Event()
    write = DataFile.write

    def slowly(file: DataFile, offset: int, data: bytes) -> None:
        release.wait(30)
        write(file, offset, data)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"old" * 100_000)
            handle = await fs.open(b"f")
            fs.tree._contents.pace.took(1.0)  # so that a thread writes
            monkeypatch.setattr(DataFile, "write", slowly)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fs.tree.write, handle, 150_000, b"new" * 50_000)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(fs.open, b"f", WRITE | os.O_TRUNC)
                await trio.testing.wait_all_tasks_blocked(0.05)
                release.set()
            await fs.close(handle)
            assert await fs.read(b"f") in (b"", bytes(150_000) + b"new" * 50_000)

    trio.run(check)


def test_long_writes_are_left_to_threads_while_the_disk_is_slow() -> None:
    pace = WritePace()
    assert pace.is_inline(1 << 20)
    pace.took(0.2)
    avoided = 0
    while not pace.is_inline(1 << 20):
        assert pace.is_inline(4096)
        avoided += 1
    assert 10 < avoided < 1000


def test_who_reads_goes_on_while_the_log_begins_anew(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the disk, in a thread; so does who changes something."""
    monkeypatch.setattr("artfs.vfs.draft.journal._CHECKPOINT", 0)
    restart_log = Journal.restart_log
    begun, go_on = threading.Event(), threading.Event()

    def slow(journal: Journal) -> None:
        begun.set()
        assert go_on.wait(10)
        restart_log(journal)

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs, trio.open_nursery() as nursery:
            for name in (b"gone", b"first", b"other"):
                await fs.put(name, b"1")
            dead = await fs.ino(b"gone")
            await fs.tree.unlink(ROOT, b"gone", ME)
            monkeypatch.setattr(Journal, "restart_log", slow)
            nursery.start_soon(fs.tree.unlink, ROOT, b"other", ME)  # no note, but a transaction
            await trio.to_thread.run_sync(begun.wait)
            nursery.start_soon(fs.put, b"second", b"2")
            await trio.testing.wait_all_tasks_blocked()
            # As every one of these is made in the event loop, none waits for a lock of the thread.
            assert await fs.read(b"a") == BASE[b"a"].data
            assert not await fs.exists(b"second")
            assert b"first" in {entry.name for entry in await fs.list(b"")}
            assert (await fs.tree.statfs()).blocks
            fs.tree.forget([(dead, 1)])
            assert dead in fs.tree._garbage.dead
            go_on.set()
            monkeypatch.setattr(Journal, "restart_log", restart_log)
        assert dead not in fs.tree._garbage.dead

    trio.run(check)
