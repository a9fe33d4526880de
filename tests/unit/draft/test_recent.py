"""What is noted between two transactions of the journal: it outlives the daemon, and no more."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest
import trio

from artfs.repo.repository import Repository
from artfs.vfs.draft import journal as journals
from artfs.vfs.draft.journal import CONTENT, NAME, Journal
from artfs.vfs.draft.state import open_draft
from tests.unit.draft.drafts import drafted, killed, mount


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def begun(path: Path) -> Journal:
    """A journal whose changes are only noted from now on."""
    journal = Journal(path)
    journal.mark(1, b"first", NAME)
    journal.note()
    return journal


def marked(journal: Journal) -> list[bytes]:
    return [name for (name,) in journal.ask("SELECT name FROM changes ORDER BY name").fetchall()]


def note(journal: Journal, *names: bytes) -> None:
    for name in names:
        journal.mark(1, name, NAME)
        journal.note()


def resumed(journal: Journal) -> Journal:
    """As it is found after the daemon was killed."""
    journal.abandon()
    return Journal(journal.path)


def test_what_was_noted_outlives_the_daemon(path: Path) -> None:
    journal = begun(path)
    note(journal, b"a", b"b")
    assert journal.pending
    assert not journal.unnoted
    journal.mark(1, b"not noted", NAME)
    assert journal.unnoted
    journal = resumed(journal)
    assert marked(journal) == [b"a", b"b", b"first"]
    journal.close()


def test_ranges_are_taken_in(path: Path) -> None:
    journal = begun(path)
    for start, end in ((10, 20), (30, 40), (20, 25), (39, 50)):
        journal.add_extent(7, 3, start, end)
        journal.note()
    assert journal.extents(7, 3, 0, 100) == [(10, 25), (30, 50)]
    journal = resumed(journal)
    assert journal.extents(7, 3, 0, 100) == [(10, 25), (30, 50)]
    journal.close()


def test_records_that_know_no_ranges_are_taken_in(path: Path) -> None:
    journal = begun(path)
    generation = journal._generation
    assert generation is not None
    journal._recent.append(generation, msgspec.msgpack.encode([[], [], [(1, b"a", 1, NAME)]]))
    journal = resumed(journal)
    assert marked(journal) == [b"a", b"first"]
    journal.close()


def test_rows_of_all_kinds_are_taken_in_in_order(path: Path) -> None:
    journal = begun(path)
    row = (7, 1, 2, 3, 0, 5, 6, 7, 8, 1, b"", None, 0, None, None, None)
    journal.put_inode(row)
    journal.set_dentry(1, b"\xff", 7, 9)
    journal.mark(1, b"\xff", NAME)
    journal.note()
    newer = (7, 1, 2, 3, 0, 50, *row[6:])
    journal.put_inode(newer)
    journal.set_dentry(1, b"\xff", 8, 9)
    journal.mark(1, b"\xff", CONTENT)
    journal.note()
    journal = resumed(journal)
    assert journal.inode(7) == newer
    assert journal.dentry(1, b"\xff") == (8, 9)
    assert journal.change_kind(1, b"\xff") == NAME
    journal.close()


def test_what_was_committed_since_is_not_undone(path: Path) -> None:
    journal = begun(path)
    note(journal, b"a", b"b")
    journal.do("DELETE FROM changes")
    journal.note()
    note(journal, b"c")
    journal = resumed(journal)
    assert marked(journal) == [b"c"]
    journal.close()


def test_it_is_taken_in_once(path: Path) -> None:
    journal = begun(path)
    note(journal, b"a")
    journal = resumed(journal)
    journal.do("DELETE FROM changes")
    journal.commit()
    journal = resumed(journal)
    assert marked(journal) == []
    journal.close()


def test_a_record_that_a_kill_cut_short_and_all_behind_it_do_not_count(path: Path) -> None:
    journal = begun(path)
    note(journal, b"a", b"b", b"c")
    recent = path.with_suffix(".recent")
    data = bytearray(recent.read_bytes())
    at = data.index(b"b", data.index(b"a") + 1)
    data[at] ^= 1
    recent.write_bytes(data)
    journal = resumed(journal)
    assert marked(journal) == [b"a", b"first"]
    journal.close()


def test_nor_do_those_made_behind_a_transaction_that_a_reset_has_undone(
    path: Path, tmp_path: Path
) -> None:
    journal = begun(path)
    (tmp_path / "durable").mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copyfile(path.with_name(name), tmp_path / "durable" / name)
    journal.mark(1, b"lost", NAME)
    journal.commit()
    note(journal, b"behind it")
    journal.abandon()
    shutil.copyfile(path.with_suffix(".recent"), tmp_path / "durable" / "journal.recent")
    journal = Journal(tmp_path / "durable" / path.name)
    assert marked(journal) == [b"first"]
    # Nor ever: the daemon's own records may end where one of before begins.
    for _ in range(3):
        journal = resumed(journal)
        journal.mark(1, b"more", NAME)
        journal.commit()
        note(journal, b"1234567")
    journal = resumed(journal)
    assert marked(journal) == [b"1234567", b"first", b"more"]
    journal.close()


def test_a_full_file_is_a_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artfs.vfs.draft.recent._SIZE", 1000)
    journal = begun(path)
    names = [b"%03d" % n for n in range(200)]
    note(journal, *names)
    journal = resumed(journal)
    assert marked(journal) == [*names, b"first"]
    journal.close()


def test_so_are_many_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_NOTED", 10)
    journal = begun(path)
    for n in range(100):
        note(journal, b"%d" % n)
        assert journal.pending_rows <= 10
    journal.close()


def test_a_disk_without_room_for_notes_takes_transactions(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    journal = begun(path)
    journal.reserve(1 << 20)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    note(journal, b"a")
    assert not journal.pending
    journal = resumed(journal)
    assert marked(journal) == [b"a", b"first"]
    journal.close()


def test_a_closed_file_outlives_the_daemon_without_a_transaction(
    tmp_path: Path, repository: Repository
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository) as fs:
            await fs.mkdir(b"d")
            for n in range(50):
                await fs.put(b"d/%d" % n, b"%d" % n)
            assert fs.tree._journal.pending
            expected = await fs.walk()
            fs = killed(fs, tmp_path)
            assert await fs.walk() == expected
            await fs.tree.close()
            fs = mount(open_draft(tmp_path, fs.tree.draft.record.id, repository))
            assert await fs.walk() == expected
            await fs.tree.close()

    trio.run(check)
