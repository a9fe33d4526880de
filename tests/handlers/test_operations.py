"""Each handler is one call of the tree and one conversion: what is passed, what comes back.

Listings are in test_readdir, `idle` in test_idle, the table of errors in test_errno.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pyfuse3
import pytest
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext, SetattrFields

from artfs.errors import Unreachable
from artfs.fuse.operations import Operations
from artfs.vfs.errors import Exists, NoEntry, ReadOnly
from artfs.vfs.tree import Attrs, Caller, Change, FsStats, Opened, Tree
from tests.handlers.recording import Recording, ask

CALLER = Caller(uid=1000, gid=100, pid=4242, umask=0o027)
CTX = cast("RequestContext", SimpleNamespace(uid=1000, gid=100, pid=4242, umask=0o027))
#: Every field has a value of its own, so none can be taken for another.
ATTRS = Attrs(
    ino=11, mode=stat.S_IFREG | 0o640, nlink=2, uid=3, gid=4, size=5, mtime_ns=6_000_000_006,
    ctime_ns=7_000_000_007, atime_ns=8_000_000_008, rdev=9, blocks=10, entry_timeout=11.5,
    attr_timeout=12.5,
)  # fmt: skip


def is_entry(answer: object) -> bool:
    """Whether an answer is ATTRS, field by field."""
    assert isinstance(answer, EntryAttributes)
    shown = {name: getattr(answer, name) for name in dir(answer) if name.startswith("st_")}
    expected = {
        "st_ino": 11, "st_mode": stat.S_IFREG | 0o640, "st_nlink": 2, "st_uid": 3, "st_gid": 4,
        "st_size": 5, "st_mtime_ns": 6_000_000_006, "st_ctime_ns": 7_000_000_007,
        "st_atime_ns": 8_000_000_008, "st_rdev": 9, "st_blocks": 10,
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    assert (answer.entry_timeout, answer.attr_timeout) == (11.5, 12.5)
    return True


def is_file(answer: object) -> bool:
    """Whether an answer is the open file 33, whose cache is good."""
    assert isinstance(answer, FileInfo)
    assert (answer.fh, answer.keep_cache, answer.direct_io) == (33, True, False)
    return True


def is_created(answer: object) -> bool:
    opened, entry = cast("tuple[object, object]", answer)
    return is_file(opened) and is_entry(entry)


def is_statfs(answer: object) -> bool:
    names = ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax")
    figures = tuple(getattr(answer, f"f_{name}") for name in names)
    return figures == (4096, 4096, 50, 40, 40, 30, 20, 20, 255)


def is_nothing(answer: object) -> bool:
    return answer is None


class Case(NamedTuple):
    """A handler, its arguments, the call of the tree they come to, its result, and the answer."""

    handler: str
    args: tuple[object, ...]
    call: tuple[object, ...]
    result: object
    check: Callable[[Any], bool]


OPENED = Opened(33, True)
CASES = [
    Case("lookup", (1, b"n", CTX), (1, b"n"), ATTRS, is_entry),
    Case("getattr", (7, CTX), (7,), ATTRS, is_entry),
    Case("readlink", (7, CTX), (7,), b"to", lambda answer: answer == b"to"),
    Case(
        "mknod", (1, b"n", stat.S_IFIFO | 0o600, 5, CTX),
        (1, b"n", stat.S_IFIFO | 0o600, 5, CALLER), ATTRS, is_entry,
    ),
    Case("mkdir", (1, b"n", 0o755, CTX), (1, b"n", 0o755, CALLER), ATTRS, is_entry),
    Case("unlink", (1, b"n", CTX), (1, b"n", CALLER), None, is_nothing),
    Case("rmdir", (1, b"n", CTX), (1, b"n", CALLER), None, is_nothing),
    Case("symlink", (1, b"n", b"to", CTX), (1, b"n", b"to", CALLER), ATTRS, is_entry),
    Case("rename", (1, b"n", 2, b"m", 1, CTX), (1, b"n", 2, b"m", 1), None, is_nothing),
    Case("link", (7, 1, b"n", CTX), (7, 1, b"n"), ATTRS, is_entry),
    Case("open", (7, os.O_RDWR, CTX), (7, os.O_RDWR, CALLER), OPENED, is_file),
    Case(
        "create", (1, b"n", 0o644, os.O_WRONLY, CTX), (1, b"n", 0o644, os.O_WRONLY, CALLER),
        (ATTRS, OPENED), is_created,
    ),
    Case("read", (33, 4096, 10), (33, 4096, 10), b"data", lambda answer: answer == b"data"),
    Case("write", (33, 4096, b"data"), (33, 4096, b"data"), 4, lambda answer: answer == 4),
    Case("release", (33,), (33,), None, is_nothing),
    Case("fsync", (33, True), (33, True), None, is_nothing),
    Case("opendir", (7, CTX), (7, CALLER), 34, lambda answer: answer == 34),
    Case("releasedir", (34,), (34,), None, is_nothing),
    Case("fsyncdir", (34, True), (34,), None, is_nothing),
    Case("statfs", (CTX,), (), FsStats(4096, 50, 40, 30, 20), is_statfs),
    Case("setxattr", (7, b"user.a", b"v", CTX), (7, b"user.a", b"v"), None, is_nothing),
    Case("getxattr", (7, b"user.a", CTX), (7, b"user.a"), b"v", lambda answer: answer == b"v"),
    Case("listxattr", (7, CTX), (7,), [b"user.a"], lambda answer: answer == [b"user.a"]),
    Case("removexattr", (7, b"user.a", CTX), (7, b"user.a"), None, is_nothing),
]  # fmt: skip
#: Handlers that are more than one call have tests of their own below, `idle` in test_idle.
ELSEWHERE = {"init", "setattr", "readdir", "forget", "flush", "idle"}

by_handler = pytest.mark.parametrize("case", CASES, ids=lambda case: case.handler)


def test_every_handler_is_tested() -> None:
    """A handler that is added needs a case; one that pyfuse3 offers and is left out is ENOSYS."""
    public = {name for name in vars(Operations) if not name.startswith("_")}
    handlers = {name for name in public if callable(getattr(Operations, name))}
    assert handlers == {case.handler for case in CASES} | ELSEWHERE
    offered = {name for name in vars(pyfuse3.Operations) if not name.startswith("_")}
    left_out = {n for n in offered - handlers if callable(getattr(pyfuse3.Operations, n))}
    assert left_out <= {"access", "poll", "stacktrace"}


@by_handler
def test_one_call_and_one_conversion(case: Case) -> None:
    tree = Recording({case.handler: case.result})
    assert case.check(ask(tree, case.handler, *case.args))
    assert tree.calls == [(case.handler, *case.call)]


@by_handler
@pytest.mark.parametrize(
    ("error", "number"),
    [
        (NoEntry("n"), errno.ENOENT),
        (Exists("n"), errno.EEXIST),
        (ReadOnly("n"), errno.EROFS),
        (Unreachable("store", "timed out"), errno.EIO),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_becomes_its_errno(case: Case, error: Exception, number: int) -> None:
    with pytest.raises(FUSEError) as raised:
        ask(Recording({case.handler: error}), case.handler, *case.args)
    assert raised.value.errno == number
    assert raised.value.__cause__ is error


@pytest.mark.expect_errors
@by_handler
def test_what_nobody_foresaw_is_eio_and_logged(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FUSEError) as raised:
        ask(Recording({case.handler: KeyError("a fault of ours")}), case.handler, *case.args)
    assert raised.value.errno == errno.EIO
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "a fault of ours" in str(record.exc_info[1])


# setattr

NEW = EntryAttributes()
NEW.st_mode = stat.S_IFREG | 0o4711
NEW.st_uid, NEW.st_gid, NEW.st_size = 21, 22, 23
NEW.st_atime_ns, NEW.st_mtime_ns, NEW.st_ctime_ns = 24, 25, 26
FIELDS = {
    "mode": 0o4711, "uid": 21, "gid": 22, "size": 23,
    "atime_ns": 24, "mtime_ns": 25, "ctime_ns": 26,
}  # fmt: skip


def chosen(*names: str) -> SetattrFields:
    """What the kernel says is to be set."""
    flags = {f"update_{name.removesuffix('_ns')}": name in names for name in FIELDS}
    return cast("SetattrFields", SimpleNamespace(**flags))


@pytest.mark.parametrize("names", [(), *((name,) for name in FIELDS), tuple(FIELDS)], ids="+".join)
@pytest.mark.parametrize("handle", [None, 33])
def test_setattr_sets_what_is_chosen(names: tuple[str, ...], handle: int | None) -> None:
    tree = Recording({"setattr": ATTRS})
    assert is_entry(ask(tree, "setattr", 7, NEW, chosen(*names), handle, CTX))
    wanted = Change(**{name: FIELDS[name] for name in names})
    assert tree.calls == [("setattr", 7, wanted, handle)]


def test_a_setattr_that_is_refused() -> None:
    with pytest.raises(FUSEError) as raised:
        ask(Recording({"setattr": ReadOnly("n")}), "setattr", 7, NEW, chosen("mode"), None, CTX)
    assert raised.value.errno == errno.EROFS


# The rest


def test_forget() -> None:
    tree = Recording({})
    ask(tree, "forget", [(7, 1), (8, 2)])
    assert tree.calls == [("forget", [(7, 1), (8, 2)])]


@pytest.mark.parametrize("writable", [True, False])
def test_a_close_is_never_asked_about_again(writable: bool) -> None:
    tree = Recording({}, writable=writable)
    with pytest.raises(FUSEError) as raised:
        ask(tree, "flush", 33)
    assert raised.value.errno == errno.ENOSYS
    assert tree.calls == []


@pytest.mark.parametrize("known", [True, False], ids=["known", "dropped"])
def test_a_file_that_is_at_hand_goes_to_the_kernel_at_once(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[tuple[object, ...]] = []

    def store(*args: object) -> None:
        stored.append(args)
        if not known:
            raise OSError(errno.ENOENT, "no such inode")

    monkeypatch.setattr(pyfuse3, "notify_store", store)
    tree = Recording({"open": Opened(33, True, b"all of it")}, writable=False)
    assert is_file(ask(tree, "open", 7, os.O_RDONLY, CTX))
    assert stored == [(7, 0, b"all of it")]


def test_a_cache_that_is_not_good_any_more() -> None:
    opened = ask(Recording({"open": Opened(33, False)}), "open", 7, os.O_RDONLY, CTX)
    assert (opened.fh, opened.keep_cache) == (33, False)


@pytest.mark.parametrize("name", [case.handler for case in CASES] + ["setattr", "readdir"])
def test_a_request_that_is_cancelled_is_not_answered(name: str) -> None:
    """Cancellation passes through every handler, as trio needs it to: it is no error of ours."""

    class Forever(Recording):
        def __getattr__(self, called: str) -> Callable[..., Awaitable[None]]:
            async def wait(*_: object) -> None:
                await trio.sleep_forever()

            return wait

    args: dict[str, tuple[object, ...]]
    args = {"setattr": (7, NEW, chosen(), None, CTX), "readdir": (34, 0, None)}
    args |= {case.handler: case.args for case in CASES}

    async def main() -> bool:
        handler = getattr(Operations(cast("Tree", Forever({}))), name)
        with trio.move_on_after(0) as scope:
            await handler(*args[name])
        return scope.cancelled_caught

    assert trio.run(main)
