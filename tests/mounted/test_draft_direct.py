"""Files that are made in a draft and written past the kernel's pages, see `artfs.vfs.draft.direct`:
others who read them, or have mapped them, meanwhile."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuse

PAGE = mmap.PAGESIZE
SIZE = 1 << 20
ROUNDS = 100


@pytest.fixture
def made(place: Path) -> Iterator[Callable[[str, bytes], int]]:
    """Makes a file to write to, which stays open."""
    opened = []

    def make(name: str, content: bytes) -> int:
        fd = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        opened.append(fd)
        assert os.write(fd, content) == len(content)
        return fd

    yield make
    for fd in opened:
        os.close(fd)


@contextmanager
def beside(program: str, path: Path) -> Iterator[None]:
    """While a process runs that opens `path` as `fd`, and goes on until it is told to end."""
    code = f"import mmap, os, select, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n{program}"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"begun\n"
        yield
        process.stdin.close()
        assert process.wait(30) == 0


def slow(data: bytes, path: Path) -> mmap.mmap:
    """Memory that the kernel gets page by page when it is written: others have time to read what
    the write is about to change."""
    path.write_bytes(data)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


READS = """
print("begun", flush=True)
while not select.select([0], [], [], 0)[0]:
    for n in range(100):
        os.pread(fd, 4096, 0)
"""


def test_what_was_written_is_what_others_read(
    place: Path, tmp_path: Path, made: Callable[[str, bytes], int]
) -> None:
    """Also if they read, and what they read is cached, all the time."""
    fd = made("file", bytes(SIZE))
    reading = os.open(place / "file", os.O_RDONLY)
    with (
        beside(READS, place / "file"),
        closing(os.fdopen(reading, "rb", buffering=0)),
        mmap.mmap(reading, 0, prot=mmap.PROT_READ) as mapped,
    ):
        for n in range(ROUNDS):
            data = n.to_bytes(4) * (SIZE // 4)
            with slow(data, tmp_path / "source") as memory:
                assert os.pwrite(fd, memory, 0) == SIZE
            assert os.pread(reading, PAGE, 0) == data[:PAGE]
            assert mapped[:PAGE] == data[:PAGE]


STORES = """
memory = mmap.mmap(fd, 0)
print("begun", flush=True)
n = 0
while not select.select([0], [], [], 0)[0]:
    for _ in range(100):
        n += 1
        memory[8:16] = n.to_bytes(8)
assert int.from_bytes(memory[8:16]) == n
memory.flush()
assert int.from_bytes(os.pread(fd, 8, 8)) == n
"""


def test_what_is_stored_beside_a_write_stays_and_so_does_the_write(
    place: Path, tmp_path: Path, made: Callable[[str, bytes], int]
) -> None:
    """Of one page, by a mapping and by a write."""
    fd = made("file", bytes(SIZE))
    with beside(STORES, place / "file"), (place / "file").open("rb") as file:
        for n in range(ROUNDS):
            data = n.to_bytes(4) * (SIZE // 4)
            with slow(data, tmp_path / "source") as memory:
                assert os.pwrite(fd, memory, 64) == SIZE
            assert os.pread(file.fileno(), PAGE, 64) == data[:PAGE]
    assert (place / "file").read_bytes()[64:] == data


def test_writing_what_is_mapped_of_the_same_file(
    place: Path, made: Callable[[str, bytes], int]
) -> None:
    fd = made("file", b"abcdefgh" * PAGE)
    with (place / "file").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:4] = b"mine"
        memory[PAGE : PAGE + 4] = b"mine"
        with memoryview(memory) as all_of_it, all_of_it[:PAGE] as page:
            os.pwrite(fd, page, PAGE + 100)
        expected = b"mine" + (b"abcdefgh" * PAGE)[4:100] + b"mine" + (b"abcdefgh" * PAGE)[4:PAGE]
        assert memory[PAGE : 2 * PAGE + 100] == expected
        file.seek(PAGE)
        assert file.read(PAGE + 100) == expected


class Mixed:
    """One file, written by the descriptor that made it, by another one and by a mapping, and what
    it has to be."""

    LIMIT = 300_000
    ACTS = ("direct", "direct", "append", "paged", "store", "read", "load", "truncate", "map")

    def __init__(self, path: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.direct = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self.paged = os.open(path, os.O_RDWR)
        self.expected = bytearray()
        self.memory: mmap.mmap | None = None

    def act(self) -> None:
        act = self.rng.choice(self.ACTS)
        at = len(self.expected) if act == "append" else self.rng.randrange(self.LIMIT)
        size = min(self.rng.choice((1, 10, 100, PAGE, 5000, 70_000)), self.LIMIT - at)
        if act in ("direct", "append", "paged"):
            data = self.rng.randbytes(size)
            assert os.pwrite(self.paged if act == "paged" else self.direct, data, at) == size
            self.put(at, data)
        elif act == "read":
            assert os.pread(self.paged, size, at) == self.expected[at : at + size]
        elif act == "truncate" and self.rng.random() < 0.2:
            self.unmap()
            os.ftruncate(self.rng.choice((self.direct, self.paged)), at)
            del self.expected[at:]
            self.put(at, b"")
        elif act == "map":
            self.unmap()
            if self.expected:
                self.memory = mmap.mmap(self.paged, len(self.expected))
        elif self.memory is not None and at < len(self.memory):
            size = min(size, len(self.memory) - at)
            if act == "store":
                data = self.rng.randbytes(size)
                self.memory[at : at + size] = data
                self.put(at, data)
            assert self.memory[at : at + size] == self.expected[at : at + size]

    def put(self, at: int, data: bytes) -> None:
        self.expected.extend(bytes(max(0, at - len(self.expected))))
        self.expected[at : at + len(data)] = data

    def unmap(self) -> None:
        if self.memory is not None:
            self.memory.close()
            self.memory = None

    def close(self) -> None:
        self.unmap()
        os.close(self.direct)
        os.close(self.paged)


@pytest.mark.parametrize("seed", range(4))
def test_all_ways_to_write_one_file(place: Path, seed: int) -> None:
    with closing(Mixed(place / "file", seed)) as mixed:
        for _ in range(500):
            mixed.act()
            assert os.fstat(mixed.paged).st_size == len(mixed.expected)
        assert (place / "file").read_bytes() == mixed.expected


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE + 1, (1 << 20) + 5, (3 << 20) + 1])
def test_content_that_the_kernel_copies(place: Path, size: int) -> None:
    """sendfile, copy_file_range and writev, from a file of the same place."""
    content = os.urandom(size)
    (place / "file").write_bytes(content)
    shutil.copyfile(place / "file", place / "sent")
    subprocess.run(["cp", place / "file", place / "copied"], check=True)
    fd = os.open(place / "gathered", os.O_WRONLY | os.O_CREAT, 0o644)
    assert os.writev(fd, [content[:7], b"", content[7:]]) == size
    os.close(fd)
    for name in ("sent", "copied", "gathered"):
        assert (place / name).read_bytes() == content, name
        assert (place / name).stat().st_size == size


def test_appending_by_two(place: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    one, two = (os.open(place / "file", flags, 0o644) for _ in range(2))
    expected = b""
    for n in range(60):
        for fd, line in ((one, f"one {n}\n".encode()), (two, f"two {n}\n".encode() * 1000)):
            os.write(fd, line)
            expected += line
        if n == 30:
            os.ftruncate(one, 10)
            expected = expected[:10]
    os.close(one)
    os.close(two)
    assert (place / "file").read_bytes() == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
@pytest.mark.parametrize("uid", [0, 65534])
def test_set_id_bits_of_a_file_that_is_written(place: Path, uid: int) -> None:
    """Given while it is being written, only root's writes leave them."""
    place.chmod(0o777)
    before = os.getcwd()
    os.chdir(place)
    try:
        os.seteuid(uid)
        fd = os.open("file", os.O_WRONLY | os.O_CREAT, 0o755)
        os.write(fd, b"one")
        os.fchmod(fd, 0o6755)
        assert stat.S_IMODE(os.stat("file").st_mode) == 0o6755
        os.write(fd, b"two")
        assert stat.S_IMODE(os.stat("file").st_mode) == (0o755 if uid else 0o6755)
        os.close(fd)
    finally:
        os.seteuid(0)
        os.chdir(before)
    assert (place / "file").read_bytes() == b"onetwo"
