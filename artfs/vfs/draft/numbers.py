"""Inode numbers of a draft. Pure.

A path of a base has the number (graft + 1) << 40 | ordinal, where `ordinal` counts the paths of
that base as `artfs.format.walk` does; graft 0 is the version that the draft was opened over, and
its root is inode 1, as the kernel wants it. Everything made in the draft has a number of its own
below 1 << 40, never given twice. So a number outlives renames and commits and needs no table.
"""

from __future__ import annotations

from artfs.vfs.tree import ROOT

_SHIFT = 40
_ORDINAL = (1 << _SHIFT) - 1
#: Numbers below are of the draft's own inodes, numbers from here on of a base's.
FIRST_BASE = 1 << _SHIFT


def of_base(graft: int, ordinal: int) -> int:
    """The inode of a base's path."""
    return (graft + 1) << _SHIFT | ordinal if graft or ordinal else ROOT


def is_base(ino: int) -> bool:
    """Whether an inode is a path of a base."""
    return ino >= FIRST_BASE or ino == ROOT


def split(ino: int) -> tuple[int, int]:
    """(graft, ordinal) of a base's inode."""
    return (0, 0) if ino == ROOT else ((ino >> _SHIFT) - 1, ino & _ORDINAL)


def sibling(ino: int, ordinal: int) -> int:
    """The inode with `ordinal` in the base that `ino` is of."""
    return of_base(split(ino)[0], ordinal)
