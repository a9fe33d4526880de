"""What leaves a handler: the one table from error to errno."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pyfuse3
import pytest
import trio

import artfs.errors
import artfs.vfs.errors
from artfs.aio.fetch import DamagedBlob
from artfs.errors import ArtfsError, ObjectNotFound, Unreachable
from artfs.fuse.errno import TABLE, errno_of, handler
from artfs.types import BlobRef
from artfs.vfs.errors import NoEntry

LINE = {"what": "what", "why": "why"}


def subclasses(class_: type[ArtfsError]) -> Iterator[type[ArtfsError]]:
    yield class_
    for below in class_.__subclasses__():
        yield from subclasses(below)


@pytest.mark.parametrize("module", [artfs.errors, artfs.vfs.errors], ids=lambda m: m.__name__)
def test_the_table_names_every_error_that_crosses_layers(module: object) -> None:
    """Left to their base are those that no file operation meets, such as the Python API's."""
    errors = {c for c in subclasses(ArtfsError) if c.__module__ == getattr(module, "__name__", "")}
    assert errors
    missing = {c.__name__ for c in errors - set(TABLE)}
    assert missing <= {
        "ArtifactFinalizedError", "ArtifactNotLoggedError", "CommError", "CommitConflict", "InUse",
        "NoSuchEntry", "NotThere", "VerificationFailed", "WrongType",
    }  # fmt: skip


def test_an_error_counts_as_its_nearest_base() -> None:
    ref = BlobRef(b"\1" * 32, 1, b"\2" * 16, 0, 1)
    assert errno_of(DamagedBlob(ref, "flipped")) == errno.EIO
    assert errno_of(ObjectNotFound("packs/aa/aa")) == errno.EIO
    assert errno_of(NoEntry("x")) == errno.ENOENT
    assert errno_of(Unreachable("s3", "timed out")) == errno.EIO


def test_a_full_disk_is_passed_on() -> None:
    assert errno_of(OSError(errno.ENOSPC, "full")) == errno.ENOSPC
    assert errno_of(OSError(errno.EDQUOT, "full")) == errno.EDQUOT


@pytest.mark.expect_errors
@pytest.mark.parametrize("error", [ValueError("?"), OSError(errno.ENOENT, "?"), AssertionError()])
def test_what_nobody_foresaw_is_logged_with_its_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert errno_of(error) == errno.EIO
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None


@handler
async def handle(error: BaseException | None) -> str:
    await trio.lowlevel.checkpoint()
    if error is not None:
        raise error
    return "done"


def test_only_fuse_errors_leave_a_handler() -> None:
    assert trio.run(handle, None) == "done"
    with pytest.raises(pyfuse3.FUSEError) as raised:
        trio.run(handle, NoEntry("x"))
    assert raised.value.errno == errno.ENOENT
    with pytest.raises(pyfuse3.FUSEError) as raised:
        trio.run(handle, pyfuse3.FUSEError(errno.ENOSYS))
    assert raised.value.errno == errno.ENOSYS


def test_cancellation_passes() -> None:
    async def main() -> bool:
        with trio.move_on_after(0) as scope:
            await handle(None)
        return scope.cancelled_caught

    assert trio.run(main)
