"""A read-only mount, seen by ordinary programs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounts import Mount, artfs, is_mounted, mounted, wait_for

pytestmark = pytest.mark.fuse


@pytest.fixture
def source(home: Path, tmp_path: Path) -> Path:
    """A directory of everything a version can hold, and a store where it is `data:v0`."""
    path = tmp_path / "source"
    (path / "dir" / "deeper").mkdir(parents=True)
    (path / "empty dir").mkdir()
    (path / "many").mkdir()
    for n in range(500):
        (path / "many" / f"{n:03}").write_bytes(bytes([n % 256]) * n)
    (path / "dir" / "deeper" / "file").write_text("text\n")
    (path / "big").write_bytes(os.urandom(5 << 20))
    (path / "zeros").write_bytes(bytes(3 << 20))
    (path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (path / "run.sh").chmod(0o750)
    (path / "link").symlink_to("dir/deeper/file")
    (path / "dangling").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(path) + b"/n\xff\xfe name")).write_text("odd")
    os.utime(path / "big", ns=(1, 1_234_567_890_123_456_789))
    artfs("init")
    artfs("put", "data", path, "--metadata", "k=1")
    return path


@pytest.fixture
def mount(source: Path, tmp_path: Path) -> Iterator[Mount]:
    with mounted("mount", "data:v0", at=tmp_path / "mnt") as found:
        yield found


def errno_from(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it")
def test_the_kernel_reads_further_ahead_than_by_itself(mount: Mount) -> None:
    device = mount.path.stat().st_dev
    path = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    wait_for(lambda: path.read_text() == "1024\n", what="1 MiB of reading ahead")


def test_it_is_the_directory_that_was_put(source: Path, mount: Mount) -> None:
    subprocess.run(["diff", "-r", "--no-dereference", source, mount.path], check=True)
    for path in [source, *source.rglob("*")]:
        there = mount.path / path.relative_to(source)
        one, other = path.lstat(), there.lstat()
        assert one.st_mode == other.st_mode, path
        assert one.st_mtime_ns == other.st_mtime_ns, path
        if not stat.S_ISDIR(one.st_mode):
            assert one.st_size == other.st_size, path
        assert (other.st_uid, other.st_gid) == (os.geteuid(), os.getegid())
    assert subprocess.check_output([mount.path / "run.sh"]) == b"ran\n"


def test_inode_numbers_differ_and_stay(mount: Mount) -> None:
    def numbers() -> dict[Path, int]:
        return {path: path.lstat().st_ino for path in mount.path.rglob("*")}

    first = numbers()
    assert len(set(first.values())) == len(first)
    Path("/proc/sys/vm/drop_caches").write_text("2") if os.geteuid() == 0 else None
    assert numbers() == first
    for entry in os.scandir(mount.path):
        assert entry.inode() == os.lstat(entry.path).st_ino


def test_every_change_is_erofs(mount: Mount) -> None:
    path = mount.path
    new, old = path / "new", path / "dir" / "deeper" / "file"
    for call in (
        lambda: new.touch(),
        lambda: new.mkdir(),
        lambda: os.mkfifo(new),
        lambda: new.symlink_to("x"),
        lambda: os.link(old, new),
        lambda: old.rename(new),
        lambda: old.unlink(),
        lambda: (path / "empty dir").rmdir(),
        lambda: old.chmod(0o600),
        lambda: os.chown(old, 0, 0),
        lambda: os.utime(old),
        lambda: os.truncate(old, 0),
        lambda: old.open("r+b"),
        lambda: old.open("ab"),
        lambda: os.setxattr(old, "user.x", b"1"),
        lambda: os.removexattr(old, "user.artfs.digest"),
    ):
        assert errno_from(call) == errno.EROFS


def test_other_errors(mount: Mount) -> None:
    path = mount.path
    assert errno_from(lambda: (path / "nothing").stat()) == errno.ENOENT
    assert errno_from(lambda: (path / "big" / "x").stat()) == errno.ENOTDIR
    assert errno_from(lambda: (path / ("n" * 256)).stat()) == errno.ENAMETOOLONG
    assert errno_from(lambda: (path / "dir").read_bytes()) == errno.EISDIR
    assert errno_from(lambda: os.readlink(path / "big")) == errno.EINVAL
    assert errno_from(lambda: os.getxattr(path / "big", "user.none")) == errno.ENODATA


def test_extended_attributes_and_statfs(source: Path, mount: Mount) -> None:
    names = set(os.listxattr(mount.path))
    assert names >= {"user.artfs.metadata", "user.artfs.aliases", "user.artfs.size"}
    assert json.loads(os.getxattr(mount.path, "user.artfs.metadata")) == {"k": 1}
    assert json.loads(os.getxattr(mount.path, "user.artfs.aliases")) == ["latest"]
    assert os.getxattr(mount.path / "big", "user.artfs.version") == b"v0"
    size = int(os.getxattr(mount.path, "user.artfs.size"))
    figures = os.statvfs(mount.path)
    assert size <= figures.f_blocks * figures.f_frsize < size + 4096
    assert figures.f_files == 1 + sum(1 for _ in source.rglob("*"))
    assert figures.f_bavail == 0
    assert figures.f_namemax == 255


def test_random_and_mapped_reads(source: Path, mount: Mount) -> None:
    data = (source / "big").read_bytes()
    fd = os.open(mount.path / "big", os.O_RDONLY)
    try:
        for at in (0, 1, 65_535, 1 << 20, (3 << 20) + 17, len(data) - 3, len(data)):
            assert os.pread(fd, 100_000, at) == data[at : at + 100_000]
    finally:
        os.close(fd)


def test_many_readers_at_once(source: Path, mount: Mount) -> None:
    """Opens of the same files from several processes at once: nobody waits for ever."""
    readers = [
        subprocess.Popen(["tar", "cf", "-", "-C", mount.path, "."], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = [reader.communicate(timeout=60)[0] for reader in readers]
    assert len(set(outputs)) == 1


def test_a_version_is_pinned(source: Path, mount: Mount) -> None:
    (source / "dir" / "deeper" / "file").write_text("changed\n")
    artfs("put", "data", source)
    assert (mount.path / "dir" / "deeper" / "file").read_text() == "text\n"


def test_sigterm_unmounts_even_if_in_use(source: Path, mount: Mount) -> None:
    fd = os.open(mount.path / "big", os.O_RDONLY)
    [daemon] = mount.daemons
    os.kill(daemon, signal.SIGTERM)
    wait_for(lambda: not is_mounted(mount.path), what="unmounted")
    with contextlib.suppress(OSError):  # ENOTCONN, from a kernel that still asks at every close
        os.close(fd)


def test_umount_of_a_busy_mount_says_so_and_leaves_it(mount: Mount) -> None:
    with (mount.path / "big").open("rb") as file:
        refused = mount.umount(check=False)
        assert refused.returncode == 4
        assert "is in use" in refused.stderr
        assert len(file.read()) == 5 << 20


def test_plain_fusermount_ends_the_daemon(mount: Mount) -> None:
    subprocess.run(["fusermount3", "-u", mount.path], check=True)
    wait_for(lambda: not mount.daemons, what="the daemon's end")


def test_a_killed_daemon_leaves_enotconn_and_umount_clears_it(source: Path, tmp_path: Path) -> None:
    with mounted("mount", "data:v0", at=tmp_path / "mnt") as mount:
        for daemon in mount.daemons:
            os.kill(daemon, signal.SIGKILL)
        wait_for(lambda: not mount.daemons)
        # A request on its way when the daemon dies may still get ECONNABORTED.
        wait_for(lambda: errno_from(lambda: os.listdir(mount.path)) == errno.ENOTCONN)
        refused = artfs("mount", "data:v0", mount.path, check=False, env=mount.env)
        assert refused.returncode != 0
        mount.umount()
        assert not is_mounted(mount.path)
        assert os.listdir(mount.path) == []


def test_where_it_cannot_be_mounted(source: Path, mount: Mount, tmp_path: Path) -> None:
    def refused(point: Path, ref: str = "data") -> tuple[int, str]:
        done = artfs("mount", ref, point, check=False)
        assert len(done.stderr.splitlines()) <= 2, done.stderr
        return done.returncode, done.stderr.splitlines()[0]

    (tmp_path / "point").mkdir()
    assert refused(tmp_path / "none") == (3, f"artfs: {tmp_path / 'none'}: no such directory")
    assert refused(source)[1].endswith("is not empty")
    assert refused(source / "big")[1].endswith("is not a directory")
    assert refused(mount.path)[0] == 4
    assert refused(tmp_path / "point", "data:v9")[0] == 3
    assert refused(tmp_path / "point", "other")[0] == 3
    assert not is_mounted(tmp_path / "point")
