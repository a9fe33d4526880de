"""What a draft survives: its daemon killed at any moment, a disk that is full."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.disks import small_disk
from tests.support.mounts import artfs, is_mounted, mounted, wait_for
from tests.support.twin import Twin, check_version, here, only_draft, put, tree

pytestmark = pytest.mark.fuse

MIB = 1 << 20


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds; the store is there."""
    path = tmp_path / "base"
    (path / "dir").mkdir(parents=True)
    for name in ("a", "b", "c", "dir/one", "dir/two"):
        (path / name).write_text(f"{name} of the base\n")
    (path / "big").write_bytes(random.Random(1).randbytes(3 * MIB))
    put(path)
    return path


def versions() -> list[str]:
    return sorted(record["version"] for record in json.loads(here("--json", "log", "data")))


def listing_fails_with(path: Path) -> int | None:
    try:
        os.listdir(path)
    except OSError as error:
        return error.errno
    return None


def edit(root: Path) -> None:
    """Something of everything, all of it closed at the end."""
    (root / "new").write_bytes(random.Random(2).randbytes(300_000))
    with (root / "big").open("r+b") as file:
        file.seek(MIB)
        file.write(b"in the middle" * 1000)
    os.truncate(root / "b", 3)
    (root / "a").unlink()
    (root / "dir").rename(root / "moved")
    (root / "moved" / "one").rename(root / "first")
    (root / "made" / "deep").mkdir(parents=True)
    os.link(root / "c", root / "made" / "hard")
    (root / "sym").symlink_to("made/deep")
    (root / "first").chmod(0o755)
    with (root / "c").open("a") as file:
        file.write("appended\n")


def test_what_was_closed_survives_sigkill(base: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at) as mount:
        edit(mount.path)
        fd = os.open(mount.path / "synced", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"fsynced")
        os.fsync(fd)
        mount.kill_daemon()
        # A request under way while the daemon dies is ECONNABORTED.
        wait_for(lambda: listing_fails_with(at) != errno.ECONNABORTED, what="end of the connection")
        assert listing_fails_with(at) == errno.ENOTCONN
        with contextlib.suppress(OSError):
            os.close(fd)
        draft = only_draft()
        assert draft["state"] == "kept"
        for command in ("sync", "status"):
            done = artfs(command, at, check=False)
            assert (done.returncode, done.stderr.splitlines()) == (6, [
                f"artfs: {at}: its daemon does not answer",
                f"       artfs umount '{at}' clears the mount",
            ])  # fmt: skip
        done = artfs("draft", "--resume", draft["draft"], at, check=False)
        assert done.returncode == 4
        assert f"artfs umount '{at}' ends that mount, or clears it" in done.stderr
        cleared = mount.umount(check=False)
        assert (cleared.returncode, is_mounted(at)) == (6, False)
        assert f"artfs draft --resume {draft['draft']} " in cleared.stderr
        assert os.listdir(at) == []
    assert not list((Path(os.environ["XDG_STATE_HOME"]) / "artfs" / "mounts").iterdir())
    edit(base)
    (base / "synced").write_bytes(b"fsynced")
    with mounted("draft", "--resume", draft["draft"], at=at) as mount:
        Twin(mount, base).compare()
        assert artfs("sync", at).stdout == "data:v1\n"
        assert artfs("sync", at).stdout == "unchanged\n"
        assert mount.umount().stdout == "data:v1 (unchanged)\n"
    assert versions() == ["v0", "v1"]
    check_version("data:v1", base)


def _packs_grow(home: Path) -> Callable[[], bool]:
    def packs() -> int:
        return sum(len(files) for _, _, files in os.walk(home / "store" / "packs"))

    before = packs()
    return lambda: packs() > before


def _moments(home: Path, draft: Path) -> dict[str, Callable[[], object]]:
    records = home / "store/projects/default/default/data/versions"
    return {
        "the commit begins": (draft / "commit.sqlite").exists,
        "packs are being stored": _packs_grow(home),
        "the commit's id is noted": lambda: json.loads((draft / "draft.json").read_bytes())[
            "commit"
        ],
        "the record is there": lambda: len(os.listdir(records)) > 1,
        "the draft stands on it": lambda: (
            json.loads((draft / "draft.json").read_bytes())["base"] == 1
        ),
    }


@pytest.mark.parametrize(
    "moment",
    [
        "the commit begins",
        "packs are being stored",
        "the commit's id is noted",
        "the record is there",
        "the draft stands on it",
    ],
)
def test_killed_during_a_commit(home: Path, base: Path, tmp_path: Path, moment: str) -> None:
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, expect_errors=True) as mount:
        for root in (mount.path, base):
            edit(root)
            for n in range(200):
                (root / f"file{n}").write_bytes(random.Random(n).randbytes(40_000))
        (daemon,) = mount.daemons
        draft = only_draft()["draft"]
        reached = _moments(home, home / "state/artfs/drafts" / draft)[moment]
        with subprocess.Popen(
            ["sync", mount.path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as sync:
            while not reached():
                assert sync.poll() is None or reached(), "the commit ended before its moment came"
            os.kill(daemon, signal.SIGKILL)
            sync.wait(30)
        wait_for(lambda: not mount.daemons, what="death of the daemon")
        mount.umount(check=False)
    with mounted("draft", "--resume", draft, at=at) as mount:
        Twin(mount, base).compare()
        assert artfs("sync", at).returncode == 0
        assert versions() == ["v0", "v1"]
        assert artfs("sync", at).stdout == "unchanged\n"
        assert artfs("status", at).stdout.endswith("\n0 changes, 0 B written\n")
    check_version("data:v1", base)


# Full disks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as path:
        yield path


def fill(root: Path, name: str, size: int) -> int:
    """Write until it is refused; returns the bytes that were taken, all of which must stay."""
    taken = 0
    fd = os.open(root / name, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        while taken < size:
            taken += os.write(fd, bytes([taken // 65536 % 256]) * 65536)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(fd)
    return taken


def expected(size: int) -> bytes:
    return b"".join(bytes([n % 256]) * 65536 for n in range(size // 65536))


def test_a_full_disk_below_the_draft(base: Path, small: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    env = {"XDG_STATE_HOME": str(small)}
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        edit(mount.path)
        taken = fill(mount.path, "filler", 100 * MIB)
        assert 8 * MIB < taken < 24 * MIB
        assert os.statvfs(mount.path).f_bavail * os.statvfs(mount.path).f_frsize < 8 * MIB
        with pytest.raises(OSError, match="No space"):
            (mount.path / "one more").write_bytes(b"x" * MIB)
        is_kept = (mount.path / "filler").read_bytes() == expected(taken)
        assert is_kept  # pytest takes minutes to say how so many bytes differ
        # Another program takes the rest: what gives room must still work.
        with contextlib.suppress(OSError), (small / "theirs").open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        with pytest.raises(OSError, match="No space"):
            (mount.path / "small").mkdir()
        (mount.path / "filler").unlink()
        (small / "theirs").unlink()
        wait_for(lambda: _can_write(mount.path / "again"), what="room")
        (mount.path / "again").unlink()
        with contextlib.suppress(FileNotFoundError):
            (mount.path / "one more").unlink()
        edit(base)
        Twin(mount, base).compare()
        assert artfs("sync", at, env=env).stdout == "data:v1\n"
        assert mount.umount().stdout == "data:v1 (unchanged)\n"
    check_version("data:v1", base)


def _can_write(path: Path) -> bool:
    try:
        path.write_bytes(bytes(2 * MIB))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def test_a_draft_that_filled_its_disk_can_be_resumed(
    base: Path, small: Path, tmp_path: Path
) -> None:
    at = tmp_path / "mnt"
    env = {"XDG_STATE_HOME": str(small)}
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        edit(mount.path)
        taken = fill(mount.path, "filler", 100 * MIB)
        mount.kill_daemon()
        mount.umount(check=False)
    (draft,) = json.loads(artfs("--json", "drafts", env=env).stdout)
    edit(base)
    (base / "filler").write_bytes(expected(taken))
    with mounted("draft", "--resume", draft["draft"], at=at, env=env) as mount:
        Twin(mount, base).compare()
        assert mount.umount().stdout == "data:v1\n"
    check_version("data:v1", base)


def test_a_full_store(home: Path, small: Path, tmp_path: Path) -> None:
    """The commit fails with a line that says so; nothing is lost, and it works with room again."""
    at, base = tmp_path / "mnt", tmp_path / "base"
    base.mkdir()
    (base / "a").write_text("base")
    env = {"ARTFS_STORE": str(small / "store")}
    artfs("init", env=env)
    artfs("put", "data", base, env=env)
    (small / "theirs").write_bytes(bytes(12 * MIB))
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        for root in (mount.path, base):
            for n in range(16):
                (root / str(n)).write_bytes(random.Random(n).randbytes(MIB))
        for command in ("sync", "umount"):
            refused = artfs(command, at, check=False, env=env)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "no space left" in refused.stderr.splitlines()[0].lower()
            assert len(refused.stderr.splitlines()) <= 2
        assert is_mounted(at)
        assert "no space left" in only_draft()["error"].lower()
        Twin(mount, base).compare()
        assert not list(small.rglob("versions/*1.json"))
        (small / "theirs").unlink()
        assert artfs("sync", at, env=env).stdout == "data:v1\n"
        assert only_draft()["error"] is None
        assert mount.umount().stdout == "data:v1 (unchanged)\n"
    artfs("get", "data:v1", tmp_path / "got", env=env)
    assert tree(tmp_path / "got") == tree(base)
