"""A million files in one directory, and a million in 10,000: put, mounted, walked, and edited.

Fails if a listing of a directory of 100 files takes a second or more, the daemon holds 300 MB or
more after a walk of everything, or `artfs sync` of one changed file takes half a second or more.

    python scripts/check_million.py [FILES]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_parts.peers import peak_memory, run

EACH = 100
ARTFS = [sys.executable, "-m", "artfs"]
#: Seconds, bytes.
LISTING, MEMORY, SYNC = 1.0, 300e6, 0.5
SYNCS = 7


def make(root: Path, files: int, directories: int) -> None:
    """`files` small files, all different, in so many directories; and a directory of `EACH`."""
    each = files // directories
    for name, count in [(f"d{d:05}", each) for d in range(directories)] + [("few", EACH)]:
        (root / name).mkdir(parents=True)
        for n in range(count):
            with open(root / name / f"image_{n:07}.txt", "x") as file:
                file.write(f"{name} {n}\n")


def walk(path: str) -> int:
    """Stat everything; how many files there are."""
    count = 0
    with os.scandir(path) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                count += walk(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                count += 1
    return count


def timed(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def sync_once(mount: Path, number: int) -> float:
    """Seconds that `artfs sync` takes after a change of one file."""
    (mount / "few" / f"image_{number:07}.txt").write_text(f"changed {number}\n")
    return timed(lambda: run(*ARTFS, "sync", mount))


def check(place: Path, files: int, directories: int) -> bool:
    """Print the figures of one layout; whether all are within their limits."""
    source, mount = place / "source", place / "mnt"
    for name in ("ARTFS_STORE", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        os.environ[name] = str(place / name)
    print(f"{files} files in {directories} directories", flush=True)
    make(source, files, directories)
    run(*ARTFS, "init")
    mount.mkdir()
    put = timed(lambda: run(*ARTFS, "put", "million", source, "--type", "dataset"))
    print(f"  put {put:.0f} s", flush=True)
    run(*ARTFS, "mount", "million:v0", mount)
    try:
        listing = timed(lambda: os.listdir(mount / "few"))
        walking = timed(lambda: walk(str(mount)))
        memory = peak_memory(mount)
    finally:
        run(*ARTFS, "umount", mount)
    print(
        f"  ls {listing * 1e3:.1f} ms, walk {walking:.0f} s, daemon {memory / 1e6:.0f} MB at most"
    )
    run(*ARTFS, "draft", "million", mount)
    try:
        syncs = [sync_once(mount, number) for number in range(SYNCS)]
    finally:
        run(*ARTFS, "umount", mount)
    print("  artfs sync of one file", *(f"{seconds:.2f}" for seconds in syncs), "s", flush=True)
    return listing < LISTING and memory < MEMORY and sorted(syncs)[SYNCS // 2] < SYNC


def main() -> int:
    """Check both layouts; 1 if something is not within its limit."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    good = True
    for directories in (1, files // EACH):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as place:
            good &= check(Path(place), files, directories)
    if not good:
        print("FAILED: see the limits in the file")
    return not good


if __name__ == "__main__":
    sys.exit(main())
