"""What artfs-semantics(7) says of what outlives a failed commit and a daemon, by sentence."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mounted.conftest import Shared
from tests.support.mounts import artfs, is_mounted, make_home, mounted, wait_for
from tests.support.twin import here, only_draft, put, tree

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


def test_a_commit_that_fails(home: Path, base: Path, tmp_path: Path) -> None:
    """A commit that fails leaves the draft as it is: mounted, if artfs sync or artfs umount failed,
    else to be mounted again with artfs draft --resume."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, expect_errors=True) as mount:
        draft = only_draft()["draft"]
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
            draft = only_draft()["draft"]
            _edit(at)
            expected = dict(tree(at, times=True))
            fd = os.open(at / "open", os.O_WRONLY)
            os.write(fd, NEW)
            made = os.open(at / "made", os.O_WRONLY | os.O_CREAT)
            (at / "mapped").write_bytes(OLD)
            with (at / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                memory[:6] = b"stored"
            (at / "last").write_text("written last")
            mount.kill_daemon()
            for each in (fd, made):
                with contextlib.suppress(OSError):  # ENOTCONN if the kernel has to ask
                    os.close(each)
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


def test_what_was_done(killed: Killed) -> None:
    """What was written, and every change of names and attributes, outlives the daemon when its call
    returns, whatever kills it."""
    assert (killed.resumed / "a").read_text() == "changed"
    assert (killed.resumed / "hard").read_text() == "changed"
    assert (killed.resumed / "new").read_bytes() == OLD
    assert (killed.resumed / "last").read_text() == "written last"
    found: dict[bytes, object] = dict(tree(killed.resumed, times=True))
    del found[b"open"], found[b"last"], found[b"made"], found[b"mapped"]
    assert found == {path: node for path, node in killed.expected.items() if path != b"open"}
    assert (killed.resumed / "a").samefile(killed.resumed / "hard")
    # These were never closed.
    assert (killed.resumed / "made").read_bytes() == b""
    assert (killed.resumed / "open").read_bytes() == NEW + OLD[len(NEW) :]


def test_what_was_mapped(killed: Killed) -> None:
    """What was stored through a mapping does when the file is closed."""
    assert (killed.resumed / "mapped").read_bytes() == b"stored" + OLD[6:]


def test_when_the_daemon_has_died(killed: Killed) -> None:
    """When the daemon has died, every access is ENOTCONN, and the directory never looks empty;
    artfs umount clears it."""
    assert killed.errnos == [errno.ENOTCONN] * 4


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
        draft = only_draft()["draft"]
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
