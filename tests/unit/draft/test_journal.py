"""The journal when SQLite refuses a change: nothing more is taken, and nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.vfs.draft.journal import NAME, Journal
from artfs.vfs.errors import FileSystemError


def marked(journal: Journal) -> list[bytes]:
    return [name for (name,) in journal.ask("SELECT name FROM changes ORDER BY name").fetchall()]


def changed(journal: Journal) -> None:
    for n in range(1000):
        journal.do("INSERT INTO contested VALUES (?, 1)", (b"%d" % n * 50,))


def gathered(journal: Journal) -> None:
    for n in range(1000):
        journal.mark(1, b"%d" % n * 50, NAME)
    journal.ask("SELECT 1").fetchone()


def committed(journal: Journal) -> None:
    for n in range(1000):
        journal.mark(1, b"%d" % n * 50, NAME)
    journal.commit()


@pytest.mark.parametrize("change", [changed, gathered, committed])
def test_what_is_refused_undoes_what_came_before_in_its_transaction(
    tmp_path: Path, change: Callable[[Journal], None]
) -> None:
    """Memory does not know that, so the rest of a change must not get in alone; and who asks again
    whether all is committed is not told that it is."""
    journal = Journal(tmp_path / "journal.sqlite")
    journal.mark(1, b"committed", NAME)
    journal.note()
    journal.mark(1, b"noted", NAME)
    journal.note()
    journal.mark(1, b"never answered for", NAME)
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        change(journal)
    for refused in (
        lambda: journal.do("INSERT INTO contested VALUES ('rest', 1)"),
        lambda: journal.note(),
        lambda: journal.commit(),
        lambda: journal.commit(),
        lambda: marked(journal),
    ):
        with pytest.raises(FileSystemError, match="could not be written"):
            refused()
    journal.close()
    journal = Journal(journal.path)
    assert marked(journal) == [b"committed", b"noted"]
    assert journal.ask("SELECT * FROM contested").fetchall() == []
    journal.close()
