"""What is there after a kill, and what a reset of the machine may find."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

import pytest
import trio

from artfs.errors import InUse, NotFound, UnsupportedFormat
from artfs.format.record import VersionRecord
from artfs.repo.repository import Repository
from artfs.vfs.draft import datafiles
from artfs.vfs.draft.datafiles import SLOT, SLOTS, DataFiles
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.records import discard_draft, list_drafts
from artfs.vfs.draft.state import create_draft, open_draft
from artfs.vfs.errors import FileSystemError
from artfs.vfs.tree import ROOT
from tests.unit.draft.conftest import BASE, BIG
from tests.unit.draft.drafts import KEY, ME, Node, drafted, killed, mount, version_tree


def test_all_that_was_closed_outlives_the_daemon(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"new", b"1")
            await fs.pwrite(b"big", 5, b"mine")
            await fs.rename(b"d", b"D")
            await fs.mkdir(b"D/n")
            await fs.symlink(b"t", b"D/l")
            await fs.unlink(b"a")
            before = await fs.walk()
            fs = killed(fs, tmp_path)
            assert await fs.walk() == before
            await fs.tree.close()

    trio.run(check)


def test_what_was_written_and_not_answered_never_shows_up_later(
    tmp_path: Path, repository: Repository
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1234")
            await fs.unanswered(b"f", 4, b"secret")
            fs = killed(fs, tmp_path)
            assert await fs.read(b"f") == b"1234"
            await fs.truncate(b"f", 8)
            assert await fs.read(b"f") == b"1234" + bytes(4)
            fs = killed(fs, tmp_path)
            await fs.pwrite(b"f", 9, b"z")
            assert await fs.read(b"f") == b"1234" + bytes(5) + b"z"
            await fs.tree.close()

    trio.run(check)


def test_nor_does_it_below_a_write_behind_the_end(tmp_path: Path, repository: Repository) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1234")
            await fs.unanswered(b"f", 4, b"secret")
            fs = killed(fs, tmp_path)
            await fs.pwrite(b"f", 9, b"z")
            assert await fs.read(b"f") == b"1234" + bytes(5) + b"z"
            await fs.tree.close()

    trio.run(check)


@pytest.mark.parametrize("size", [0, 3])
def test_a_truncation_that_a_kill_cut_short_takes_no_bytes_away(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Not those of the old length, while the journal still has that."""

    class Died(BaseException):
        pass

    def die(journal: Journal, at_once: bool) -> None:
        raise Died

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"12345678")
            monkeypatch.setattr(Journal, "note", die)
            with pytest.raises(Died):
                await fs.truncate(b"f", size)
            monkeypatch.undo()
            fs = killed(fs, tmp_path)
            assert await fs.read(b"f") == b"12345678"
            await fs.truncate(b"f", size)
            slot = (await fs.stat(b"f")).ino % SLOTS * SLOT
            data = (fs.tree.draft.data / "s0.1").read_bytes()[slot:][:8]
            assert data == b"12345678"[:size].ljust(8, b"\0"), "and frees what it can"
            await fs.tree.close()

    trio.run(check)


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("promised", ["synced", "before the kill", "never"])
def test_a_truncation_is_durable_before_it_takes_bytes_away_that_were_promised(
    tmp_path: Path,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    promised: str,
) -> None:
    """A reset would bring back the length, with zeros, or with what was written over them."""
    done: list[str] = []
    sync, cut = Journal.sync, DataFiles.cut

    def note_sync(journal: Journal) -> None:
        assert not journal.pending
        done.append("sync")
        sync(journal)

    def note_cut(data: DataFiles, ino: int, epoch: int, size: int) -> None:
        done.append("cut")
        cut(data, ino, epoch, size)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"12345678")
            if promised == "synced":
                handle = await fs.open(b"f")
                await fs.tree.fsync(handle, False)
                await fs.close(handle)
            if promised == "before the kill":
                fs = killed(fs, tmp_path)
            with monkeypatch.context() as patch:
                patch.setattr(Journal, "sync", note_sync)
                patch.setattr(DataFiles, "cut", note_cut)
                await fs.truncate(b"f", size)
                assert done == (["cut"] if promised == "never" else ["sync", "cut"])
                await fs.put(b"new", b"12345678")
                await fs.truncate(b"new", size)
                assert done.count("sync") == (promised != "never"), "it is of this daemon"
            assert await fs.read(b"f") == b"12345678"[:size]
            await fs.tree.close()

    trio.run(check)


def test_each_write_outlives_the_daemon(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction is needed for it, wherever it goes."""

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            for name in (b"log", b"a"):
                await fs.tree.write(await fs.create(b"new-" + name), 0, b"first\n")
            old = await fs.open(b"a")
            await fs.tree.write(old, 0, b"1")
            with monkeypatch.context() as patch:
                patch.setattr(Journal, "commit", None)
                log = await fs.create(b"log")
                await fs.tree.write(log, 0, b"line\n")
                await fs.tree.write(log, 5, b"line\n")
                await fs.tree.write(old, 4, b"56")
                await fs.tree.write(old, 3, b"45")
            before = await fs.walk()
            fs = killed(fs, tmp_path)
            assert await fs.walk() == before
            assert before[b"log"].data == b"line\nline\n"
            assert before[b"a"].data[3:6] == b"456"
            await fs.tree.close()

    trio.run(check)


def test_leftovers_are_cleaned_up(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"f", b"1")
            await fs.open(b"f")
            place = await fs.place(b"f")
            await fs.tree.unlink(*place, ME)
            (fs.tree.draft.data / "777.1").write_bytes(b"left by a kill")
            (fs.tree.draft.data / ".nfs0001").touch()
            fs = killed(fs, tmp_path)
            assert os.listdir(fs.tree.draft.data) == [".nfs0001"]
            rows = fs.tree._journal.ask("SELECT ino FROM inodes WHERE ino > 1").fetchall()
            assert rows == []
            assert await fs.walk() == BASE
            await fs.tree.close()

    trio.run(check)


def test_numbers_are_never_given_twice(tmp_path: Path, repository: Repository) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            given = []
            for i in range(3):
                await fs.put(b"f", b"%d" % i)
                given.append((await fs.stat(b"f")).ino)
                await fs.unlink(b"f")
                fs = killed(fs, tmp_path)
            assert len(set(given)) == 3
            await fs.tree.close()

    trio.run(check)


def test_data_is_deleted_only_when_the_journal_without_it_is_durable(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, remove = Journal.sync, DataFiles.remove

    def note_sync(journal: Journal) -> None:
        assert not journal.pending
        done.append("sync")
        sync(journal)

    def note_remove(data: DataFiles, layers: list[tuple[int, int]], epoch: int) -> None:
        done.append("remove")
        remove(data, layers, epoch)

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"f", b"1")
            await fs.pwrite(b"big", 1, b"2")
            monkeypatch.setattr(Journal, "sync", note_sync)
            monkeypatch.setattr(DataFiles, "remove", note_remove)
            await fs.unlink(b"f")
            assert done == []
            await fs.tree.commit()
            assert done == ["sync", "sync", "remove"]  # the first: before draft.json names the base
            assert os.listdir(fs.tree.draft.data) == []

    trio.run(check)


def test_fsync_makes_bytes_names_and_journal_durable(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            handle = await fs.open(b"big")
            await fs.tree.write(handle, 0, b"1")
            synced: list[str] = []
            monkeypatch.setattr(os, "fsync", lambda fd: synced.append(target(fd)))
            monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(target(fd)))
            await fs.tree.fsync(handle, False)
            names = [os.path.basename(path).partition(".")[2] or "data" for path in synced]
            assert names == ["1", "data", "sqlite-wal"]
            assert not fs.tree._journal.pending
            monkeypatch.undo()
            fs = killed(fs, tmp_path)
            assert await fs.read(b"big") == b"1" + BIG[1:]
            await fs.tree.close()

    def target(fd: int) -> str:
        return os.readlink(f"/proc/self/fd/{fd}")

    trio.run(check)


def test_fsync_makes_names_durable_that_a_killed_daemon_gave(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, synced = os.fsync, []

    def note(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            fs = killed(fs, tmp_path)
            handle = await fs.open(b"f")
            monkeypatch.setattr(os, "fsync", note)
            await fs.tree.fsync(handle, False)
            assert str(fs.tree.draft.data) in synced
            await fs.tree.close()

    trio.run(check)


def test_names_that_one_fsync_could_not_make_durable_are_left_to_the_next(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any file; and one that comes meanwhile does not rely on the first."""
    tried: list[int] = []
    fsync = os.fsync

    def refuse_once(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            tried.append(fd)
            if len(tried) == 1:
                raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            handle = await fs.open(b"f")
            monkeypatch.setattr(os, "fsync", refuse_once)
            with pytest.raises(FileSystemError):
                await fs.tree.fsync(handle, False)
            for _ in range(2):
                await fs.tree.fsync(handle, False)
                assert len(tried) == 2
            await fs.close(handle)

    trio.run(check)


def test_bytes_that_the_disk_refused_are_not_called_durable(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files share one, the kernel tells only the first of them."""
    fsync = os.fsync

    def refuse_once(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("s0.1"):
            monkeypatch.setattr(os, "fsync", fsync)
            raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            for name in (b"f", b"g"):
                await fs.put(name, b"1")
            handles = [await fs.open(b"f"), await fs.open(b"g")]
            monkeypatch.setattr(os, "fsync", refuse_once)
            for handle in handles:
                with pytest.raises(FileSystemError, match="Input/output error"):
                    await fs.tree.fsync(handle, False)
            for handle in handles:
                await fs.tree.fsync(handle, False)
                await fs.close(handle)

    trio.run(check)


def test_the_log_does_not_grow_without_end(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.vfs.draft.journal._CHECKPOINT", 100_000)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            for i in range(200):
                await fs.put(b"f%d" % i, b"1")
                assert fs.tree._journal._log.size < 200_000
            before = await fs.walk()
            fs = killed(fs, tmp_path)
            assert await fs.walk() == before
            await fs.tree.close()

    trio.run(check)


def test_an_operation_succeeds_though_the_log_cannot_be_emptied(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed before; an error would tell of something that has happened."""
    monkeypatch.setattr("artfs.vfs.draft.journal._CHECKPOINT", 0)

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            monkeypatch.setattr(Journal, "checkpoint", refuse)
            await fs.mkdir(b"d")
            await fs.put(b"d/f", b"1")
            before = await fs.walk()
            fs = killed(fs, tmp_path)
            assert await fs.walk() == before
            await fs.tree.close()

    trio.run(check)


def test_nor_does_it_fail_where_the_log_then_finds_no_room(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program has taken what came free when the log was cut."""
    monkeypatch.setattr("artfs.vfs.draft.journal._CHECKPOINT", 0)
    monkeypatch.setattr("artfs.vfs.draft.emptying._LOG_MAX", 0)
    restart_log = Journal.restart_log

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def meet_full_disk(journal: Journal) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", refuse)
            restart_log(journal)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            monkeypatch.setattr(Journal, "restart_log", meet_full_disk)
            await fs.mkdir(b"d")
            await fs.put(b"d/f", b"1")
            before = await fs.walk()
            fs = killed(fs, tmp_path)
            assert await fs.walk() == before
            await fs.tree.close()

    trio.run(check)


def test_an_operation_succeeds_though_data_files_cannot_be_deleted(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole may need room on a disk that is full."""
    monkeypatch.setattr("artfs.vfs.draft.garbage._BATCH", 1)

    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.put(b"f", b"1")
            monkeypatch.setattr(datafiles, "punch", no_room)
            await fs.unlink(b"f")
            await fs.put(b"g", b"2")
            monkeypatch.undo()
            assert await fs.walk() == {b"g": Node("f", b"2")}

    trio.run(check)


def test_what_cannot_be_deleted_after_a_kill_is_not_in_a_file_with_the_same_number(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            number = (await fs.tree._namespace.make(ROOT, b"f", stat.S_IFREG, ME)).ino
            await fs.unanswered(b"f", 0, b"secret")
            # Of a later epoch, as where the machine was reset and the journal had not been synced.
            fs.tree._journal.epoch += 1
            await fs.unanswered(b"f", 0, b"secret")
            monkeypatch.setattr(datafiles, "punch", no_room)
            fs = killed(fs, tmp_path)
            monkeypatch.undo()
            await fs.put(b"g", b"")
            assert (await fs.stat(b"g")).ino == number
            await fs.pwrite(b"g", 8, b"z")
            await fs.truncate(b"g", 100_000)
            assert await fs.read(b"g") == bytes(8) + b"z" + bytes(100_000 - 9)
            fs = killed(fs, tmp_path)
            assert not any(name.endswith((".1", ".2")) for name in os.listdir(fs.tree.draft.data))
            assert await fs.read(b"g") == bytes(8) + b"z" + bytes(100_000 - 9)
            await fs.tree.close()

    trio.run(check)


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_long_description_survives_a_disk_that_takes_a_part_at_a_time(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = create_draft(tmp_path, repository, KEY, None, description="d" * 10_000)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:4096]))
    draft.update(error="an error")
    draft.close()
    [info] = list_drafts(tmp_path)
    assert (info.record.error, len(info.record.description)) == ("an error", 10_000)


def test_a_draft_has_one_writer(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    draft = create_draft(tmp_path, repository, KEY, base)
    assert [info.state for info in list_drafts(tmp_path)] == ["mounted"]
    with pytest.raises(InUse):
        open_draft(tmp_path, draft.record.id, repository)
    with pytest.raises(InUse):
        discard_draft(tmp_path, draft.record.id)
    draft.close()
    [info] = list_drafts(tmp_path)
    assert (info.state, info.record.base, info.record.name) == ("kept", 0, "data")
    assert info.size > 0
    assert 0 <= info.age < 60
    discard_draft(tmp_path, draft.record.id)
    assert list_drafts(tmp_path) == []
    with pytest.raises(NotFound):
        open_draft(tmp_path, draft.record.id, repository)


def test_nothing_is_open_when_a_draft_is_closed(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    fs = mount(create_draft(tmp_path, repository, KEY, base))
    trio.run(fs.put, b"f", b"1")
    trio.run(fs.tree.close)
    trio.run(fs.tree.close)
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_draft_of_an_earlier_format_is_read(
    tmp_path: Path, repository: Repository, base: VersionRecord, version: int
) -> None:
    draft = create_draft(tmp_path, repository, KEY, base)
    draft.journal.share_nothing()

    async def check() -> None:
        fs = mount(draft)
        await fs.put(b"f", b"of then")
        await fs.put(b"g", b"of then")
        assert not any(name.startswith("s") for name in os.listdir(draft.data))
        journal = draft.journal
        if version == 1:
            journal.do("DROP TABLE contested")
        if version < 3:
            journal.do("DELETE FROM counters WHERE name = 'shared'")
        if version < 4:
            journal.do("DELETE FROM counters WHERE name = 'recent'")
        journal.do(f"PRAGMA user_version = {version}")
        journal.commit()
        (draft.path / "ballast").write_bytes(bytes(4096))
        fs = killed(fs, tmp_path)
        assert not (draft.path / "ballast").exists()
        assert await fs.read(b"f") == b"of then"
        await fs.pwrite(b"f", 3, b"now")
        await fs.put(b"h", b"of now")
        expected = await fs.walk()
        assert expected[b"f"].data == b"of nown"
        fs = killed(fs, tmp_path)
        assert await fs.walk() == expected
        assert (await fs.tree.commit()).version == 1
        assert version_tree(repository, 1) == expected
        assert await fs.walk() == expected
        assert os.listdir(fs.tree.draft.data) == []
        await fs.tree.close()

    trio.run(check)


def test_a_draft_of_a_later_format_is_refused(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    draft = create_draft(tmp_path, repository, KEY, base)
    draft.journal.do("PRAGMA user_version = 99")
    draft.close()
    with pytest.raises(UnsupportedFormat, match="format 99"):
        open_draft(tmp_path, draft.record.id, repository)
