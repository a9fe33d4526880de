"""SQLite in a draft, with each kind of journal, also killed while it writes."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import Mount, artfs, mounted
from tests.support.twin import here, put

pytestmark = pytest.mark.fuse


@pytest.fixture
def mount(home: Path, tmp_path: Path) -> Iterator[Mount]:
    """A draft over an empty `data:v0`."""
    (tmp_path / "base").mkdir()
    put(tmp_path / "base")
    with mounted("draft", "data", at=tmp_path / "mnt") as found:
        yield found


@pytest.mark.parametrize("journal", ["wal", "delete", "truncate", "persist"])
def test_sqlite(mount: Mount, tmp_path: Path, journal: str) -> None:
    path = mount.path / "some.db"
    first, second = sqlite3.connect(path), sqlite3.connect(path)
    try:
        assert first.execute(f"PRAGMA journal_mode = {journal}").fetchone() == (journal,)
        first.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        for n in range(0, 300, 3):
            with first:
                first.executemany(
                    "INSERT INTO t VALUES (?, ?)", [(n + m, bytes(1000)) for m in range(3)]
                )
        assert second.execute("SELECT count(*) FROM t").fetchone() == (300,)
        artfs("sync", mount.path)
        with second:
            second.execute("DELETE FROM t WHERE n % 2")
        first.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            second.execute("PRAGMA busy_timeout = 0").connection.execute("BEGIN IMMEDIATE")
        first.execute("INSERT INTO t VALUES (1000, NULL)")
        first.execute("ROLLBACK")
        first.execute("VACUUM")
        assert first.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        first.close()
        second.close()
    assert mount.umount().stdout == "data:v2\n"
    here("get", "data:v2", tmp_path / "got")
    with sqlite3.connect(tmp_path / "got" / "some.db") as stored:
        assert stored.execute("SELECT count(*), sum(n) FROM t").fetchone() == (150, 22350)
    stored.close()


TRANSACTIONS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = " + sys.argv[2])
db.execute("PRAGMA synchronous = FULL")
db.execute("PRAGMA cache_size = 10")  # so that pages are written before the transaction ends
db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)")
n = db.execute("SELECT coalesce(max(n), 0) FROM t").fetchone()[0]
while True:
    db.execute("BEGIN")
    for n in range(n + 1, n + 51):
        db.execute("INSERT INTO t VALUES (?, randomblob(2000))", (n,))
    db.execute("UPDATE t SET data = randomblob(2000) WHERE n % 7 = 0 AND n > ?", (n - 200,))
    db.execute("COMMIT")
    print(n, flush=True)
"""


@pytest.mark.parametrize("journal", ["wal", "delete", "truncate", "persist"])
def test_sqlite_killed_while_it_writes(mount: Mount, journal: str) -> None:
    path = mount.path / "some.db"
    done = 0
    for round_ in range(4):
        command = [sys.executable, "-c", TRANSACTIONS, str(path), journal]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(3 + round_):
                done = int(process.stdout.readline())
            process.kill()
            # What it had printed until then is committed, too.
            rest = process.stdout.read().split()
            done = int(rest[-1]) if rest else done
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            count, last = db.execute("SELECT count(*), max(n) FROM t").fetchone()
        assert count == last  # a transaction is there or not
        assert count % 50 == 0
        assert done <= count <= done + 50
    artfs("sync", mount.path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
