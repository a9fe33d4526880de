"""`artfs.open`, and what is read of a file that is open."""

from __future__ import annotations

import errno
import io
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

import artfs
from artfs.api import files
from artfs.api.files import VersionFile
from artfs.format import walk
from artfs.repo.blobs import Blobs
from artfs.repo.reading import chunks_at, drive, resolve
from artfs.types import BlobRef, Entry
from tests.unit.api.reading.conftest import Put
from tests.unit.repo.trees import KEY, commit_tree, memory_repository, noise

BIG = noise(2 << 20)


def test_binary(put: Put) -> None:
    put({b"d": {b"big": BIG, b"\xff": b"odd"}})
    with artfs.open("animals", "d/big") as file:
        assert isinstance(file, io.BufferedReader)
        assert (file.size, file.readable(), file.seekable(), file.writable()) == (
            len(BIG), True, True, False
        )  # fmt: skip
        assert file.read() == BIG
    assert file.closed
    for path in (b"d/\xff", "d/\udcff", PurePosixPath("d/\udcff"), "/d//./\udcff"):
        with artfs.open("animals:v0", path) as file:
            assert file.read() == b"odd"


def test_text(put: Put) -> None:
    put({b"t": "Ä\r\nb\n".encode("latin-1")})
    with artfs.open("animals:latest", "t", "r", encoding="latin-1") as file:
        assert file.readlines() == ["Ä\n", "b\n"]
    with artfs.open("animals:latest", "t", "rt", encoding="latin-1", newline="") as file:
        assert file.read() == "Ä\r\nb\n"
    with artfs.open("animals:latest", "t", "r", encoding="ascii", errors="replace") as file:
        assert file.read(1) == "\ufffd"


def test_errors(put: Put) -> None:
    put({b"t": b"x", b"d": {}})
    for ref, path, kind in (
        ("animals", "none", FileNotFoundError), ("plants", "t", FileNotFoundError),
        ("animals", "t/x", NotADirectoryError), ("animals", "d", IsADirectoryError),
        ("animals", "", IsADirectoryError), ("a b", "t", FileNotFoundError),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            artfs.open(ref, path)
        assert caught.value.filename == f"{ref}/{path}"
    for mode in ("w", "wb", "r+", "a", "x"):
        with pytest.raises(OSError, match="Read-only") as refused:
            artfs.open("animals", "t", mode)  # type: ignore[call-overload]  # it is wrong
        assert refused.value.errno == errno.EROFS
    for mode in ("", "b", "q", "rbt", "rr"):
        with pytest.raises(ValueError, match="mode"):
            artfs.open("animals", "t", mode)  # type: ignore[call-overload]  # it is wrong
    with pytest.raises(ValueError, match="binary"):
        artfs.open("animals", "t", encoding="ascii")  # type: ignore[call-overload]  # it is wrong


def test_the_store_is_an_argument(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put({b"t": b"x"})
    url = os.environ["ARTFS_STORE"]
    monkeypatch.delenv("ARTFS_STORE")
    with artfs.open("animals", "t", store=url) as file:
        assert file.read() == b"x"
    with pytest.raises(FileNotFoundError):
        artfs.open("animals", "t")


def test_random_access(put: Put) -> None:
    """Whatever is read in whatever order is what a file of the disk would give."""
    put({b"big": BIG})
    rng = random.Random(7)
    model = io.BytesIO(BIG)
    with artfs.open("animals", "big") as file:
        for _ in range(300):
            if rng.random() < 0.5:
                place = rng.choice([rng.randrange(len(BIG)), len(BIG) - 1, len(BIG) + 5, 0])
                assert file.seek(place) == model.seek(place)
            size = rng.choice([0, 1, 100, 5000, 70_000, 300_000])
            assert file.read(size) == model.read(size)
            assert file.tell() == model.tell()
        assert file.seek(-10, os.SEEK_END) == len(BIG) - 10
        assert file.seek(4, os.SEEK_CUR) == len(BIG) - 6
        assert file.read() == BIG[-6:]
        with pytest.raises(OSError, match="Invalid argument"):
            file.seek(-len(BIG) - 1, os.SEEK_END)
    with pytest.raises(ValueError, match="closed"):
        file.read()


class Recording(Blobs):
    """Keeps the digests of all chunks that are read."""

    read_digests: list[bytes]

    def span(self, refs: Sequence[BlobRef]) -> bytes:
        self.read_digests += [ref.digest for ref in refs]
        return super().span(refs)


def test_only_the_chunks_needed_are_read(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"big": BIG})
        blobs = repository.blobs = Recording(repository.store)
        (root,) = [repository.catalog.version(key, 0).root.entry()
                   for key in repository.catalog.artifacts("default", "default")]  # fmt: skip
        entry = resolve(root, b"big", blobs)
        pieces = drive(walk.chunks(entry, 0, entry.size), blobs)
        assert len(pieces) > 16
        starts = [start for start, _ in pieces]
        digests = [ref.digest for _, ref in pieces]

        def reads(*ranges: tuple[int, int]) -> list[int]:
            """Which chunks a new file object reads for ranges of a file."""
            blobs.read_digests = []
            with VersionFile(entry, repository, "big") as file:
                for start, size in ranges:
                    file.seek(start)
                    assert file.read(size) == BIG[start : start + size]
            return [digests.index(digest) for digest in blobs.read_digests]

        assert reads() == []
        assert reads((starts[5], 10)) == [5]
        assert reads((starts[5] - 5, 10)) == [4, 5]
        assert reads((starts[9] + 1, 1), (starts[2] + 1, 1)) == [9, 2]
        assert reads((starts[3], 10), (starts[3] + 100, 10), (starts[3], 10)) == [3]
        assert reads((starts[1], starts[12] - starts[1])) == list(range(1, 12))
        assert reads((0, len(BIG))) == list(range(len(pieces)))
        assert reads(*((at, 1000) for at in range(0, len(BIG), 1000))) == list(range(len(pieces)))


def test_whoever_goes_on_is_read_ahead_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recording(entry: Entry, blobs: Blobs, at: int, length: int) -> tuple[int, bytes]:
        asked.append(length)
        return chunks_at(entry, blobs, at, length)

    monkeypatch.setattr(files, "chunks_at", recording)
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"big": BIG})
        root = repository.catalog.version(KEY, 0).root.entry()
        with VersionFile(resolve(root, b"big", repository.blobs), repository, "big") as file:
            assert b"".join(iter(lambda: file.read(1000), b"")) == BIG
    assert asked[:2] == [1, 1]
    assert asked[2:6] == [128 << 10, 256 << 10, 512 << 10, 1 << 20][: len(asked) - 2]
    assert len(asked) > 4


_IMPORTED = """
import sys
import artfs
print([name for name in sys.modules if name.startswith("artfs.") or name == "msgspec"])
artfs.open
print([name for name in ("trio", "pyfuse3", "click", "fsspec") if name in sys.modules])
"""


def test_importing_artfs_is_cheap() -> None:
    """And reading needs neither FUSE nor fsspec."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['artfs.errors']\n[]\n"
    with pytest.raises(AttributeError, match="nosuch"):
        artfs.nosuch  # noqa: B018  # that is the test
    assert {"open", "mounted"} <= set(dir(artfs))


def test_threads_that_share_a_file_read_where_each_has_sought_to(put: Put) -> None:
    put({b"big": BIG})
    with artfs.open("animals", "big") as file, ThreadPoolExecutor(1) as pool:
        for length in (100, 200_000):  # through the buffer, and past it
            file.seek(1000)
            assert pool.submit(file.seek, 500_000).result() == 500_000
            assert file.read(length) == BIG[1000 : 1000 + length]
            assert pool.submit(file.read, length).result() == BIG[500_000 : 500_000 + length]
        file.seek(7)
        pool.submit(file.seek, 500_000).result()
        into = bytearray(10)
        assert file.readinto(into) == 10
        assert bytes(into) == BIG[7:17]


def test_a_file_that_is_handed_to_another_thread_goes_on(put: Put) -> None:
    put({b"big": BIG})
    with artfs.open("animals", "big") as file, ThreadPoolExecutor(1) as pool:
        file.seek(1000)
        assert pool.submit(file.read, 10).result() == BIG[1000:1010]
        assert file.read(10) == BIG[1010:1020]
        assert pool.submit(file.read, 10).result() == BIG[1020:1030]
