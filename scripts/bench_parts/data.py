"""The two data sets: seeded, so equal on every machine; made once and kept."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sysconfig
from pathlib import Path

SMALL_FILES = 20_000
SMALL_DIRS = 200
BIG_BYTES = 1 << 30
_MIB = 1 << 20


def make(base: Path) -> None:
    """Make `small` and `big` below base, unless they are there complete."""
    base.mkdir(parents=True, exist_ok=True)
    for name, fill in (("small", _fill_small), ("big", _fill_big)):
        if not (base / name).exists():
            print(f"making {base / name} …", flush=True)
            part = base / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            fill(part)
            os.sync()
            part.rename(base / name)


def _fill_small(target: Path) -> None:
    rng = random.Random(20_000)
    for d in range(SMALL_DIRS):
        folder = target / f"dir{d:03}"
        folder.mkdir()
        for f in range(SMALL_FILES // SMALL_DIRS):
            # Log-uniform over 1-64 KiB, bent a little so that the total is about 335 MB.
            size = int(1024 * 64 ** (rng.random() ** 0.9))
            (folder / f"file{f:03}.bin").write_bytes(rng.randbytes(size))


def _fill_big(target: Path) -> None:
    rng = random.Random(1)
    with (target / "big.bin").open("wb") as file:
        for _ in range(BIG_BYTES // _MIB):
            file.write(rng.randbytes(_MIB))


def archive(base: Path) -> Path:
    """A tar file of Python's own library, without what is compiled or comes from elsewhere."""
    path = base / "lib" / "Lib.tar"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        library = sysconfig.get_path("stdlib")
        part = path.with_suffix(".part")
        left_out = ["--exclude=__pycache__", "--exclude=site-packages"]
        subprocess.run(["tar", "-cf", part, *left_out, "-C", library, "."], check=True)
        part.rename(path)
    return path
