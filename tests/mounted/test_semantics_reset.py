"""What artfs-semantics(7) says of what outlives a reset of the machine, by sentence."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.failing import fails
from tests.support.mounts import Mount, artfs, mounted
from tests.support.twin import only_draft, put

pytestmark = pytest.mark.fuse

OLD = b"old" * 1000


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds."""
    path = tmp_path / "base"
    (path / "dir").mkdir(parents=True)
    for name in ("a", "b", "c", "dir/one"):
        (path / name).write_text("base")
    put(path)
    return path


# What a disk has after a reset, at the worst: of every file what it held at its last fsync.
DISK = """
import os, shutil, sys

def record(real):
    def sync(fd):
        real(fd)
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.isfile(path) and path.startswith(os.environ["TEST_DRAFTS"]):
            kept = os.environ["TEST_DURABLE"] + path[len(os.environ["TEST_DRAFTS"]):]
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            shutil.copyfile(path, kept)
    return sync

os.fsync, os.fdatasync = record(os.fsync), record(os.fdatasync)
"""


class Machine(NamedTuple):
    """A draft, and `durable`, which has what fsync has brought to the disk."""

    mount: Mount
    drafts: Path
    durable: Path


@pytest.fixture
def machine(home: Path, base: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine that can be reset: see `reset`."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DISK)
    drafts, durable = home / "state/artfs/drafts", tmp_path / "durable"
    paths = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {
        "PYTHONPATH": os.pathsep.join(paths), "TEST_DRAFTS": str(drafts),
        "TEST_DURABLE": str(durable),
    }  # fmt: skip
    with mounted("draft", "data", at=tmp_path / "mnt", env=env, expect_errors=True) as mount:
        shutil.copytree(drafts, durable, dirs_exist_ok=True)  # as mounting has made it
        yield Machine(mount, drafts, durable)


def reset(machine: Machine) -> Path:
    """Kill everything, lose what was not synced, and mount what is left of the draft."""
    draft = only_draft()["draft"]
    kept = machine.durable.rename(machine.durable.with_name("kept"))
    machine.mount.kill_daemon()
    artfs("umount", machine.mount.path, check=False)
    shutil.rmtree(machine.drafts / draft)
    shutil.copytree(kept / draft, machine.drafts / draft)
    at = machine.mount.path
    machine.mount.stdout = artfs("draft", "--resume", draft, at, env=machine.mount.env).stdout
    return at


@pytest.mark.parametrize("sync", [os.fsync, os.fdatasync], ids=["fsync", "fdatasync"])
def test_fsync(machine: Machine, sync: Callable[[int], None]) -> None:
    """fsync(2) and fdatasync(2) promise that the content of the file outlives a reset of the
    machine, and with it every change of names and attributes that came before."""
    at = machine.mount.path
    (at / "b").rename(at / "moved")
    (at / "dir" / "one").chmod(0o711)
    (at / "c").unlink()
    with (at / "new").open("wb") as file:
        file.write(OLD)
        file.flush()
        sync(file.fileno())
    (at / "a").write_text("not synced")
    reset(machine)
    assert (at / "new").read_bytes() == OLD
    assert sorted(os.listdir(at)) == ["a", "dir", "moved", "new"]
    assert (at / "dir" / "one").stat().st_mode & 0o777 == 0o711


def test_fsync_of_a_directory(machine: Machine) -> None:
    """fsync(2) of any directory promises the same of all names and attributes."""
    at = machine.mount.path
    (at / "b").rename(at / "dir" / "moved")
    (at / "new").mkdir()
    (at / "a").chmod(0o711)
    fd = os.open(at / "dir", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    (at / "c").unlink()
    reset(machine)
    assert {"a", "dir", "new"} <= set(os.listdir(at))
    assert sorted(os.listdir(at / "dir")) == ["moved", "one"]
    assert (at / "dir" / "moved").read_text() == "base"
    assert (at / "a").stat().st_mode & 0o777 == 0o711


def test_what_was_not_synced(machine: Machine) -> None:
    """What was written and not synced may read as zeros after a reset; the rest of the file does
    not."""
    at = machine.mount.path
    with (at / "a").open("r+b") as file:
        file.seek(1)
        file.write(b"x")
    with (at / "new").open("wb") as file:  # which brings with it that something was written to `a`
        os.fsync(file.fileno())
    reset(machine)
    found = (at / "a").read_bytes()
    assert (found[:1], found[2:]) == (b"b", b"se")
    assert found[1:2] in (b"a", b"x", b"\0")


def check_both_after_reset(machine: Machine, fd: int, new: int) -> None:
    """What was written to `a` at 100,000, and to `new`, by these descriptors."""
    at = machine.mount.path
    reset(machine)
    assert (at / "a").read_bytes() == b"base" + bytes(99_996) + b"durable"
    assert (at / "new").read_bytes() == OLD
    for each in (fd, new):
        with fails(errno.ENOTCONN):
            os.close(each)


def test_rwf_dsync(machine: Machine) -> None:
    """With RWF_SYNC or RWF_DSYNC of pwritev2(2) it is, too, but for a descriptor that made the file
    with O_WRONLY: that needs fsync(2)."""
    at = machine.mount.path
    fd = os.open(at / "a", os.O_WRONLY)
    os.pwritev(fd, [b"durable"], 100_000, os.RWF_DSYNC)
    new = os.open(at / "new", os.O_WRONLY | os.O_CREAT)
    os.pwritev(new, [OLD], 0, os.RWF_SYNC)
    os.fsync(new)
    check_both_after_reset(machine, fd, new)


def test_o_sync(machine: Machine) -> None:
    """A write through a descriptor with O_SYNC is durable when it returns."""
    at = machine.mount.path
    fd = os.open(at / "a", os.O_WRONLY | os.O_SYNC)
    os.pwrite(fd, b"durable", 100_000)
    new = os.open(at / "new", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(new, OLD)
    check_both_after_reset(machine, fd, new)
