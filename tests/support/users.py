"""Doing something as an ordinary user, whom permissions stop."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that every user can reach and write to; pytest's own are private."""
    path = Path(tempfile.mkdtemp(prefix="artfs-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path, onerror=_make_writable)


def _make_writable(_: object, path: str, __: object) -> None:
    os.chmod(os.path.dirname(path), 0o700)
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    os.chmod(path, 0o700)
    shutil.rmtree(path, onerror=_make_writable)


def as_nobody(action: Callable[[], object]) -> object:
    """What the action returns, or raises, in a child process without root's rights.

    A fork and no new program: the interpreter itself may lie where nobody may look.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _run(action, writable)
    os.close(writable)
    with os.fdopen(readable, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status}"
    ok, result = pickle.loads(answer)
    if not ok:
        raise result
    return result


def _run(action: Callable[[], object], writable: int) -> None:
    try:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            answer = (True, action())
        except Exception as error:
            answer = (False, RuntimeError(f"{type(error).__name__}: {error}"))
        with os.fdopen(writable, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        os._exit(1)
