"""A fake tree that records what the handlers ask it. Nothing is mounted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import trio

from artfs.fuse.operations import Operations
from artfs.vfs.tree import Tree


class Recording:
    """A tree that notes what it is asked, and answers or raises what it was told to."""

    def __init__(self, answers: Mapping[str, object], *, writable: bool = True) -> None:
        self.writable = writable
        self.calls: list[tuple[object, ...]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        declared = getattr(Tree, name)  # AttributeError: the tree has no such method

        def answer(*args: object) -> object:
            self.calls.append((name, *args))
            found = self._answers.get(name)
            if isinstance(found, list) and name == "readdir":
                found = found.pop(0)
            if isinstance(found, BaseException):
                raise found
            return found

        async def answer_later(*args: object) -> object:
            await trio.lowlevel.checkpoint()
            return answer(*args)

        return answer_later if inspect.iscoroutinefunction(declared) else answer


def ask(tree: Recording, handler: str, *args: object) -> Any:  # noqa: ANN401  # each has its own
    """The answer of one handler."""
    operations = Operations(cast("Tree", tree))
    return trio.run(getattr(operations, handler), *args)
