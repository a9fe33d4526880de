"""Fetching ahead of who reads large files of remote stores."""

from __future__ import annotations

from pathlib import Path

import trio

from artfs.aio.fetch import Fetcher
from artfs.aio.streams import Streams
from artfs.format import walk
from artfs.repo.packing import PackWriter
from artfs.repo.reading import drive
from artfs.repo.repository import Repository
from artfs.store.cached.store import CachedStore
from artfs.types import Entry, Kind
from tests.support.mounts import wait_for
from tests.support.remote import RemoteStore
from tests.unit.repo.trees import noise, stored_file

MIB = 1 << 20
FILE = Entry(b"big", Kind.FILE, 0o644, 0, 1 << 30, 0, b"digest")


class Asked:
    def __init__(self, accept: bool = True) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.accept = accept
        self.streams = Streams(self.fetch)

    def fetch(self, file: Entry, start: int, length: int) -> bool:
        self.ranges.append((start, length))
        return self.accept


def test_a_file_read_from_its_beginning_is_fetched_ahead_without_gaps() -> None:
    asked = Asked()
    for at in range(0, 1 << 30, MIB):
        asked.streams.read(FILE, at, MIB)
        assert not at or asked.ranges[-1][0] + asked.ranges[-1][1] > at
    for (start, length), (following, _) in zip(asked.ranges, asked.ranges[1:], strict=False):
        assert following == start + length
    assert sum(asked.ranges[-1]) == 1 << 30
    assert len(asked.ranges) < 30


def test_reads_here_and_there_fetch_nothing_ahead() -> None:
    asked = Asked()
    for n in range(1, 500):
        asked.streams.read(FILE, n * 7_654_321_987 % (1 << 30), 4096)
    assert len(asked.ranges) < 5


def test_what_was_declined_is_asked_for_again() -> None:
    asked = Asked(accept=False)
    for at in range(0, 4 * MIB, MIB):
        asked.streams.read(FILE, at, MIB)
    assert [start for start, _ in asked.ranges] == [MIB, 3 * MIB, 4 * MIB]


def test_two_readers_of_a_file_are_told_apart() -> None:
    asked = Asked()
    for at in range(0, 64 * MIB, MIB):
        asked.streams.read(FILE, at, MIB)
        asked.streams.read(FILE, (512 << 20) + at, MIB)
    assert {start >= 512 << 20 for start, _ in asked.ranges} == {True, False}
    assert len(asked.ranges) < 20


def test_what_is_ahead_comes_in_few_requests_from_all_packs(tmp_path: Path) -> None:
    """The file lies in two packs; the second one is fetched before its first chunk is read."""
    far = RemoteStore()
    store = CachedStore(far, tmp_path / "id", "packs/", lambda _: False, size=1 << 30, requests=4)
    with Repository(store, "id", tmp_path) as repository:
        data = noise(40 * MIB)
        with PackWriter(repository) as writer:
            file = stored_file(b"big", data, writer)
            writer.finish()
        fetcher = Fetcher(repository.blobs)

        async def main() -> None:
            at = 0
            while at < 28 * MIB:
                pieces = drive(walk.chunks(file, at, MIB), repository.blobs)
                refs = [ref for _, ref in pieces]
                fetcher.reading(file, at, refs)
                assert await fetcher.joined(refs) == b"".join(
                    data[start : start + ref.size] for start, ref in pieces
                )
                at = pieces[-1][0] + pieces[-1][1].size

        trio.run(main)
        wait_for(lambda: sum(length for _, _, length in far.ranges) >= 40 * MIB)
        assert len(far.ranges) < 40
