"""Killing a process at each of its steps in turn."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

#: System calls that change files.
_CALLS = ("mkdir", "open", "pwrite", "writev", "write", "fsync", "fdatasync", "link", "rename",
          "unlink", "truncate")  # fmt: skip

Method = tuple[type, str]


class _Deadly:
    """Counts system calls that change what is below `root`, if given, and before and after
    `methods`; the `fatal` one ends this process by SIGKILL."""

    def __init__(self, root: Path | None, fatal: int | None, methods: Sequence[Method]) -> None:
        self.steps = 0
        self._numbers = itertools.count(1)  # `+= 1` is not one step where threads take turns
        self._fatal = fatal
        self._root = str(root)
        for name in _CALLS if root is not None else ():
            setattr(os, name, self._call(getattr(os, name)))
        for owner, name in methods:
            setattr(owner, name, self._method(getattr(owner, name)))

    def _step(self) -> None:
        number = next(self._numbers)
        if number == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps = max(self.steps, number)

    def _call(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if not isinstance(args[0], str) or args[0].startswith(self._root):
                self._step()
            return real(*args, **kwargs)

        return call

    def _method(self, real: Callable[..., object]) -> Callable[..., object]:
        def method(*args: object, **kwargs: object) -> object:
            self._step()
            result = real(*args, **kwargs)
            self._step()
            return result

        return method


def die_at(
    fatal: int | None,
    root: Path | None,
    action: Callable[[], object],
    methods: Sequence[Method] = (),
) -> int:
    """Do something in a child process, which dies at a step; with None it does not, and the number
    of its steps is returned."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            deadly = _Deadly(root, fatal, methods)
            action()
            steps = deadly.steps
            os.writev(writable, [b"%d" % steps])
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    if fatal is None:
        return int(answer)
    assert os.WIFSIGNALED(status), f"the child did not die at step {fatal}"
    return 0
