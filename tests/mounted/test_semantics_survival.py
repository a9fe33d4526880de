"""What artfs-semantics(7) says of what outlives a daemon, a machine and a store, by sentence."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mounted.conftest import Shared
from tests.support.failing import fails
from tests.support.mounts import Mount, artfs, is_mounted, make_home, mounted, wait_for
from tests.support.twin import here, put, tree

pytestmark = pytest.mark.fuse


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds."""
    return make_base(tmp_path)


def make_base(root: Path) -> Path:
    path = root / "base"
    (path / "dir").mkdir(parents=True)
    for name in ("a", "b", "c", "dir/one"):
        (path / name).write_text("base")
    put(path)
    return path


def only_draft() -> str:
    ((found),) = json.loads(here("--json", "drafts"))
    return str(found["draft"])


def kill(mount: Mount) -> None:
    """SIGKILL to the daemon, and wait for its end."""
    (daemon,) = mount.daemons
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: not mount.daemons, what="death of the daemon")


def test_a_commit_that_fails(home: Path, base: Path, tmp_path: Path) -> None:
    """A commit that fails leaves the draft as it is: mounted, if artfs sync or artfs umount failed,
    else to be mounted again with artfs draft --resume."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, expect_errors=True) as mount:
        draft = only_draft()
        for name in ("a", "new"):
            (at / name).write_text("written")
        (at / "b").rename(at / "moved")
        (base / "a").write_text("by another")
        put(base)  # so that committing fails
        before = tree(at, times=True)
        for command in ("sync", "umount"):
            assert artfs(command, at, check=False).returncode == 4
            assert is_mounted(at)
            assert tree(at, times=True) == before
        subprocess.run(["fusermount3", "-u", at], check=True)
        wait_for(lambda: not mount.daemons, what="end of the daemon")
    with mounted("draft", "--resume", draft, at=at) as mount:
        assert tree(at, times=True) == before
        mount.umount("--discard")


class Killed(NamedTuple):
    """`resumed` is a draft after SIGKILL; `expected`: what it showed before, but for `open`."""

    resumed: Path
    expected: dict[bytes, object]
    errnos: list[int]


OLD, NEW = b"old" * 1000, b"new" * 2000


def _edit(at: Path) -> None:
    (at / "a").write_text("changed")
    with (at / "new").open("wb") as file:
        file.write(OLD)
    (at / "b").rename(at / "moved")
    (at / "c").unlink()
    (at / "dir" / "one").chmod(0o4711)
    (at / "dir").rename(at / "directory")
    os.utime(at / "directory", ns=(5, 7))
    os.link(at / "a", at / "hard")
    (at / "link").symlink_to("a")
    os.mkfifo(at / "fifo")
    (at / "open").write_bytes(OLD)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """A draft whose daemon was killed right after the last change, mounted again."""
    root = tmp_path_factory.mktemp("killed")
    at = root / "mnt"
    with pytest.MonkeyPatch.context() as patch:
        make_home(root / "home", patch)
        make_base(root)
        with mounted("draft", "data", at=at, expect_errors=True) as mount:
            draft = only_draft()
            _edit(at)
            expected = dict(tree(at, times=True))
            fd = os.open(at / "open", os.O_WRONLY)
            os.write(fd, NEW)
            kill(mount)
            with contextlib.suppress(OSError):
                os.close(fd)
            calls: list[Callable[[], object]] = [
                lambda: os.listdir(at),
                lambda: os.stat(at / "a"),
                lambda: os.open(at / "a", os.O_RDONLY),
                lambda: (at / "newer").mkdir(),
            ]
            errnos = [_errno_of(call) for call in calls]
            assert artfs("umount", at, check=False).returncode == 6
            assert not is_mounted(at)
        with mounted("draft", "--resume", draft, at=at) as mount:
            yield Killed(at, {**expected}, errnos)
            mount.umount("--discard")


def _errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def test_what_was_closed(killed: Killed) -> None:
    """close(2) promises that what was written through the descriptor outlives the daemon, whatever
    kills it."""
    assert (killed.resumed / "a").read_text() == "changed"
    assert (killed.resumed / "hard").read_text() == "changed"
    assert (killed.resumed / "new").read_bytes() == OLD


def test_names_and_attributes(killed: Killed) -> None:
    """Changes of names and attributes outlive the daemon when their call returns."""
    found: dict[bytes, object] = dict(tree(killed.resumed, times=True))
    found.pop(b"open")
    killed.expected.pop(b"open", None)
    assert found == killed.expected
    assert (killed.resumed / "a").samefile(killed.resumed / "hard")


def test_what_was_open(killed: Killed) -> None:
    """Of files that were open when the daemon died, what was written last may be missing."""
    found = (killed.resumed / "open").read_bytes()
    # Bytes of the one or of the other, and not more of them than there were.
    assert len(OLD) <= len(found) <= len(NEW)
    assert all(x in (o, n) for x, o, n in zip(found, OLD + NEW[len(OLD) :], NEW, strict=False))


def test_when_the_daemon_has_died(killed: Killed) -> None:
    """When the daemon has died, every access is ENOTCONN, and the directory never looks empty;
    artfs umount clears it."""
    assert killed.errnos == [errno.ENOTCONN] * 4


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
    draft = only_draft()
    kept = machine.durable.rename(machine.durable.with_name("kept"))
    kill(machine.mount)
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


def test_o_sync(machine: Machine) -> None:
    """A write through a descriptor with O_SYNC is durable when it returns."""
    at = machine.mount.path
    fd = os.open(at / "a", os.O_WRONLY | os.O_SYNC)
    os.pwrite(fd, b"durable", 100_000)
    new = os.open(at / "new", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(new, OLD)
    reset(machine)
    assert (at / "a").read_bytes() == b"base" + bytes(99_996) + b"durable"
    assert (at / "new").read_bytes() == OLD
    for each in (fd, new):
        with fails(errno.ENOTCONN):
            os.close(each)


def test_syncfs(shared: Shared, drafted: Path) -> None:
    """syncfs(2) hands over what was stored through mappings, and promises no more."""
    with (drafted / "big").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[5000:5004] = b"mmap"
        subprocess.run(["sync", "-f", drafted], check=True)
        (data,) = shared.data_files((drafted / "big").stat().st_ino)
        assert data.read_bytes()[5000:5004] == b"mmap"


def test_a_lost_answer(home: Path, base: Path, tmp_path: Path) -> None:
    """Committing again after the answer to a commit was lost finds the version that was made, and
    makes no second one."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, expect_errors=True) as mount:
        (at / "a").write_text("new")
        draft = only_draft()
        record = home / "state/artfs/drafts" / draft / "draft.json"
        before = record.read_bytes()
        assert json.loads(before)["commit"] == ""
        seen = [before]
        (daemon,) = mount.daemons
        with subprocess.Popen(["sync", at], stderr=subprocess.DEVNULL) as sync:
            while not list(home.glob("store/projects/*/*/data/versions/*1.json")):
                seen.append(record.read_bytes())
            os.kill(daemon, signal.SIGKILL)
            sync.wait()
        noted = next((text for text in reversed(seen) if json.loads(text)["commit"]), None)
        wait_for(lambda: not mount.daemons, what="death of the daemon")
        artfs("umount", at, check=False)
    if noted is not None:  # as if the answer had not come, even if it has
        record.write_bytes(noted)
    with mounted("draft", "--resume", draft, at=at) as mount:
        assert (at / "a").read_text() == "new"
        artfs("sync", at)
        assert artfs("sync", at).stdout == "unchanged\n"
        assert mount.umount().stdout == "data:v1 (unchanged)\n"
    assert len(json.loads(here("--json", "log", "data"))) == 2
