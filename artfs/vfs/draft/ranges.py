"""The ranges that were written to layers: table `extents`, and what is gathered for it.

A layer's rows are disjoint and not adjacent. Event loop only, but for `written` on a connection of
its own.
"""

from __future__ import annotations

import sqlite3

from artfs.vfs.draft.intervals import Intervals, Range


class Gathered:
    """Ranges that are not in the table yet, by layer. Its length is how many they are."""

    def __init__(self) -> None:
        self._layers: dict[tuple[int, int], Intervals] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def within(self, ino: int, epoch: int, start: int, end: int) -> list[Range]:
        """What there is of [start, end) of a layer."""
        ranges = self._layers.get((ino, epoch))
        return ranges.within(start, end) if ranges is not None else []

    def add(self, ino: int, epoch: int, start: int, end: int) -> None:
        """[start, end) is written, too."""
        ranges = self._layers.get((ino, epoch))
        if ranges is None:
            ranges = self._layers[ino, epoch] = Intervals()
        self._count -= len(ranges)
        ranges.add(start, end)
        self._count += len(ranges)

    def put(self, db: sqlite3.Connection) -> None:
        """Write them into the table."""
        for (ino, epoch), ranges in self._layers.items():
            for start, end in ranges:
                put_range(db, ino, epoch, start, end)

    def clear(self) -> None:
        """They are in the table."""
        self._layers.clear()
        self._count = 0


def written(db: sqlite3.Connection, ino: int, epoch: int, start: int, end: int) -> list[Range]:
    """The rows of a layer that overlap or touch [start, end), whole, in order."""
    # Ranges are disjoint, so only the last one that begins before `start` can reach into it.
    before = db.execute(
        "SELECT start, finish FROM extents WHERE ino = ? AND epoch = ? AND start < ?"
        " ORDER BY start DESC LIMIT 1",
        (ino, epoch, start),
    ).fetchone()
    rest: list[Range] = db.execute(
        "SELECT start, finish FROM extents WHERE ino = ? AND epoch = ? AND start >= ?"
        " AND start <= ? ORDER BY start",
        (ino, epoch, start, end),
    ).fetchall()
    return [before, *rest] if before and before[1] >= start else rest


def put_range(db: sqlite3.Connection, ino: int, epoch: int, start: int, end: int) -> None:
    """Write that [start, end) is written, too."""
    near = written(db, ino, epoch, start, end)
    if near and near[0][0] <= start and end <= near[0][1]:
        return
    for s, e in near:
        db.execute("DELETE FROM extents WHERE ino = ? AND epoch = ? AND start = ?", (ino, epoch, s))
        start, end = min(start, s), max(end, e)
    db.execute("INSERT INTO extents VALUES (?, ?, ?, ?)", (ino, epoch, start, end))
