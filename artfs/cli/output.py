"""How results and progress look: sizes, times, bars. Of entries: `artfs.cli.entries`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

#: Work that ends sooner shows no bar.
_PATIENCE = 2.0
#: Files larger than this are not compared line by line.
PATCH_MAX = 4 << 20


def size_text(size: int) -> str:
    """Bytes as people read them: 1.2 MiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{size} B"


def entries_text(count: int) -> str:
    """How many entries, in words."""
    return "1 entry" if count == 1 else f"{count} entries"


def files_text(written: int, kept: int) -> str:
    """What became of files, in words."""
    return f"{written} {'file' if written == 1 else 'files'} written, {kept} kept"


def as_text(data: bytes) -> str | None:
    """The text in a file's bytes; None if they are not text."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def age_text(seconds: float) -> str:
    """A span of time as people say it: 3 h."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def path_text(path: bytes) -> str:
    """A path for printing; bytes that are not UTF-8 come out as they are."""
    return path.decode("utf-8", "surrogateescape")


def one_line(text: str) -> str:
    """What somebody chose freely, for a line of a listing or a picture: without line breaks, and
    without characters that steer a terminal or that no XML document may hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in
                   " ".join(text.split()))  # fmt: skip


class Step(Protocol):
    """Called with (bytes, files) done since the last call."""

    def __call__(self, size: int, files: int, /) -> None: ...


@contextmanager
def progress(title: str, total: int | None, quiet: bool) -> Iterator[Step]:
    """A bar on a terminal for work longer than two seconds: bytes, files, rate, time left."""
    if quiet or not sys.stderr.isatty():
        yield lambda _size, _files: None
        return
    started, shown = time.monotonic(), None
    done = count = 0

    def step(size: int, files: int, /) -> None:
        nonlocal shown, done, count
        done, count = done + size, count + files
        if shown is None and time.monotonic() - started > _PATIENCE:
            shown = _Bar(title, total)
        if shown is not None:
            shown.update(done, count)

    try:
        yield step
    finally:
        if shown is not None:
            shown.stop()


class _Bar:
    def __init__(self, title: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[files]} files"),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total, files=0)
        self._progress.start()

    def update(self, done: int, files: int) -> None:
        self._progress.update(self._task, completed=done, files=files)

    def stop(self) -> None:
        self._progress.stop()
