"""What a mount knows of a store that answers late, or not at all."""

from __future__ import annotations

import threading

import pytest
import trio

from artfs.aio import answers
from artfs.aio.answers import Answers
from artfs.errors import NotFound, Unreachable


class Asked:
    def __init__(self) -> None:
        self.number = 0
        self.failure: Exception | None = None
        self.blocked: threading.Event | None = None

    def ask(self, what: str) -> tuple[str, int]:
        self.number += 1
        number, blocked = self.number, self.blocked
        if blocked is not None:
            assert blocked.wait(30)
        if self.failure is not None:
            raise self.failure
        return what, number


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_GRACE", 0.02)


def test_an_answer_is_good_for_a_moment() -> None:
    asked = Asked()

    async def main() -> None:
        known = Answers(1000.0, 5.0)
        assert [await known.ask(asked.ask, "a") for _ in range(3)] == [("a", 1)] * 3
        assert await known.ask(asked.ask, "b") == ("b", 2)
        old = Answers(0.0, 5.0)
        assert [(await old.ask(asked.ask, "a"))[1] for _ in range(3)] == [3, 4, 5]

    trio.run(main)


def test_the_last_answer_stands_in_for_a_store_that_is_down() -> None:
    asked = Asked()

    async def main() -> None:
        known = Answers(0.0, 0.1)
        assert await known.ask(asked.ask, "a") == ("a", 1)
        asked.failure = Unreachable("store", "is down")
        assert await known.ask(asked.ask, "a") == ("a", 1)
        with pytest.raises(Unreachable):
            await known.ask(asked.ask, "what was never asked")
        asked.failure = NotFound("a", "was deleted")
        with pytest.raises(NotFound):
            await known.ask(asked.ask, "a")
        asked.failure = None
        number = asked.number
        assert await known.ask(asked.ask, "a") == ("a", number + 1)

    trio.run(main)


def test_a_store_that_hangs_is_asked_once_and_its_answer_taken_when_it_comes() -> None:
    asked = Asked()

    async def main() -> None:
        known = Answers(0.0, 5.0)
        assert await known.ask(asked.ask, "a") == ("a", 1)
        asked.blocked = threading.Event()
        for _ in range(100):
            assert await known.ask(asked.ask, "a") == ("a", 1)
        assert asked.number == 2
        asked.blocked.set()
        with trio.fail_after(10):
            while (await known.ask(asked.ask, "a")) == ("a", 1):  # noqa: ASYNC110  # from a thread
                await trio.sleep(0.001)

    trio.run(main)


def test_an_answer_may_be_forgotten_while_it_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of more names than are remembered, a store that does not answer."""
    monkeypatch.setattr(answers, "_ANSWERS", 1)
    monkeypatch.setattr(answers, "_GRACE", 30.0)
    asked = Asked()

    async def main() -> None:
        known = Answers(0.0, 5.0)
        assert await known.ask(asked.ask, "a") == ("a", 1)
        asked.blocked = blocked = threading.Event()
        found: list[tuple[str, int]] = []

        async def again() -> None:
            found.append(await known.ask(asked.ask, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(again)
            with trio.fail_after(10):
                while asked.number < 2:  # noqa: ASYNC110  # from a thread
                    await trio.sleep(0.001)
            asked.blocked = None
            assert await known.ask(asked.ask, "b") == ("b", 3)
            asked.failure = Unreachable("store", "is down")
            blocked.set()
        assert found == [("a", 1)]

    trio.run(main)
