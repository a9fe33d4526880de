"""Several users: who gets into a mount, whose its files are, and mounts that are not root's.

Where root runs this, the other user is a child process without root's rights.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from artfs.fuse.mount import check_mountpoint
from tests.support.mounts import (
    artfs,
    artfs_processes,
    force_unmount,
    fuse_mounts,
    is_mounted,
    mounted,
    wait_for,
    why_no_fuse,
)
from tests.support.twin import here, put
from tests.support.users import NOBODY, as_nobody, public_directory

pytestmark = pytest.mark.fuse

two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
TEAM = 12345


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, for mount points; pytest's own are private."""
    with public_directory() as path:
        try:
            yield path
        finally:
            # Nothing may be removed through a mount.
            for point in fuse_mounts(path):
                force_unmount(point)


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds: some of it for everybody, some not."""
    path = tmp_path / "base"
    (path / "closed").mkdir(parents=True)
    for name in ("public", "private", "closed/inner", "run.sh"):
        (path / name).write_text("#!/bin/sh\necho ran\n")
    for name, mode in {"public": 0o644, "private": 0o600, "closed": 0o700, "run.sh": 0o755}.items():
        (path / name).chmod(mode)
    path.chmod(0o755)
    put(path)
    return path


def denied(action: Callable[[], object]) -> int:
    """The errno with which the other user's attempt fails, 0 if it does not."""

    def attempt() -> int:
        try:
            action()
        except OSError as error:
            return error.errno or -1
        return 0

    number = as_nobody(attempt)
    assert isinstance(number, int)
    return number


# Mounts of root


@two_users
@pytest.mark.parametrize("command", ["mount", "draft"])
def test_nobody_else_gets_in(command: Literal["mount", "draft"], base: Path, public: Path) -> None:
    at = public / "mnt"
    with mounted(command, "data", at=at):
        assert (at / "public").exists()
        assert denied(lambda: os.stat(at)) == errno.EACCES
        assert denied(lambda: os.listdir(at)) == errno.EACCES
        assert denied(lambda: (at / "public").read_text()) == errno.EACCES
        assert denied(lambda: (at / "new").touch()) == errno.EACCES


@two_users
def test_everybody_gets_in_with_allow_other(base: Path, public: Path) -> None:
    at = public / "mnt"
    with mounted("mount", "--allow-other", at=at):
        latest = at / "data" / "latest"
        assert as_nobody(lambda: sorted(os.listdir(latest))) == sorted(os.listdir(base))
        assert as_nobody(lambda: (latest / "public").read_text()) == (base / "public").read_text()
        assert as_nobody(lambda: os.getxattr(latest / "public", "user.artfs.version")) == b"v0"
        assert as_nobody(lambda: subprocess.check_output([latest / "run.sh"])) == b"ran\n"


@two_users
def test_permission_bits_count(base: Path, public: Path) -> None:
    at = public / "mnt"
    with mounted("mount", "data", "--allow-other", at=at):
        assert denied(lambda: (at / "private").read_text()) == errno.EACCES
        assert denied(lambda: (at / "closed/inner").read_text()) == errno.EACCES
        assert (at / "private").read_text() == (at / "closed/inner").read_text()  # root
        assert denied(lambda: os.listdir(at / "closed")) == errno.EACCES
        assert denied(lambda: subprocess.run([at / "public"], check=True)) == errno.EACCES
        for write in (
            lambda: (at / "public").write_text("x"),
            lambda: (at / "new").touch(),
            lambda: (at / "public").unlink(),
        ):
            assert denied(write) == errno.EROFS


@two_users
def test_files_are_those_of_who_mounted(base: Path, public: Path) -> None:
    at = public / "mnt"

    def owners() -> set[tuple[int, int]]:
        found = [at, *at.rglob("*")]
        return {(path.lstat().st_uid, path.lstat().st_gid) for path in found}

    os.chown(base / "public", NOBODY, NOBODY)
    (base / "new").touch()
    put(base)
    with mounted("mount", "--allow-other", at=at):
        assert (at / "data" / "v1" / "new").exists()
        assert owners() == {(0, 0)}
    with mounted("draft", "data", "--allow-other", at=at) as mount:
        assert owners() == {(0, 0)}
        mount.umount("--discard")


@two_users
def test_a_mount_point_in_what_is_closed(base: Path, public: Path) -> None:
    (public / "closed/mnt").mkdir(parents=True)
    (public / "closed").chmod(0o700)
    with pytest.raises(RuntimeError, match=r"MountFailed: .*/closed/mnt: Permission denied"):
        as_nobody(lambda: check_mountpoint(public / "closed/mnt"))


@two_users
@pytest.mark.parametrize("command", ["mount", "draft"])
def test_no_privileges_come_out_of_a_version(
    command: Literal["mount", "draft"], base: Path, public: Path
) -> None:
    """A version made by anybody may hold set-id programs; a draft even devices."""
    at = public / "mnt"
    with mounted(command, "data", "--allow-other", at=at):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        [options] = [line.split()[5] for line in lines if line.split()[4] == str(at)]
        assert {"nosuid", "nodev"} <= set(options.split(","))


@two_users
def test_others_can_neither_unmount_nor_command(base: Path, public: Path) -> None:
    at = public / "mnt"
    with mounted("draft", "data", "--allow-other", at=at) as mount:
        (at / "public").write_text("changed")
        assert as_nobody(lambda: subprocess.run(["fusermount3", "-u", at], check=False).returncode)
        assert is_mounted(at)
        mount.umount("--discard")


# Drafts of root that others edit


@two_users
def test_what_another_user_makes_is_his(base: Path, public: Path) -> None:
    at = public / "mnt"
    shared, mine = at / "shared", at / "shared" / "mine"

    def edit() -> None:
        os.umask(0o027)
        mine.write_text("text")
        (shared / "dir").mkdir()
        (shared / "link").symlink_to("mine")
        os.mkfifo(shared / "pipe")
        os.link(mine, shared / "second")
        mine.rename(shared / "renamed")
        (shared / "renamed").rename(mine)

    def check() -> None:
        for name, mode in {"mine": 0o640, "dir": 0o750, "link": 0o777, "pipe": 0o640}.items():
            about = (shared / name).lstat()
            assert (about.st_uid, about.st_gid) == (NOBODY, NOBODY), name
            assert stat.S_IMODE(about.st_mode) == mode, name
        assert (at / "public").stat().st_uid == 0

    with mounted("draft", "data", "--allow-other", at=at) as mount:
        shared.mkdir()
        shared.chmod(0o1777)
        as_nobody(edit)
        check()
        assert artfs("sync", at).stdout == "data:v1\n"
        check()  # over the new base, too
        [draft] = [path.name for path in Path(os.environ["XDG_STATE_HOME"]).glob("artfs/drafts/*")]
        mount.umount("--keep")
    with mounted("draft", "--resume", draft, "--allow-other", at=at) as mount:
        check()
        assert as_nobody(lambda: mine.write_text("more")) == 4
        assert mount.umount().stdout == "data:v2\n"
    with mounted("mount", "data", "--allow-other", at=at):
        # A version has no owners: these bits are now those of who mounted.
        assert (mine.stat().st_uid, stat.S_IMODE(mine.stat().st_mode)) == (0, 0o640)
        assert denied(lambda: mine.read_text()) == errno.EACCES
        assert here("cat", "data:v2", "shared/mine") == "more"


@two_users
def test_another_user_is_held_to_permissions(base: Path, public: Path) -> None:
    at = public / "mnt"
    shared = at / "shared"
    with mounted("draft", "data", "--allow-other", at=at) as mount:
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "roots").write_text("root's")
        as_nobody(lambda: (shared / "mine").write_text("text"))
        for number, attempt in [
            (errno.EACCES, lambda: (at / "new").touch()),
            (errno.EACCES, lambda: (at / "public").write_text("x")),
            (errno.EACCES, lambda: (at / "public").unlink()),
            (errno.EACCES, lambda: (at / "private").read_text()),
            (errno.EACCES, lambda: os.truncate(at / "public", 0)),
            (errno.EPERM, lambda: (at / "public").chmod(0o777)),
            (errno.EPERM, lambda: os.utime(at / "public", (1, 1))),
            (errno.EPERM, lambda: os.chown(shared / "mine", 0, 0)),
            (errno.EPERM, lambda: (shared / "roots").unlink()),  # the sticky bit
            (errno.EPERM, lambda: (shared / "roots").rename(shared / "x")),
            (errno.EPERM, lambda: (shared / "mine").rename(shared / "roots")),
            (errno.EPERM, lambda: os.mknod(shared / "null", stat.S_IFCHR | 0o666, 0x103)),
            (0, lambda: (shared / "mine").chmod(0o600)),
            (0, lambda: (shared / "mine").rename(shared / "moved")),
        ]:
            assert denied(attempt) == number, attempt.__code__.co_firstlineno
        assert (shared / "roots").read_text() == "root's"
        mount.umount("--discard")


@two_users
def test_a_set_group_directory_gives_its_group(base: Path, public: Path) -> None:
    team = public / "mnt" / "team"

    def edit() -> None:
        (team / "file").touch()
        (team / "dir").mkdir()

    with mounted("draft", "data", "--allow-other", at=public / "mnt") as mount:
        team.mkdir()
        os.chown(team, 0, TEAM)
        team.chmod(0o2777)
        as_nobody(edit)
        assert [(team / name).stat().st_gid for name in ("file", "dir")] == [TEAM, TEAM]
        assert (team / "dir").stat().st_mode & stat.S_ISGID
        mount.umount("--discard")


def test_a_draft_on_disk_is_private(base: Path, tmp_path: Path) -> None:
    """Its journal holds what is in files that others may not read."""
    state = Path(os.environ["XDG_STATE_HOME"], "artfs")
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        for directory in (*state.glob("drafts/*"), *state.glob("mounts/*")):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
        mount.umount("--discard")


# Mounts whose daemon is another user's, or looks elsewhere: told by the state directory


def test_a_mount_of_somebody_else_is_not_commanded(base: Path, tmp_path: Path) -> None:
    """What cannot be told to the daemon is refused: it would commit what is to be discarded."""
    other = {"XDG_STATE_HOME": str(tmp_path / "other")}
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        (mount.path / "public").write_text("changed")
        for args in (["status"], ["sync"], ["umount", "--discard"], ["umount", "--keep"]):
            refused = artfs(*args, mount.path, env=other, check=False)
            assert refused.returncode == 3, args
            assert "mounted by another user" in refused.stderr.splitlines()[0]
            assert is_mounted(mount.path)
        mount.umount("--discard")
    assert "v1" not in here("ls", "data")


def test_a_mount_of_somebody_else_is_unmounted_unless_in_use(base: Path, tmp_path: Path) -> None:
    other = {"XDG_STATE_HOME": str(tmp_path / "other")}
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        with (mount.path / "public").open("a") as file:
            file.write("more\n")
            refused = artfs("umount", mount.path, env=other, check=False)
            assert (refused.returncode, is_mounted(mount.path)) == (4, True), refused.stderr
        artfs("umount", mount.path, env=other)
        assert not is_mounted(mount.path)
        wait_for(lambda: not mount.daemons, what="end of the daemon")
    assert here("cat", "data:v1", "public").endswith("more\n")


def test_a_dead_mount_of_somebody_else_is_cleared(base: Path, tmp_path: Path) -> None:
    other = {"XDG_STATE_HOME": str(tmp_path / "other")}
    with mounted("mount", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        file = (mount.path / "public").open()
        for daemon in mount.daemons:
            os.kill(daemon, 9)
        wait_for(lambda: not mount.daemons, what="end of the daemon")
        artfs("umount", mount.path, env=other)  # though a file is open
        assert not is_mounted(mount.path)
        with contextlib.suppress(OSError):
            file.close()


# Mounts of an ordinary user


def run_as_user(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody who is not root."""
    user = NOBODY if os.geteuid() == 0 else None
    groups: list[int] | None = None if user is None else []
    return subprocess.run(
        command, user=user, group=user, extra_groups=groups, capture_output=True, text=True,
        check=False, cwd="/",
    )  # fmt: skip


def why_not_as_user() -> str:
    """Why an ordinary user cannot mount here, or an empty string."""
    if why_no_fuse():
        return why_no_fuse()
    reads = "import os; os.open('/dev/fuse', os.O_RDWR); import artfs"
    try:
        done = run_as_user(sys.executable, "-c", reads)
    except PermissionError:
        return f"another user cannot run {sys.executable}"
    return done.stderr.splitlines()[-1] if done.returncode else ""


@pytest.fixture
def own(home: Path, public: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ordinary user's directory, with his store and state; a skip where he cannot mount."""
    if why_not_as_user():
        pytest.skip(f"as an ordinary user: {why_not_as_user()}")
    path = public / "own"
    path.mkdir()
    for kind in ("STATE", "CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(path / kind))
    monkeypatch.delenv("ARTFS_STORE")  # the default store, as of somebody who has set up nothing
    monkeypatch.setenv("HOME", str(path))
    for name in ("mnt", "src"):
        (path / name).mkdir()
    (path / "src" / "a").write_text("text\n")
    (path / "src" / "private").write_text("mine\n")
    (path / "src" / "private").chmod(0o600)
    if os.geteuid() == 0:
        for place in (path, *path.rglob("*")):
            os.chown(place, NOBODY, NOBODY)
    try:
        yield path
    finally:
        force_unmount(path / "mnt")
        wait_for(lambda: not artfs_processes(str(path)), what="end of the daemons")


def user_artfs(*args: str | Path) -> str:
    """What `artfs ARGS` prints for an ordinary user."""
    done = run_as_user(sys.executable, "-m", "artfs", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(line: str) -> str:
    done = run_as_user("sh", "-c", line)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_ordinary_user(own: Path) -> None:
    at = own / "mnt"
    assert user_artfs("put", "data", own / "src") == "data:v0\n"
    user_artfs("draft", "data", at)
    shell(f"echo more >> {at}/a && ln -s a {at}/link && mv {at}/a {at}/b && chmod +x {at}/b")
    assert "R a -> b" in user_artfs("status", at)
    assert user_artfs("sync", at) == "data:v1\n"
    shell(f"sync {at} && rm {at}/link && sync {at}")
    assert "v2 (latest)" in user_artfs("log", "data")
    shell(f"echo again >> {at}/b")
    assert user_artfs("umount", at) == "data:v3\n"
    user_artfs("mount", "data", at)
    assert shell(f"cat {at}/b") == "text\nmore\nagain\n"
    assert shell(f"cat {at}/private") == "mine\n"
    user = os.geteuid() or NOBODY
    assert shell(f"stat -c %u {at}/b") == f"{user}\n"
    user_artfs("umount", at)
    assert not is_mounted(at)


def test_a_plain_unmount_by_an_ordinary_user(own: Path) -> None:
    user_artfs("put", "data", own / "src")
    user_artfs("draft", "data", own / "mnt")
    shell(f"echo more > {own}/mnt/new && fusermount3 -u {own}/mnt")
    wait_for(lambda: not artfs_processes(str(own)), what="end of the daemon")
    assert user_artfs("cat", "data:v1", "new") == "more\n"


@two_users
def test_root_and_a_mount_of_a_user(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even root gets in, but he can take it down, which commits it."""
    at = own / "mnt"
    user_artfs("put", "data", own / "src")
    user_artfs("draft", "data", at)
    shell(f"echo more > {at}/new")
    with pytest.raises(PermissionError):
        os.listdir(at)
    monkeypatch.setenv("XDG_STATE_HOME", str(own.parent / "roots"))
    refused = artfs("umount", "--discard", at, check=False)
    assert (refused.returncode, is_mounted(at)) == (3, True)
    artfs("umount", at)
    assert not is_mounted(at)
    wait_for(lambda: not artfs_processes(str(own)), what="end of the daemon")
    assert user_artfs("cat", "data:v1", "new") == "more\n"


def test_a_user_lets_others_in_only_where_he_may(own: Path) -> None:
    at = own / "mnt"
    user_artfs("put", "data", own / "src")
    tried = run_as_user(sys.executable, "-m", "artfs", "mount", "--allow-other", "data", at)
    config = Path("/etc/fuse.conf")
    lines = config.read_text().splitlines() if config.exists() else []
    if "user_allow_other" not in [line.strip() for line in lines]:
        [line] = tried.stderr.splitlines()
        assert tried.returncode == 1
        assert line.startswith(f"artfs: {at}: ")
        assert line.endswith("'user_allow_other' is set in /etc/fuse.conf")
        assert not is_mounted(at)
        return
    assert tried.returncode == 0, tried.stderr
    assert (at / "a").read_text() == "text\n"  # root, if root runs this
    user_artfs("umount", at)
