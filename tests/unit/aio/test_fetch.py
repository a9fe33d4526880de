"""Fetching for the event loop: once for all who want it, with patience, and never for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from artfs.aio.fetch import DamagedBlob, Device, Fetcher
from artfs.aio.generations import Generations
from artfs.aio.readahead import ReadAhead
from artfs.aio.threads import LIMIT, Hints, retrying, run_blocking, run_retrying
from artfs.errors import Unreachable
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.store.memory import MemoryStore
from artfs.types import BlobRef
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import memory_repository, noise

SIZE = 10_000


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def repository(tmp_path: Path, store: FaultyStore) -> Iterator[Repository]:
    with memory_repository(tmp_path, store) as found:
        yield found


def stored(repository: Repository, count: int) -> list[BlobRef]:
    with PackWriter(repository) as writer:
        refs = [writer.chunk(noise(SIZE, n)) for n in range(count)]
        writer.finish()
    return refs


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at hand without waiting."""
    monkeypatch.setattr("artfs.repo.blobs.Blobs.read_cached", lambda *_: None)


@pytest.mark.usefixtures("cold")
def test_readers_of_one_chunk_fetch_it_once(repository: Repository, store: FaultyStore) -> None:
    [ref] = stored(repository, 1)
    fetcher, found = Fetcher(repository.blobs), []

    async def read() -> None:
        found.append(await fetcher.chunk(ref, keep=False))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read)

    before = store.calls["reader.read"]
    trio.run(main)
    assert found == [noise(SIZE, 0)] * 5
    assert store.calls["reader.read"] == before + 1


@pytest.mark.usefixtures("cold")
def test_neighbours_in_a_pack_are_read_at_once(repository: Repository, store: FaultyStore) -> None:
    refs = stored(repository, 6)
    before = store.calls["reader.read"]
    wanted = refs[:3] + refs[4:]
    data = trio.run(Fetcher(repository.blobs).joined, wanted)
    assert data == b"".join(noise(SIZE, n) for n in (0, 1, 2, 4, 5))
    assert store.calls["reader.read"] == before + 2


@pytest.mark.usefixtures("cold")
def test_a_failure_reaches_all_who_wait_and_is_not_remembered(
    repository: Repository, store: FaultyStore
) -> None:
    [ref] = stored(repository, 1)
    repository.blobs.read(ref)  # opens the pack
    fetcher, failures = Fetcher(repository.blobs, patience=0.2), []

    async def read() -> None:
        try:
            await fetcher.chunk(ref)
        except Unreachable as error:
            failures.append(error)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
        assert await fetcher.chunk(ref) == noise(SIZE, 0)

    for nth in range(1, 3):
        store.fail("reader.read", nth, Unreachable("store", "is down"))
    trio.run(main)
    assert len(failures) == 2


def test_an_unreachable_store_is_tried_again() -> None:
    answers = iter([Unreachable("s", "down"), Unreachable("s", "down"), None])

    def ask() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "there"

    async def main() -> str:
        return await run_retrying(5.0, "store", ask)

    assert trio.run(main) == "there"


def test_a_silent_store_is_given_up_and_threads_are_counted() -> None:
    let_go = threading.Event()

    async def main() -> None:
        with pytest.raises(Unreachable, match="has not answered"):
            await run_retrying(0.05, "store", let_go.wait)
        let_go.set()
        assert await run_blocking(lambda: 7) == 7

    trio.run(main)


def test_a_source_is_asked_again_when_it_wants_to_be() -> None:
    """Not before, and not at all if that is too late."""
    times: list[float] = []

    async def ask() -> float:
        times.append(trio.current_time())
        if len(times) == 2:
            return times[1] - times[0]
        error = Unreachable("s", "busy")
        error.after = 30.0
        raise error

    async def main() -> None:
        assert await retrying(40.0, "source", ask) == pytest.approx(30.0)
        with pytest.raises(Unreachable, match="busy"):
            await retrying(20.0, "source", ask)
        assert trio.current_time() == times[2]

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_pack_that_is_gone_is_damage(repository: Repository, store: FaultyStore) -> None:
    [ref] = stored(repository, 1)
    for info in list(store.list("packs/")):
        store.delete(info.key)
    with pytest.raises(DamagedBlob):
        trio.run(Fetcher(repository.blobs).chunk, ref)


def test_generations_are_bounded_and_keep_what_is_used() -> None:
    cache: Generations[int, int] = Generations(100)
    for n in range(1000):
        cache.put(n, n)
        assert cache.get(0) == 0
        assert len(cache) <= 100
    assert cache.get(999) == 999
    assert cache.get(500) is None


def test_what_was_used_again_counts_as_much_as_before() -> None:
    cache: Generations[int, bytes] = Generations(100, len)
    for n in range(50):
        cache.put(n, bytes(10))
        for kept in range(n + 1):
            cache.get(kept)
        assert len(cache) <= 10
    cache.clear()
    cache.put(0, b"")
    for _ in range(1000):
        cache.put(1, bytes(10))
    assert cache.get(0) == b""


def test_a_thread_that_cannot_be_started_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        hints = Hints()
        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "start_thread_soon", fail)
            for _ in range(LIMIT + 1):
                with pytest.raises(Unreachable, match="no more threads"):
                    await run_blocking(lambda: 7)
                assert not hints.give(lambda: None)
        with trio.fail_after(10):
            assert await run_blocking(lambda: 7) == 7
        assert hints.give(lambda: None)

    trio.run(main)


class Asked:
    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.ahead = ReadAhead(self.prefetch)

    def prefetch(self, ref: BlobRef, length: int) -> bool:
        self.ranges.append((ref.offset, length))
        return True

    def read(self, offset: int, length: int, whole_file: bool = False) -> None:
        ref = BlobRef(b"", length, b"pack", offset, length)
        self.ahead.walked(ref, whole_file=whole_file)


def test_a_walk_is_read_ahead_without_gaps_or_overlaps() -> None:
    asked, block = Asked(), 64 << 10
    for n in range(512):
        asked.read(n * block, block)
    assert asked.ranges[0][0] <= 4 * block
    for (start, length), (following, _) in zip(asked.ranges, asked.ranges[1:], strict=False):
        assert following == start + length
    assert len(asked.ranges) < 12


def test_the_second_small_file_begins_a_walk() -> None:
    asked = Asked()
    asked.read(0, 10_000, whole_file=True)
    asked.read(10_000, 10_000, whole_file=True)
    assert asked.ranges


def test_random_reads_are_not_read_ahead() -> None:
    asked = Asked()
    for n in range(500):
        asked.read(n * 7_654_321 % (32 << 20), 64 << 10)
    assert len(asked.ranges) < 10


def test_a_slow_device_is_not_waited_for_but_tried_again() -> None:
    device, waits = Device(), 0
    for _ in range(1000):
        if device.patience():
            waits += 1
            device.answered(in_time=False)
    assert 4 <= waits < 10
    while not device.patience():
        pass
    device.answered(in_time=True)
    assert device.patience()


@pytest.mark.parametrize("at_hand", [True, False])
def test_joined_chunks_are_what_was_stored(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, at_hand: bool
) -> None:
    """Neighbours and others, compressed and not, the first one read a moment ago or not."""
    with PackWriter(repository) as writer:
        parts = [noise(SIZE, n) if n % 3 else b"%d" % n * SIZE for n in range(8)]
        refs = [writer.chunk(part) for part in parts]
        writer.finish()
    fetcher = Fetcher(repository.blobs)
    if not at_hand:
        monkeypatch.setattr("artfs.repo.blobs.Blobs.span_cached", lambda *_: None)

    async def main() -> None:
        for start, stop in ((0, 3), (2, 5), (4, 8), (7, 8)):
            data = await fetcher.joined(refs[start:stop])
            assert data == b"".join(parts[start:stop])
        assert await fetcher.joined([refs[5], refs[1], refs[2]]) == parts[5] + parts[1] + parts[2]

    trio.run(main)


def test_of_several_chunks_the_damaged_one_is_named(repository: Repository) -> None:
    refs = stored(repository, 3)
    refs[1] = msgspec.structs.replace(refs[1], digest=b"\0" * 32)
    with pytest.raises(DamagedBlob) as caught:
        trio.run(Fetcher(repository.blobs).joined, refs)
    assert caught.value.ref == refs[1]
