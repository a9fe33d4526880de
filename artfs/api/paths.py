"""Paths inside an artifact: `str` for those who call, tuples of names below."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TypeAlias

from artfs.api import lookup
from artfs.errors import InvalidValue
from artfs.types import NAME_MAX, PATH_MAX, path_shown

Path: TypeAlias = tuple[bytes, ...]


def parse(text: str | os.PathLike[str]) -> Path:
    """The names in a `/`-separated path; `.` and empty ones are left out.

    Raises `InvalidValue` for what is no path of an entry.
    """
    shown = f"path '{os.fspath(text)}'"
    raw = lookup.raw(os.fspath(text))
    names = tuple(name for name in raw.split(b"/") if name not in (b"", b"."))
    if not names:
        raise InvalidValue(shown, "names no entry of an artifact")
    if b".." in names:
        raise InvalidValue(shown, "leads out of the artifact")
    if b"\0" in raw:
        raise InvalidValue(shown.replace("\0", "\\0"), "holds a NUL")
    if len(raw) > PATH_MAX or any(len(name) > NAME_MAX for name in names):
        raise InvalidValue(
            f"path '{os.fspath(text)[:40]}…'",
            f"is longer than {PATH_MAX} bytes, or a name in it than {NAME_MAX}",
        )
    return names


def parse_directory(text: str | os.PathLike[str] | None) -> Path:
    """The names in the path of a directory, of which None, `.` and `/` are the root, without any.

    Raises as `parse`.
    """
    return () if text is None or os.fspath(text).strip("/") in ("", ".") else parse(text)


def text_of(path: Path) -> str:
    """A path as callers see it; bytes that are not UTF-8 as lone surrogates."""
    return lookup.text(b"/".join(path))


def shown(path: Path) -> str:
    """A path for messages."""
    return path_shown(b"/".join(path))


@contextlib.contextmanager
def within_recursion_limit(directory: str) -> Iterator[None]:
    """Raise `InvalidValue`, with what to do, where a directory's depth is more than Python takes.

    The limit is the program's own affair: a library must not move it.
    """
    try:
        yield
    except RecursionError:
        raise InvalidValue(
            f"'{directory}'", "is nested too deeply for Python's recursion limit",
            "sys.setrecursionlimit(10_000) is enough for any directory",
        ) from None  # fmt: skip
