"""Writing rows into the journal's tables, many with one statement.

Python gives the interpreter up for each statement, and a commit's threads may keep it each time for
`sys.getswitchinterval()`: row by row, the event loop was held for up to 0.3 s.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence

PUT_INODE = "REPLACE INTO inodes VALUES {}"
PUT_DENTRY = "REPLACE INTO dentries VALUES {}"
PUT_CHANGE = (
    "INSERT INTO changes VALUES {} ON CONFLICT DO UPDATE SET"
    " epoch = excluded.epoch, kind = max(kind, excluded.kind)"
    " WHERE epoch < excluded.epoch OR kind < excluded.kind"
)

#: Rows of a statement.
_AT_ONCE = 64


def put(db: sqlite3.Connection, sql: str, rows: Sequence[Sequence[object]]) -> None:
    """Write rows, `_AT_ONCE` of them with a statement, and what is left over one by one."""
    if not rows:
        return
    one = f"({','.join('?' * len(rows[0]))})"
    whole = len(rows) - len(rows) % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        values = itertools.chain.from_iterable(rows[start : start + _AT_ONCE])
        db.execute(sql.format(",".join([one] * _AT_ONCE)), tuple(values))
    db.executemany(sql.format(one), rows[whole:])
