"""Many rows of the journal at one go.

Python gives the interpreter up for each row that SQLite finds, and a commit's threads may keep it
each time. So all rows of a page come as one, of JSON; that takes two thirds more than row by row
where nobody else wants the interpreter, and less than half of asking for each inode by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from artfs.vfs.draft.journal import Journal, Row

Given: TypeAlias = tuple[bytes, int, int]

#: A row of `inodes`; JSON has no bytes.
_ROW = (
    "json_array(ino, mode, uid, gid, rdev, size, atime_ns, mtime_ns, ctime_ns, nlink, hex(target),"
    " nullif(hex(lower), ''), base_len, nullif(hex(layers), ''), home, nullif(hex(home_name), ''))"
)


def inode_rows(journal: Journal, inodes: Iterable[int]) -> list[Row]:
    """The rows of some inodes, of those that have one."""
    found = _all(journal, _ROW, f"inodes WHERE ino IN ({','.join(map(str, inodes))})")
    return [(*x[:10], *map(_bytes, x[10:12]), x[12], _bytes(x[13]), x[14], _bytes(x[15]))
            for x in found]  # fmt: skip


def names_after(journal: Journal, directory: int, after: int, last: int, size: int) -> list[Given]:
    """Some (name, ino, seq) that the draft gave in a directory, in the order of `seq`, from behind
    `after` up to `last`."""
    found = _all(
        journal,
        "json_array(seq, ino, hex(name))",
        "(SELECT * FROM dentries WHERE parent = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?)",
        (directory, after + 1, last, size),
    )
    return [(bytes.fromhex(name), ino, seq) for seq, ino, name in sorted(found)]


def _all(journal: Journal, what: str, source: str, args: tuple[object, ...] = ()) -> list[Any]:
    row = journal.ask(f"SELECT json_group_array({what}) FROM {source}", args).fetchone()
    found: list[Any] = msgspec.json.decode(row[0])
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
