"""Processes that write without a pause, and what a directory must look like after each step.

A writer is a stream of steps, each a single system call, that follows from a kind and a seed. So
the process needs to note only when each step began and when it returned, and whoever checks can
make the same steps in a `Model`. Run as a program: writers KIND ROOT SEED LEDGER STOP.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import sys
import time
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: A step's name and its arguments; the first is a path or, after `open`, the name of a slot.
Step = tuple[Any, ...]

PAGE = 4096
_PAGES = 160
_LOG_MAX = 600_000


def record(number: int, size: int) -> bytes:
    """Bytes that tell which step wrote them and whether they are whole."""
    payload = random.Random(number).randbytes(size)
    return struct.pack("<QII", number, size, zlib.crc32(payload)) + payload


def appending(rng: random.Random) -> Iterator[Step]:
    """Records at the end of three logs, which are sometimes cut, synced, or closed and reopened."""
    sizes = [0, 0, 0]
    for log in range(3):
        yield "open", log, f"log{log}", os.O_WRONLY | os.O_CREAT | os.O_APPEND
    number = 0
    while True:
        log, choice = rng.randrange(3), rng.random()
        if sizes[log] > _LOG_MAX or choice < 0.02:
            sizes[log] = rng.choice([0, sizes[log] // 2])
            yield "truncate", log, sizes[log]
        elif choice < 0.06:
            yield "fsync", log
        elif choice < 0.12:
            yield "close", log
            yield "open", log, f"log{log}", os.O_WRONLY | os.O_APPEND
        else:
            number += 1
            size = rng.randrange(100_000) if choice > 0.95 else rng.randrange(4000)
            data = record(number, size)
            sizes[log] += len(data)
            yield "append", log, data


def naming(rng: random.Random) -> Iterator[Step]:
    """Files and directories that come, move over each other, and go."""
    directories = [f"d{n}" for n in range(4)]
    for directory in directories:
        yield "mkdir", directory
    files: list[str] = []
    number = 0
    while True:
        choice = rng.random()
        number += 1
        path = f"{rng.choice(directories)}/f{rng.randrange(40)}"
        if not files or choice < 0.4:
            yield "open", 0, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            for _ in range(rng.randrange(3)):
                yield "append", 0, record(number, rng.randrange(20_000))
            if choice < 0.05:
                yield "fsync", 0
            yield "close", 0
            files = [*(f for f in files if f != path), path]
        elif choice < 0.7:
            old = files.pop(rng.randrange(len(files)))
            if old != path:
                yield "rename", old, path
            files = [*(f for f in files if f != path), path]
        elif choice < 0.9:
            yield "unlink", files.pop(rng.randrange(len(files)))
        else:
            old = directories.pop(rng.randrange(4))
            new = f"d{number + 4}"
            directories.append(new)
            yield "rename", old, new
            files = [new + f.removeprefix(old) if f.startswith(f"{old}/") else f for f in files]
            yield "mkdir", f"{new}-empty"
            yield "rmdir", f"{new}-empty"


def rewriting(rng: random.Random) -> Iterator[Step]:
    """Pages of one file, again and again where they are."""
    yield "open", 0, "pages", os.O_RDWR | os.O_CREAT
    yield "pwrite", 0, 0, pages(0, _PAGES // 2)
    yield "pwrite", 0, _PAGES // 2 * PAGE, pages(0, _PAGES // 2)
    yield "fsync", 0
    number = 0
    while True:
        choice = rng.random()
        if choice < 0.03:
            yield "fsync", 0
        elif choice < 0.06:
            yield "close", 0
            yield "open", 0, "pages", os.O_RDWR
        else:
            number += 1
            count = rng.choice([1, 1, 1, 4, 24])
            yield "pwrite", 0, rng.randrange(_PAGES - count) * PAGE, pages(number, count)


def pages(number: int, count: int) -> bytes:
    """Whole pages that tell which step wrote them."""
    return (record(number, 100) * (PAGE // 116 + 1))[:PAGE] * count


KINDS: dict[str, Callable[[random.Random], Iterator[Step]]] = {
    "appending": appending,
    "naming": naming,
    "rewriting": rewriting,
}


def steps(kind: str, seed: object) -> Iterator[Step]:
    """What a writer does."""
    return KINDS[kind](random.Random(f"{kind} {seed}"))


class Model:
    """A directory as plain Python objects: paths with a file's bytes, or None for a directory."""

    def __init__(self) -> None:
        self.paths: dict[str, bytearray | None] = {}
        self._slots: dict[int, bytearray] = {}

    def apply(self, step: Step) -> Iterator[bool]:
        """Make a step; yields at each state on the way, and then whether the step is complete.

        The kernel may divide a write where a page ends, and others see what is between.
        """
        kind, *args = step
        if kind in ("append", "pwrite"):
            slot, data = args[0], args[-1]
            offset = len(self._slots[slot]) if kind == "append" else args[1]
            for cut in range(PAGE - offset % PAGE, len(data), PAGE):
                self._pwrite(slot, offset, data[:cut])
                yield False
            self._pwrite(slot, offset, data)
        else:
            getattr(self, f"_{kind}", lambda *_: None)(*args)
        yield True

    def _open(self, slot: int, path: str, flags: int) -> None:
        if flags & os.O_CREAT and path not in self.paths:
            self.paths[path] = bytearray()
        content = self.paths[path]
        assert content is not None
        if flags & os.O_TRUNC:
            content.clear()
        self._slots[slot] = content

    def _pwrite(self, slot: int, offset: int, data: bytes) -> None:
        self._slots[slot][offset : offset + len(data)] = data

    def _truncate(self, slot: int, size: int) -> None:
        del self._slots[slot][size:]

    def _mkdir(self, path: str) -> None:
        self.paths[path] = None

    def _rmdir(self, path: str) -> None:
        del self.paths[path]

    _unlink = _rmdir

    def _rename(self, old: str, new: str) -> None:
        self.paths[new] = self.paths.pop(old)
        below = [path for path in self.paths if path.startswith(f"{old}/")]
        for path in below:
            self.paths[new + path.removeprefix(old)] = self.paths.pop(path)


def held(directory: Path) -> dict[str, bytes | None]:
    """What a directory holds, as a model has it; nothing if it is not there."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in directory.rglob("*")
    }


class Ledger:
    """When each step began and when it returned, by the clock that all processes share."""

    def __init__(self) -> None:
        self._times = array("q")

    def begin(self) -> None:
        """A step begins."""
        self._times.append(time.monotonic_ns())

    returned = begin

    def save(self, path: Path) -> None:
        """Write it, for `load`."""
        path.write_bytes(self._times.tobytes())

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Read what `save` has written."""
        ledger = cls()
        ledger._times.frombytes(path.read_bytes())
        return ledger

    @property
    def begun(self) -> array[int]:
        return self._times[::2]

    @property
    def done(self) -> array[int]:
        return self._times[1::2]


class _Disk:
    """A directory on a real filesystem, with the steps as system calls."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._slots: dict[int, int] = {}
        self.calls: dict[str, Callable[..., None]] = {
            "open": self._open,
            "append": self._append,
            "pwrite": self._pwrite,
            "truncate": lambda slot, size: os.ftruncate(self._slots[slot], size),
            "fsync": lambda slot: os.fsync(self._slots[slot]),
            "close": lambda slot: os.close(self._slots.pop(slot)),
            "mkdir": lambda path: os.mkdir(self._root + path),
            "rmdir": lambda path: os.rmdir(self._root + path),
            "unlink": lambda path: os.unlink(self._root + path),
            "rename": lambda old, new: os.rename(self._root + old, self._root + new),
        }

    def _open(self, slot: int, path: str, flags: int) -> None:
        self._slots[slot] = os.open(self._root + path, flags, 0o644)

    def _append(self, slot: int, data: bytes) -> None:
        written = os.write(self._slots[slot], data)
        if written < len(data):  # the filesystem has gone, or is full, meanwhile; this says so
            os.write(self._slots[slot], data[written:])

    def _pwrite(self, slot: int, offset: int, data: bytes) -> None:
        written = os.pwrite(self._slots[slot], data, offset)
        if written < len(data):
            os.pwrite(self._slots[slot], data[written:], offset + written)

    def close(self) -> None:
        for fd in self._slots.values():
            with contextlib.suppress(OSError):
                os.close(fd)


def main(kind: str, root: str, seed: str, ledger_path: str, stop: str) -> None:
    """Write until a file named `stop` appears, or the filesystem goes."""
    disk, ledger = _Disk(Path(root)), Ledger()
    try:
        for step in steps(kind, seed):
            if os.path.exists(stop):
                break
            ledger.begin()
            disk.calls[step[0]](*step[1:])
            ledger.returned()
    finally:
        disk.close()
        ledger.save(Path(ledger_path))


if __name__ == "__main__":
    main(*sys.argv[1:])
