"""The tables of a draft's journal, and how those of earlier formats become these."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from artfs.errors import UnsupportedFormat

#: No epoch is as late.
NEVER = 1 << 62

_VERSION = 5

_CONTESTED = """
-- Paths changed here, while a commit went on, that were changed too by the version of others on
-- which it was put: the next commit is a conflict. `epoch`: as in `changes`.
CREATE TABLE contested (
    path  BLOB PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
"""

#: What earlier formats lack. The data files of format 2 are not shared, so a new epoch begins.
_SHARED = """
UPDATE counters SET value = value + 1 WHERE name = 'epoch';
INSERT INTO counters SELECT 'shared', value FROM counters WHERE name = 'epoch';
"""
_RECENT = "INSERT INTO counters VALUES ('recent', 1);"
#: Format 4 lacks nothing, but who reads only that knows no ranges in journal.recent.
_LACKING = {1: _CONTESTED + _SHARED + _RECENT, 2: _SHARED + _RECENT, 3: _RECENT, 4: ""}
_FIRST = (
    "INSERT INTO counters VALUES"
    " ('epoch', 1), ('ino', 2), ('seq', 1), ('shared', 1), ('recent', 1);"
)

_SCHEMA = """
-- Bases: graft 0 is the version that the draft was opened over (or an empty directory), each other
-- one a version with changes of others that a commit took over.
CREATE TABLE grafts (
    graft INTEGER PRIMARY KEY,
    root  BLOB NOT NULL             -- codec.pack of the root directory's entry
);
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,         -- 'epoch': raised by each commit, never falls;
    value INTEGER NOT NULL          -- 'ino', 'seq': no number from here on has been given;
                                    -- 'shared': the epoch from which data files are shared;
                                    -- 'recent': a generation, see recent.py
) WITHOUT ROWID;
-- Inodes made in the draft, and those of a base whose attributes, content or links changed.
CREATE TABLE inodes (
    ino      INTEGER PRIMARY KEY,   -- see numbers.py
    mode     INTEGER NOT NULL,      -- with the type
    uid      INTEGER NOT NULL,
    gid      INTEGER NOT NULL,
    rdev     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    atime_ns INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    nlink    INTEGER NOT NULL,      -- a directory: 1 not counted, else 2 and its subdirectories
    target   BLOB NOT NULL,         -- of a symbolic link
    lower    BLOB,                  -- codec.pack of the entry beneath: a file's content, or the
                                    -- base's directory; NULL: nothing
    base_len INTEGER NOT NULL,      -- bytes of a file's `lower` that still count, from 0 on
    layers   BLOB,                  -- msgpack [[epoch, limit], ...], bottom first; NULL: none.
                                    -- Layer data/<ino>.<epoch> covers [0, limit), or, limit -1,
                                    -- what `extents` says
    home     INTEGER,               -- where a base's inode is in its base: directory and name
    home_name BLOB
);
CREATE INDEX inodes_special ON inodes(ino) WHERE (mode & 61440) IN (4096, 8192, 24576, 49152);
-- Names that are not as in the base.
CREATE TABLE dentries (
    parent INTEGER NOT NULL,
    name   BLOB NOT NULL,
    ino    INTEGER NOT NULL,        -- 0: the base's name is gone
    seq    INTEGER NOT NULL,        -- 0: the base has the name too, and its place in listings;
                                    -- else the place in listings, behind the base's names
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE INDEX dentries_ino ON dentries(ino) WHERE ino > 0;
CREATE INDEX dentries_seq ON dentries(parent, seq) WHERE seq > 0;
-- Ranges written over lower content: disjoint, not adjacent.
CREATE TABLE extents (
    ino    INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    start  INTEGER NOT NULL,
    finish INTEGER NOT NULL,
    PRIMARY KEY (ino, epoch, start)
) WITHOUT ROWID;
-- Names whose entry may differ from the last commit's. With a row, so has every directory above,
-- with an epoch at least as new.
CREATE TABLE changes (
    dir   INTEGER NOT NULL,
    name  BLOB NOT NULL,
    epoch INTEGER NOT NULL,         -- of the newest change
    kind  INTEGER NOT NULL,         -- 1: the name itself was made, removed or given to another
                                    -- inode; 0: something of, or below, its inode
    PRIMARY KEY (dir, name)
) WITHOUT ROWID;
-- Where inodes renamed since the last commit were in it.
CREATE TABLE origins (
    ino    INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    name   BLOB NOT NULL,
    epoch  INTEGER NOT NULL
);
CREATE INDEX origins_place ON origins(parent, name);
-- Directories as the last commit that changed them stored them; codec.pack of the entry.
CREATE TABLE committed (
    dir   INTEGER PRIMARY KEY,
    entry BLOB NOT NULL
);
-- Inodes without a name that are open, known to the kernel, or not yet swept.
CREATE TABLE dead (
    ino INTEGER PRIMARY KEY
);
"""


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a journal, or what it lacks of them. Raises `UnsupportedFormat`."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found == _VERSION:
        return
    if found > _VERSION:
        raise UnsupportedFormat(
            str(path), f"is written in format {found}, this artfs reads up to {_VERSION}",
            "use a newer artfs",
        )  # fmt: skip
    steps = _LACKING[found] if found else _SCHEMA + _CONTESTED + _FIRST
    version = f"PRAGMA user_version = {_VERSION};"
    db.executescript(f"BEGIN IMMEDIATE; {steps} {version} COMMIT;")
