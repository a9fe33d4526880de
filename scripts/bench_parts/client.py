"""The measured loops, run as a process of their own: `client.py STEP PATH [SOURCE]`.

Prints seconds and a count that tells that the work was really done. Only the loop is timed, not
the start of Python. Imports stay few: after the page cache was dropped each is read from disk.
"""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
import time

READS = 5_000
CREATED = 10_000
WRITTEN = 1 << 30
BLOCK = 4096
MIB = 1 << 20


def walk(root: str) -> int:
    """List every directory and stat every file; the number of files."""
    count = 0
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    os.stat(entry.path)
                    count += 1
    return count


def read(root: str) -> int:
    """Read every file whole, in directory order; the number of bytes."""
    total = 0
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                fd = os.open(entry.path, os.O_RDONLY)
                while data := os.read(fd, MIB):
                    total += len(data)
                os.close(fd)
    return total


def shuffled(root: str) -> int:
    """Read every file whole, in random order; the number of bytes."""
    paths = [os.path.join(at, name) for at, _, names in os.walk(root) for name in names]
    paths.sort()
    random.Random(5).shuffle(paths)
    total = 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            total += len(file.readall())
    return total


def seq(root: str) -> int:
    """Read the big file front to back; the number of bytes."""
    fd = os.open(os.path.join(root, "big.bin"), os.O_RDONLY)
    total = 0
    while data := os.read(fd, MIB):
        total += len(data)
    os.close(fd)
    return total


def random_offsets(size: int) -> list[int]:
    rng = random.Random(7)
    return [rng.randrange(size // BLOCK) * BLOCK for _ in range(READS)]


def pread_all(root: str, offsets: list[int]) -> list[bytes]:
    fd = os.open(os.path.join(root, "big.bin"), os.O_RDONLY)
    blocks = [os.pread(fd, BLOCK, offset) for offset in offsets]
    os.close(fd)
    return blocks


def write(root: str) -> int:
    """Write a big file front to back; the number of bytes."""
    block = os.urandom(MIB)
    fd = os.open(os.path.join(root, "written.bin"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    total = sum(os.write(fd, block) for _ in range(WRITTEN // MIB))
    os.close(fd)
    return total


def create(root: str) -> int:
    """Make small files in one directory; their number."""
    block = os.urandom(BLOCK)
    os.mkdir(os.path.join(root, "created"))
    for n in range(CREATED):
        path = os.path.join(root, "created", f"file{n:05}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, block)
        os.close(fd)
    return CREATED


def untar(root: str, archive: str) -> int:
    """Unpack with tar; its exit status."""
    return subprocess.run(["tar", "-xf", archive, "-C", root], check=False).returncode


def main() -> None:
    step, root, source = sys.argv[1:]
    if step == "random":
        offsets = random_offsets(os.path.getsize(os.path.join(source, "big.bin")))
        start = time.perf_counter()
        blocks = pread_all(root, offsets)
        elapsed = time.perf_counter() - start
        if blocks != pread_all(source, offsets):
            sys.exit("random: what was read is not what the source holds")
        print(elapsed, sum(map(len, blocks)))
        return
    loops = {
        "walk": walk,
        "read": read,
        "shuffled": shuffled,
        "seq": seq,
        "write": write,
        "create": create,
    }
    loop = loops.get(step) or functools.partial(untar, archive=source)
    start = time.perf_counter()
    count = loop(root)
    print(time.perf_counter() - start, count)


if __name__ == "__main__":
    main()
