"""What artfs-semantics(7) says of mappings and open files in a draft, sentence by sentence."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mounted.conftest import BIG, Shared
from tests.support.failing import fails
from tests.support.mounts import wait_for

pytestmark = pytest.mark.fuse


# Mappings


def test_shared_mappings(place: Path) -> None:
    """A shared mapping and read(2) show the same bytes."""
    fd = os.open(place / "big", os.O_RDWR)
    with mmap.mmap(fd, 0) as memory:
        memory[5000:5004] = b"mmap"
        assert os.pread(fd, 8, 4998) == BIG[4998:5000] + b"mmap" + BIG[5004:5006]
        os.pwrite(fd, b"write", 200_000)
        assert memory[200_000:200_005] == b"write"
        read = "import os, sys; print(os.pread(os.open(sys.argv[1], os.O_RDONLY), 4, 5000))"
        command = [sys.executable, "-c", read, str(place / "big")]
        assert subprocess.run(command, check=True, capture_output=True).stdout == b"b'mmap'\n"
    os.close(fd)


@pytest.mark.parametrize("by", ["msync", "fsync", "munmap"])
def test_mappings_are_written_back(shared: Shared, drafted: Path, by: str) -> None:
    """What was stored through a shared mapping is in the draft after msync(2), fsync(2) or
    munmap(2)."""
    mark = f"stored, {by}".encode()
    fd = os.open(drafted / "big", os.O_RDWR)
    stored = os.fstat(fd).st_ino
    memory = mmap.mmap(fd, 0)
    memory[5000 : 5000 + len(mark)] = mark
    assert not shared.data_files(stored)
    if by == "msync":
        memory.flush()
    elif by == "fsync":
        os.fsync(fd)
    else:
        memory.close()
    (data,) = shared.data_files(stored)
    assert data.read_bytes()[5000 : 5000 + len(mark)] == mark
    memory.close()
    os.close(fd)


def test_private_mappings(place: Path) -> None:
    """What is stored through a private mapping stays with the process."""
    with (place / "big").open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as memory:
            memory[:4] = b"mine"
            assert memory[:4] == b"mine"
            assert os.pread(file.fileno(), 4, 0) == BIG[:4]
        os.fsync(file.fileno())
    assert (place / "big").read_bytes() == BIG


def test_mappings_outlive_descriptors(place: Path) -> None:
    """A mapping outlives the descriptor it was made with, and the name of the file."""
    fd = os.open(place / "big", os.O_RDWR)
    with mmap.mmap(fd, 0) as memory:
        os.close(fd)
        memory[4096:4100] = b"mmap"
        assert (place / "big").read_bytes()[4096:4100] == b"mmap"
        (place / "big").unlink()
        memory[8192:8196] = b"more"
        memory.flush()
        assert memory[4096:4100] + memory[8192:8196] == b"mmapmore"
        assert memory[200_000:] == BIG[200_000:]


# Open files


def test_unlinked_and_replaced_while_open(place: Path) -> None:
    """A file that is unlinked, or replaced by a rename, while it is open can be read, written and
    truncated until it is closed."""
    (place / "new").write_text("new")
    files = [os.open(place / name, os.O_RDWR) for name in ("text", "big", "new")]
    (place / "text").unlink()
    (place / "dir" / "one").rename(place / "big")
    (place / "dir" / "deeper" / "two").rename(place / "new")
    before = [b"text of the base\n", BIG, b"new"]
    for fd, data in zip(files, before, strict=True):
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 1 << 20, 0) == data
        os.pwrite(fd, b"written", 1)
        os.ftruncate(fd, 6)
        assert os.pread(fd, 100, 0) == (data[:1] + b"written")[:6]
        os.close(fd)
    assert (place / "big").read_text() == "one of the base\n"
    assert (place / "new").read_text() == "two of the base\n"
    assert not (place / "text").exists()


def test_room_is_given_back(shared: Shared, drafted: Path) -> None:
    """Once it is closed its room on the disk is given back, at the latest when somebody asks
    statfs(2) for it."""
    fd = os.open(drafted / "new", os.O_RDWR | os.O_CREAT)
    os.write(fd, bytes(1 << 20))
    ino = os.fstat(fd).st_ino
    (drafted / "new").unlink()
    os.statvfs(drafted)
    assert len(shared.data_files(ino)) == 1
    os.close(fd)
    # The kernel tells of the end of a file a moment after close has returned.
    wait_for(lambda: os.statvfs(drafted) and not shared.data_files(ino), what="room")


def test_renaming_what_is_open(place: Path) -> None:
    """A file or a directory can be renamed while it, or what is in it, is open."""
    with (place / "dir" / "deeper" / "two").open("r+") as file:
        listing = os.scandir(place / "dir")
        (place / "dir" / "deeper" / "two").rename(place / "dir" / "deeper" / "2")
        (place / "dir").rename(place / "moved")
        (place / "moved" / "deeper").rename(place / "deeper")
        assert file.read() == "two of the base\n"
        file.write("and more\n")
        file.flush()
        assert (place / "deeper" / "2").read_text() == "two of the base\nand more\n"
        listing.close()
    assert sorted(os.listdir(place / "moved")) == ["one"]


WALKER = """
import os, sys
os.chdir("dir/deeper")
print("there", flush=True)
sys.stdin.readline()
print(os.getcwd(), open("two").read(), open("../one").read(), sep="|")
open("made", "w").close()
"""


def test_renaming_a_working_directory(place: Path) -> None:
    """A directory can be renamed while it is the working directory of a program."""
    command, pipe = [sys.executable, "-c", WALKER], subprocess.PIPE
    with subprocess.Popen(command, cwd=place, stdin=pipe, stdout=pipe, text=True) as walker:
        assert walker.stdout is not None
        assert walker.stdout.readline() == "there\n"
        (place / "dir").rename(place / "empty" / "moved")
        said, _ = walker.communicate("go on\n")
    moved = place / "empty" / "moved" / "deeper"
    assert said == f"{moved}|two of the base\n|one of the base\n\n"
    assert (moved / "made").exists()


def test_a_removed_working_directory(place: Path) -> None:
    """A directory that was removed while a program was in it is empty, and making something there
    is ENOENT."""
    fd = os.open(place / "empty", os.O_RDONLY)
    (place / "empty").rmdir()
    assert os.listdir(fd) == []
    with fails(errno.ENOENT):
        os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    with fails(errno.ENOENT):
        os.mkdir("new", dir_fd=fd)
    with fails(errno.ENOENT):
        os.symlink("to", "new", dir_fd=fd)
    with fails(errno.ENOENT):
        os.rename(place / "text", "new", dst_dir_fd=fd)
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
