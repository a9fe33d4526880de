"""The journal on a disk that others fill: what `reserve` promised can be written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artfs.vfs.draft.journal import NAME, Journal
from artfs.vfs.errors import NoSpace
from tests.support.disks import MIB, filled, free, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", 16 * MIB) as path:
        yield path


def mark(journal: Journal, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        journal.mark(1, b"%d" % n, NAME)


def marked(journal: Journal) -> int:
    row = journal.ask("SELECT count(*) FROM changes").fetchone()
    return int(row[0])


def test_what_was_reserved_can_be_committed_though_others_took_the_rest(disk: Path) -> None:
    journal = Journal(disk / "journal.sqlite")
    journal.reserve(2 * MIB)
    with filled(disk):
        assert free(disk) == 0
        done = 0
        with contextlib.suppress(NoSpace):
            while True:
                journal.reserve(64 << 10)
                mark(journal, 10, done)
                journal.commit()
                done += 10
        assert done >= 1000
    journal.close()
    journal = Journal(disk / "journal.sqlite")
    assert marked(journal) == done
    journal.close()


def test_the_log_begins_anew_with_the_same_room(disk: Path) -> None:
    journal = Journal(disk / "journal.sqlite")
    journal.reserve(2 * MIB)
    mark(journal, 2000)
    journal.commit()
    used = journal._log.size
    journal.checkpoint()  # the database has the pages now, and can take them again
    journal.restart_log()
    assert journal._log.size < used / 10
    journal.reserve(2 * MIB)
    with filled(disk):
        for _ in range(50):
            journal.epoch += 1
            mark(journal, 100)
            journal.commit()
            journal.checkpoint()
            journal.restart_log()
    assert marked(journal) == 2000
    journal.close()


def test_the_database_gets_its_room_again_though_the_log_could_not_begin_anew(
    tmp_path: Path,
) -> None:
    """It was copied, which cuts the database, and a commit reads it."""
    journal = Journal(tmp_path / "journal.sqlite")
    mark(journal, 10)
    journal.commit()
    journal.reserve(2 * MIB)
    journal.checkpoint()
    assert journal.path.stat().st_size < MIB
    journal.reserve(2 * MIB)
    assert journal.path.stat().st_blocks * 512 >= 2 * MIB
    journal.close()


def test_a_log_that_has_grown_long_is_cut(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artfs.vfs.draft.emptying._LOG_MAX", 100_000)
    journal = Journal(disk / "journal.sqlite")
    wal = disk / "journal.sqlite-wal"
    journal.reserve(5 * MIB)
    assert wal.stat().st_blocks * 512 >= 5 * MIB
    mark(journal, 10)
    journal.commit()
    journal.checkpoint()
    journal.restart_log()
    assert wal.stat().st_size < 4 * MIB
    journal.reserve(2 * MIB)
    assert wal.stat().st_blocks * 512 >= 2 * MIB
    journal.close()


def test_a_log_that_was_copied_does_not_begin_anew_by_itself(tmp_path: Path) -> None:
    """The next transaction would wait for the disk, in the event loop."""
    journal = Journal(tmp_path / "journal.sqlite")
    mark(journal, 1000)
    journal.commit()
    used = journal._log.size
    journal.checkpoint()
    assert not journal._log.uncopied
    mark(journal, 10, 1000)
    journal.commit()
    assert journal._log.size > used
    journal.restart_log()
    assert journal._log.size < used
    assert marked(journal) == 1010
    journal.close()


@pytest.mark.parametrize("log_max", [0, 1 << 30], ids=["cut", "kept"])
def test_a_kill_while_the_log_is_emptied_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_max: int
) -> None:
    """Whenever one of the thread's statements has begun, or ended."""
    monkeypatch.setattr("artfs.vfs.draft.emptying._LOG_MAX", log_max)
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    kills: list[Path] = []

    def kill() -> None:
        kills.append(tmp_path / f"killed-{len(kills)}")
        kills[-1].mkdir()
        for file in tmp_path.glob("journal.*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, kills[-1])

    class Told(sqlite3.Connection):
        def execute(self, sql: str, args: Any = ()) -> sqlite3.Cursor:  # noqa: ANN401  # as sqlite3's
            kill()
            found = super().execute(sql, args)
            kill()
            return found

    def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, factory=Told)

    monkeypatch.setattr("artfs.vfs.draft.emptying.connect", connect)
    mark(journal, 1000)
    journal.commit()
    journal.checkpoint()
    mark(journal, 10, 1000)
    journal.note()  # where nothing of a transaction is told
    journal.restart_log()
    mark(journal, 10, 1010)
    journal.note()
    kill()
    counts = []
    for place in kills:
        killed = Journal(place / "journal.sqlite")
        counts.append(marked(killed))
        killed.close()
    journal.close()
    assert counts == sorted(counts)
    assert (counts[0], counts[-1], set(counts)) == (1000, 1020, {1000, 1010, 1020})


def test_a_log_that_is_read_goes_on(disk: Path) -> None:
    journal = Journal(disk / "journal.sqlite")
    mark(journal, 1000)
    journal.commit()
    reader = sqlite3.connect(journal.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM changes").fetchone()
    mark(journal, 10, 1000)
    journal.commit()
    used = journal._log.size
    journal.restart_log()
    assert journal._log.size == used
    assert reader.execute("SELECT count(*) FROM changes").fetchone() == (1000,)
    reader.close()
    journal.restart_log()
    assert journal._log.size < used
    assert marked(journal) == 1010
    journal.close()


def test_a_transaction_that_finds_no_room_is_kept_and_committed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    mark(journal, 10)
    hits = 0

    def refuse(*_: object) -> None:
        nonlocal hits
        hits += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(NoSpace):
            journal.commit()
    assert hits == 2, "it is content with less"
    assert journal.pending
    journal.commit()
    journal.abandon()
    journal = Journal(tmp_path / "journal.sqlite")
    assert marked(journal) == 10
    journal.close()


def test_a_journal_that_is_closed_keeps_its_room(disk: Path) -> None:
    """A draft that is resumed on a full disk needs it."""
    journal = Journal(disk / "journal.sqlite")
    journal.reserve(2 * MIB)
    journal.close()
    with filled(disk):
        journal = Journal(disk / "journal.sqlite")
        journal.reserve(2 * MIB)
        mark(journal, 100)
        journal.commit()
        journal.close()


def test_what_a_sync_has_lost_is_not_promised_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of an error but once, and the next sync finds nothing to do."""

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(tmp_path / "journal.sqlite")
    mark(journal, 10)
    journal.commit()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="Input"):
            journal.sync()
    with pytest.raises(OSError, match="Input"):
        journal.sync()
    assert marked(journal) == 10
    journal.close()
