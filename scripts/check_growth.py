"""What 300 versions of an artifact of 20,000 files cost, each changing one file.

Prints, for one flat directory and for 200 directories, what a commit stores besides the file's own
data, and how long the third and the last commit, and mounting of these versions, take. Fails if any
commit stores 64 KiB or more.

    python scripts/check_growth.py [VERSIONS [FILES]]
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import msgspec
from bench_parts.peers import run

from artfs.format.build import Root
from artfs.repo.chunking import store_file
from artfs.repo.commit import commit
from artfs.repo.editing import edit, new_directory
from artfs.repo.packing import PackWriter
from artfs.repo.reading import resolve
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, Entry, Kind

KEY = ArtifactKey("default", "default", "growth")
LIMIT = 64 << 10
DATA = 4000


def file_entry(name: bytes, seed: str, writer: PackWriter) -> Entry:
    """A file of noise, stored."""
    data = random.Random(seed).randbytes(DATA)
    root: Root = store_file(lambda at, length: data[at : at + length], DATA, writer)
    now = time.time_ns()
    return Entry(name, Kind.FILE, 0o644, now, DATA, 0, root.digest, root.blob, root.height)


def first_version(directories: int, files: int, writer: PackWriter) -> Entry:
    """`files` files in one directory, or spread over so many."""
    each = files // directories
    inside = [
        new_directory(
            b"dir%04d" % d, 0o755, 0,
            [file_entry(b"image_%06d.png" % n, f"{d}/{n}", writer) for n in range(each)], writer,
        )
        for d in range(directories)
    ]  # fmt: skip
    if directories == 1:
        return msgspec.structs.replace(inside[0], name=b"")
    return new_directory(b"", 0o755, 0, inside, writer)


def changed(root: Entry, number: int, directories: int, files: int, writer: PackWriter) -> Entry:
    """The version with one file changed, another one each time."""
    blobs = writer.repository.blobs
    each = files // directories
    name = b"image_%06d.png" % (number * 7919 % each)
    new = file_entry(name, f"version {number}", writer)
    if directories == 1:
        return edit(root, {name: new}, writer, blobs)
    where = b"dir%04d" % (number * 37 % directories)
    inner = edit(resolve(root, where, blobs), {name: new}, writer, blobs)
    return edit(root, {where: inner}, writer, blobs)


def size_of(directory: Path) -> int:
    """Bytes of all files of a store."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def mounting(place: Path, version: int) -> float:
    """Seconds until a version is mounted, the median of five times."""
    artfs = [sys.executable, "-m", "artfs", "--store", str(place / "store")]
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        os.environ[name] = str(place / name)
    mount = place / "mnt"
    mount.mkdir(exist_ok=True)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(*artfs, "mount", f"growth:v{version}", mount)
        times.append(time.perf_counter() - start)
        run(*artfs, "umount", mount)
    return statistics.median(times)


def grow(place: Path, directories: int, versions: int, files: int) -> int:
    """Make the versions, print what they cost; the largest cost."""
    costs, times = [], []
    with Repository.open(str(place / "store"), place / "cache", create=True) as repository:
        with PackWriter(repository) as writer:
            root = first_version(directories, files, writer)
            commit(repository, KEY, root, writer, commit_id=uuid.uuid4().hex)
        for number in range(1, versions):
            before = size_of(place / "store")
            start = time.perf_counter()
            with PackWriter(repository) as writer:
                root = repository.catalog.version(KEY, number - 1).root.entry()
                root = changed(root, number, directories, files, writer)
                commit(repository, KEY, root, writer, commit_id=uuid.uuid4().hex)
            times.append(time.perf_counter() - start)
            costs.append(size_of(place / "store") - before - DATA)
    print(
        f"{directories} directories: {max(costs)} bytes at most besides the file, median"
        f" {statistics.median(costs):.0f}; commit {statistics.median(times[1:6]) * 1e3:.1f} ms at"
        f" v3, {statistics.median(times[-5:]) * 1e3:.1f} ms at v{versions - 1}; mounted in"
        f" {mounting(place, 3):.2f} and {mounting(place, versions - 1):.2f} s"
    )
    return max(costs)


def main() -> int:
    """Run both layouts; 1 if one of them costs too much."""
    versions = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    files = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    worst = 0
    for directories in (1, 200):
        with tempfile.TemporaryDirectory() as place:
            worst = max(worst, grow(Path(place), directories, versions, files))
    if worst >= LIMIT:
        print(f"FAILED: a version of one changed file stored {worst} bytes besides it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
