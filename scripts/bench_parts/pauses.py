"""How long a reader of a draft waits at most while the draft is committed.

The reader is a process of its own, `pauses.py ROOT STOP`, and asks what the kernel cannot answer:
for names that are not there, for bytes it was told to forget, for room. It prints, for each kind
of request, how many there were and the longest, in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FILES, SIZE, BIG = 20_000, 4096, 256 << 20
#: Nobody who reads is to wait longer for a commit.
LIMIT = 0.2


def fill(root: Path) -> None:
    """Make the draft a large one: many files in directories, and one of `BIG` bytes."""
    for n in range(FILES):
        directory = root / f"d{n // 100}"
        if n % 100 == 0:
            directory.mkdir()
        (directory / f"f{n}").write_bytes(n.to_bytes(4, "big") * (SIZE // 4))
    with (root / "big").open("wb") as file:
        for n in range(BIG >> 20):
            file.write(os.urandom(1 << 19) + n.to_bytes(4, "big") * (1 << 17))


def longest(root: Path, work: Path, commit: Callable[[], object]) -> dict[str, tuple[int, float]]:
    """Requests and the longest wait of each kind, while `commit` runs."""
    stop = work / "stop"
    command = [sys.executable, "-I", __file__, str(root), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            time.sleep(0.5)  # until it reads; without a commit that takes no time worth mentioning
            commit()
        finally:
            stop.touch()
        out, _ = reader.communicate(timeout=60)
    found: dict[str, tuple[int, float]] = json.loads(out)
    return found


def main(root: str, stop: str) -> None:
    """Ask until the file `stop` is there."""
    waits: dict[str, tuple[int, float]] = {}
    fd = os.open(f"{root}/big", os.O_RDONLY)
    number = 0

    def timed(kind: str, ask: Callable[..., object], *args: object) -> None:
        start = time.perf_counter()
        with contextlib.suppress(FileNotFoundError):
            ask(*args)
        count, most = waits.get(kind, (0, 0.0))
        waits[kind] = count + 1, max(most, time.perf_counter() - start)

    while not os.path.exists(stop):
        number += 1
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        timed("stat", os.stat, f"{root}/none{number}")
        timed("read", os.pread, fd, 4096, number * 7 % (BIG >> 12) << 12)
        timed("open", Path.read_bytes, Path(f"{root}/d{number % 200}/f{number % 200 * 100}"))
        timed("list", os.listdir, f"{root}/d{number % 200}")
        timed("statfs", os.statvfs, root)
    print(json.dumps(waits))


if __name__ == "__main__":
    main(*sys.argv[1:])
