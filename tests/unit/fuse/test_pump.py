"""How requests are waited for, with a pipe in the place of /dev/fuse."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from artfs.fuse import pump
from artfs.fuse.pump import Baton, LowLevel

T = TypeVar("T")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Idle:
    """Called when nothing is there; then a request comes, if `writes`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        os.write(self.fd, b"x")


async def write_soon(fd: int) -> None:
    os.write(fd, b"x")


def test_a_busy_client_is_awaited_by_polling(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first wait is the scheduler's; its request came soon, so the next one is polled for."""
    monkeypatch.setattr(pump, "_POLLED", 60.0)
    reader, writer = pipe
    idle = Idle(writer)
    low_level = LowLevel(Baton(), idle)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_soon, writer)
            await low_level.wait_readable(reader)
        assert idle.calls == 0
        os.read(reader, 1)
        await low_level.wait_readable(reader)
        assert idle.calls == 1

    trio.run(main)


def test_polling_in_vain_ends(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that pauses now and then, as one that lists directories does, is polled for again;
    one that goes on slowly is not."""
    monkeypatch.setattr(pump, "_POLLED", 60.0)
    reader, writer = pipe
    calls: list[int] = []
    low_level = LowLevel(Baton(), lambda: calls.append(0))

    async def request() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_soon, writer)
            await low_level.wait_readable(reader)
        os.read(reader, 1)

    async def main() -> None:
        await request()
        monkeypatch.setattr(pump, "_POLLED", 0.0)
        for _ in range(2 * pump._HOPES):
            await request()

    trio.run(main)
    assert len(calls) == pump._HOPES


def test_an_idle_mount_is_not_polled(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "_POLLED", 0.0)
    reader, writer = pipe
    idle = Idle(writer)
    low_level = LowLevel(Baton(), idle)

    async def main() -> None:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_soon, writer)
                await low_level.wait_readable(reader)
            os.read(reader, 1)

    trio.run(main)
    assert idle.calls == 0


def test_nothing_is_polled_while_a_handler_waits(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer comes by way of the scheduler, which polling would keep from running."""
    monkeypatch.setattr(pump, "_POLLED", 60.0)
    reader, writer = pipe
    idle, baton = Idle(writer), Baton()
    low_level = LowLevel(baton, idle)

    async def main() -> None:
        for _ in range(3):
            baton.pending = 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_soon, writer)
                await low_level.wait_readable(reader)
            os.read(reader, 1)

    trio.run(main)
    assert idle.calls == 0


@pytest.mark.parametrize("is_there", [True, False])
def test_others_have_their_turn_however_busy_the_client_is(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Requests that are always there, or always come while they are polled for."""
    monkeypatch.setattr(pump, "_POLLED", 60.0)
    reader, writer = pipe
    low_level = LowLevel(Baton(), Idle(writer))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_soon, writer)
            await low_level.wait_readable(reader)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(10 * pump._IN_A_ROW):
                if not is_there:
                    os.read(reader, 1)
                await low_level.wait_readable(reader)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert turns >= 5


def begun(steps: Coroutine[Any, Any, T]) -> tuple[Coroutine[Any, Any, T], object]:
    return steps, steps.send(None)


def test_handlers_that_wait_are_counted() -> None:
    baton = pump._baton

    async def waits(event: trio.Event) -> str:
        await event.wait()
        return "done"

    async def main() -> None:
        event = trio.Event()

        async def handler() -> None:
            assert await pump.passing_on(*begun(waits(event))) == "done"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler)
            nursery.start_soon(handler)
            await trio.testing.wait_all_tasks_blocked()
            assert baton.pending == 2
            event.set()
        assert baton.pending == 0

        with trio.move_on_after(0) as scope:
            await pump.passing_on(*begun(waits(trio.Event())))
        assert scope.cancelled_caught
        assert baton.pending == 0

    trio.run(main)


@pytest.mark.parametrize("read_only", [True, False])
def test_what_only_reads_is_cancelled_when_the_session_is_over(
    monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    baton = Baton()
    monkeypatch.setattr(pump, "_baton", baton)
    baton.read_only = read_only
    ended: list[bool] = []

    async def main() -> None:
        event = trio.Event()

        async def handler(reads: bool) -> None:
            try:
                await pump.passing_on(*begun(event.wait()), reads=reads)
            except trio.Cancelled:
                ended.append(reads)
                raise

        async def ends() -> None:
            """A loop that ends while others go on: the kernel has ended the session."""

        is_gone = False
        async with pump._Nursery(baton, lambda: is_gone) as nursery:
            nursery.start_soon(handler, True)
            nursery.start_soon(handler, False)
            nursery.start_soon(ends)
            await trio.testing.wait_all_tasks_blocked()
            assert not ended
            is_gone = True
            nursery.start_soon(ends)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(ended) == ([False, True] if read_only else [True])
            nursery.start_soon(handler, True)  # it has begun to wait too late
            await trio.testing.wait_all_tasks_blocked()
            assert ended.count(True) == 2
            event.set()
        assert not baton.scopes
        assert not baton.reading

    trio.run(main)


def test_the_end_of_a_session_is_seen() -> None:
    """Of /dev/fuse it is an error, as of a pipe that nobody reads."""
    reader, writer = os.pipe()
    low_level = LowLevel(Baton(), lambda: None)
    assert not low_level.is_gone()
    os.close(reader)
    trio.run(low_level.wait_readable, writer)
    assert low_level.is_gone()
    os.close(writer)
