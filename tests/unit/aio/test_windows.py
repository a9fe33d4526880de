"""Reading ahead of who reads large files of a store on this machine."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from artfs.aio.threads import Turns
from artfs.aio.windows import Windows
from artfs.errors import Damaged, Unreachable
from artfs.types import Entry, Kind

MIB = 1 << 20
SIZE = 64 * MIB + 12345
FILE = Entry(b"big", Kind.FILE, 0o644, 0, SIZE, 0, b"digest")
OTHER = Entry(b"other", Kind.FILE, 0o644, 0, SIZE, 0, b"of another")
CONTENT = memoryview(bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]


class Loads:
    """What was loaded; waits for `gate`, and fails where `damaged` lies in a window."""

    def __init__(self, damaged: int = -1) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.hangs: Entry | None = None
        self._damaged = damaged

    def load(self, file: Entry, offset: int, size: int) -> memoryview:
        self.ranges.append((offset, size))
        if self.hangs in (None, file):
            self.gate.wait(10)
        if offset <= self._damaged < offset + size:
            raise Damaged("blob", "the bytes do not match their digest")
        return CONTENT[offset : offset + size]


@pytest.fixture
def loads() -> Iterator[Loads]:
    found = Loads()
    yield found
    found.gate.set()  # no thread outlives its test


async def read(
    windows: Windows, offset: int, size: int, file: Entry = FILE
) -> bytes | memoryview | None:
    return await windows.read(file, offset, min(size, SIZE - offset))


@pytest.mark.parametrize("size", [128 << 10, MIB, 5 * MIB // 4])
def test_a_file_read_from_front_to_back_is_loaded_once(loads: Loads, size: int) -> None:
    windows, missed = Windows(loads.load, 10.0), []

    async def main() -> None:
        for at in range(0, SIZE, size):
            data = await read(windows, at, size)
            if data is None:
                missed.append(at)
            else:
                assert data == CONTENT[at : at + size]

    trio.run(main)
    assert len(missed) * size <= 2 * MIB + size
    ranges = sorted(loads.ranges)
    assert sum(ranges[-1]) == SIZE
    for (start, length), (following, _) in itertools.pairwise(ranges):
        assert start + length <= following


def test_reads_out_of_order_by_one_are_found(loads: Loads) -> None:
    windows = Windows(loads.load, 10.0)

    async def main() -> None:
        for at in range(0, 8 * MIB, MIB):
            await read(windows, at, MIB)
        for at in range(8, 40, 2):
            for turned in (at + 1, at):
                data = await read(windows, turned * MIB, MIB)
                assert data is not None
                assert data == CONTENT[turned * MIB : (turned + 1) * MIB]

    trio.run(main)


@pytest.mark.parametrize("seed", range(20))
def test_reads_that_leave_something_out_and_come_back(loads: Loads, seed: int) -> None:
    """What lies between two windows, because it was skipped, is not taken for nothing."""
    windows, rng, found = Windows(loads.load, 10.0), random.Random(seed), []

    async def main() -> None:
        at = 0
        while at < SIZE - 4 * MIB:
            size = rng.choice((32 << 10, 100_000, 256 << 10, MIB))
            data = await read(windows, at, size)
            assert data is None or data == CONTENT[at : at + size]
            found.append(data is not None)
            at = max(0, at + rng.choice((size, size, size, -size, MIB + 7, 3 * MIB // 2)))

    trio.run(main)
    assert any(found)


def test_a_load_that_comes_to_less_is_no_content() -> None:
    windows = Windows(lambda file, offset, size: CONTENT[offset : offset + size - 1], 10.0)

    async def main() -> None:
        for at in range(0, 8 * MIB, MIB // 2):
            assert await read(windows, at, MIB // 2) is None

    trio.run(main)


def test_reads_here_and_there_load_nothing(loads: Loads) -> None:
    windows = Windows(loads.load, 10.0)

    async def main() -> None:
        for n in range(500):
            assert await read(windows, n * 7_654_321_987 % SIZE // 4096 * 4096, 4096) is None

    trio.run(main)
    assert not loads.ranges


def test_what_is_damaged_is_left_to_who_reads_it() -> None:
    loads = Loads(damaged=30 * MIB)
    windows = Windows(loads.load, 10.0)

    async def main() -> set[int]:
        return {at for at in range(64) if await read(windows, at * MIB, MIB) is None}

    assert 30 in trio.run(main)


def test_a_store_that_hangs_is_unreachable(loads: Loads) -> None:
    windows = Windows(loads.load, 0.05)

    async def main() -> None:
        loads.gate.clear()
        assert await read(windows, 0, MIB) is None
        with pytest.raises(Unreachable):
            await read(windows, MIB, MIB)

    trio.run(main)


def test_readers_of_one_file_are_told_apart(loads: Loads) -> None:
    windows = Windows(loads.load, 10.0)

    async def main() -> None:
        for step in range(16):
            for start in (0, 32 * MIB):
                at = start + step * MIB
                data = await read(windows, at, MIB)
                assert data == CONTENT[at : at + MIB] or step == 0

    trio.run(main)


def test_what_hangs_for_one_file_delays_another_once(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.aio.windows._LATE", 0.05)
    windows = Windows(loads.load, 10.0)
    loads.hangs = FILE

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            loads.gate.clear()
            for at in range(4):
                nursery.start_soon(read, windows, at * MIB, MIB)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(5):
                for at in range(16):
                    assert await read(windows, at * MIB, MIB, OTHER) is None
            loads.gate.set()
        monkeypatch.setattr("artfs.aio.windows._LATE", 10.0)  # threads may be slow to begin
        for at in range(16, 32):
            data = await read(windows, at * MIB, MIB, OTHER)
        assert data == CONTENT[31 * MIB : 32 * MIB]

    trio.run(main)


def test_a_reader_that_is_gone_takes_nothing_from_the_next(loads: Loads) -> None:
    windows = Windows(loads.load, 10.0)

    async def main() -> None:
        assert await read(windows, 0, MIB) is None
        loads.gate.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, windows, MIB, MIB)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        loads.gate.set()
        assert await read(windows, MIB, MIB) == CONTENT[MIB : 2 * MIB]

    trio.run(main)


@pytest.mark.parametrize("together", [False, True])
def test_what_is_kept_in_memory_is_bounded(loads: Loads, together: bool) -> None:
    windows = Windows(loads.load, 10.0)
    files = [Entry(b"big", Kind.FILE, 0o644, 0, SIZE, 0, bytes([number])) for number in range(12)]
    steps = [(file, at) for file in files for at in range(24)]
    if together:
        steps.sort(key=lambda step: step[1])

    async def main() -> None:
        for file, at in steps:
            await read(windows, at * MIB, MIB, file)
            kept = [w for reader in windows._readers for w in reader.windows]
            assert sum(w.stop - w.start for w in kept) <= 64 * MIB
        assert kept

    trio.run(main)


def test_random_reads_do_not_end_reading_ahead(loads: Loads) -> None:
    windows = Windows(loads.load, 10.0)

    async def main() -> None:
        await read(windows, 0, MIB)
        for at in range(1, 32):
            for n in range(10):
                await read(
                    windows, (at * 10 + n) * 7_654_321_987 % SIZE // 4096 * 4096, 4096, OTHER
                )
            assert await read(windows, at * MIB, MIB) is not None

    trio.run(main)


def test_turns_without_threads_are_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        turns, called = Turns(2, 3), threading.Event()
        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "start_thread_soon", fail)
            for _ in range(5):
                assert not turns.give(called.set)
        assert not called.is_set()
        assert turns.give(called.set)
        assert await trio.to_thread.run_sync(called.wait, 10)

    trio.run(main)


def test_as_many_calls_wait_for_their_turn_as_were_allowed() -> None:
    async def main() -> None:
        turns, gate, begun = Turns(2, 3), threading.Event(), threading.Semaphore(0)

        def call() -> None:
            begun.release()
            gate.wait(10)

        for _ in range(2):
            assert turns.give(call)
            await trio.to_thread.run_sync(begun.acquire)
        assert not turns.are_late(0.0)
        assert [turns.give(call) for _ in range(5)] == [True] * 3 + [False] * 2
        assert turns.are_late(0.0)
        assert not turns.are_late(60.0)
        gate.set()
        for _ in range(3):
            await trio.to_thread.run_sync(begun.acquire)

    trio.run(main)


def test_a_call_that_fails_does_not_end_its_thread() -> None:
    def fail() -> None:
        raise RuntimeError

    async def main() -> None:
        turns, called = Turns(1, 10), threading.Event()
        for _ in range(5):
            assert turns.give(fail)
        assert turns.give(called.set)
        assert await trio.to_thread.run_sync(called.wait, 10)

    trio.run(main)
