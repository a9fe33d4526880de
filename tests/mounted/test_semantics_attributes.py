"""What artfs-semantics(7) says of attributes in a draft, sentence by sentence."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mounted.conftest import Shared
from tests.support.failing import fails
from tests.support.mounts import mounted, wait_for
from tests.support.twin import put

pytestmark = pytest.mark.fuse

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def nobody(script: str, where: Path, group: int = NOBODY) -> subprocess.CompletedProcess[str]:
    """A shell of an ordinary user in a directory, whatever is above it; groups: only `group`."""
    return subprocess.run(  # the caller looks at the status
        ["sh", "-c", script], cwd=where, user=NOBODY, group=group, extra_groups=[],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, capture_output=True, text=True,
    )  # fmt: skip


def test_chmod(place: Path) -> None:
    """chmod(2) sets all twelve bits; set-user-ID, set-group-ID and sticky are three of them."""
    (place / "new").touch()
    for name in ("text", "new", "dir", "empty"):
        for bits in (0o7777, 0o4711, 0o2755, 0o1777, 0o000, 0o640):
            (place / name).chmod(bits)
            assert mode(place / name) == bits
        (place / name).chmod(0o755)


@as_root
def test_nosuid_and_nodev(shared: Shared, drafted: Path) -> None:
    """The mount is nosuid and nodev: set-user-ID programs run as who starts them, and opening a
    device is EACCES."""
    program = shutil.which("id")
    assert program is not None
    shutil.copy(program, drafted / "id")
    os.chown(drafted / "id", NOBODY, NOBODY)
    (drafted / "id").chmod(0o6755)
    assert subprocess.run([drafted / "id", "-u"], check=True, capture_output=True).stdout == b"0\n"
    os.mknod(drafted / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with fails(errno.EACCES):
        os.open(drafted / "null", os.O_WRONLY)
    flags = os.statvfs(drafted).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV


def _write(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")


def test_set_id_bits_are_cleared(place: Path) -> None:
    """Writing to a file, truncating it, or giving it away clears its set-user-ID bit, and its
    set-group-ID bit if its group may execute it, but root keeps them when it writes or
    truncates."""
    keeps = os.geteuid() == 0
    for change, keeps_bits in (
        (_write, keeps),
        (lambda path: os.truncate(path, 3), keeps),
        (lambda path: os.chown(path, os.geteuid(), os.getegid()), False),
    ):
        for before, after in ((0o6755, 0o755), (0o4700, 0o700), (0o2745, 0o2745), (0o2710, 0o710)):
            (place / "text").chmod(before)
            change(place / "text")
            assert mode(place / "text") == (before if keeps_bits else after)
    (place / "dir").chmod(0o2755)
    os.chown(place / "dir", os.geteuid(), os.getegid())
    assert mode(place / "dir") == 0o2755


def test_setting_times(place: Path) -> None:
    """utimensat(2) sets times to the nanosecond, also before 1970, also of directories and symbolic
    links."""
    (place / "new").touch()
    moments = (1_600_000_000_123_456_789, 1, 0, -1, -1_000_000_001, 4_000_000_000_999_999_999)
    for name in ("text", "dir", "link", "new"):
        for moment in moments:
            os.utime(place / name, ns=(moment + 1, moment), follow_symlinks=False)
            about = (place / name).lstat()
            assert (about.st_atime_ns, about.st_mtime_ns) == (moment + 1, moment)
    assert (place / "dir" / "one").stat().st_mtime_ns == 1_600_000_000_123_456_789
    subprocess.run(["touch", "-m", "-d", "@5.000000007", place / "text"], check=True)  # UTIME_OMIT
    about = (place / "text").stat()
    assert (about.st_atime_ns, about.st_mtime_ns) == (moments[-1] + 1, 5_000_000_007)
    os.utime(place / "text")  # UTIME_NOW
    assert (place / "text").stat().st_mtime_ns > moments[0]


def test_times_far_away(drafted: Path) -> None:
    """Times before 1677 or after 2262 become the nearest that can be kept."""
    for year, kept in (("9999", 2**63 - 1), ("1500", -(2**63) + 1)):
        for name in ("text", "dir", "link"):
            subprocess.run(["touch", "-h", "-d", f"{year}-01-01", drafted / name], check=True)
            about = (drafted / name).lstat()
            assert (about.st_atime_ns, about.st_mtime_ns) == (kept, kept)
            assert os.listdir(drafted)  # which has the draft's database take them


def test_changes_set_times(place: Path) -> None:
    """Writing sets the modification time of a file, a change of names that of the directory, and
    either one the change time."""
    old = 1_000_000_000
    for name in ("text", "dir", "empty", "."):
        os.utime(place / name, ns=(old, old))
    changed = {name: (place / name).stat().st_ctime_ns for name in ("text", "dir", "empty", ".")}

    def is_new(name: str) -> bool:
        about = (place / name).stat()
        newer = about.st_mtime_ns > old and about.st_ctime_ns >= changed[name]
        os.utime(place / name, ns=(old, old))
        return newer

    _write(place / "text")
    assert is_new("text")
    assert not is_new(".")
    os.truncate(place / "text", 5)
    assert is_new("text")
    (place / "dir" / "one").rename(place / "empty" / "one")
    assert is_new("dir")
    assert is_new("empty")
    changes: list[Callable[[], object]] = [
        lambda: (place / "new").touch(),
        lambda: (place / "new").unlink(),
        lambda: (place / "new").mkdir(),
        lambda: (place / "new").rmdir(),
        lambda: (place / "new").symlink_to("x"),
        lambda: os.link(place / "text", place / "second"),
    ]
    for change in changes:
        change()
        assert is_new(".")
    before = (place / "text").stat()
    (place / "text").chmod(0o600)
    about = (place / "text").stat()
    assert about.st_mtime_ns == before.st_mtime_ns
    assert about.st_ctime_ns >= before.st_ctime_ns > old


def test_access_times(drafted: Path) -> None:
    """Reading does not set access times."""
    (drafted / "new").write_text("new")
    os.utime(drafted / "new", ns=(5, 7))
    for name in ("text", "new", "link"):
        before = (drafted / name).lstat().st_atime_ns
        (drafted / name).read_bytes()
        os.listdir(drafted / "dir")
        assert (drafted / name).lstat().st_atime_ns == before
    assert (drafted / "dir").stat().st_atime_ns == (drafted / "dir").stat().st_mtime_ns


@as_root
def test_chown(place: Path) -> None:
    """chown(2) is accepted, and shown while the draft lives."""
    (place / "new").mkdir()
    for name in ("text", "dir", "new", "link"):
        os.chown(place / name, 12, 34, follow_symlinks=False)
        about = (place / name).lstat()
        assert (about.st_uid, about.st_gid) == (12, 34)
        os.chown(place / name, -1, 56, follow_symlinks=False)
        about = (place / name).lstat()
        assert (about.st_uid, about.st_gid) == (12, 56)


@as_root
def test_owners_of_new_files(place: Path) -> None:
    """A new file belongs to who made it, with the umask taken from its mode; in a directory with
    the set-group-ID bit it gets the group of the directory, and a directory gets the bit."""
    (place / "empty").chmod(0o777)
    done = nobody("umask 027 && : > file && mkdir dir && ln -s to link", place / "empty", 100)
    assert done.returncode == 0, done.stderr
    for name, bits in (("file", 0o640), ("dir", 0o750), ("link", 0o777)):
        about = (place / "empty" / name).lstat()
        assert (about.st_uid, about.st_gid) == (NOBODY, 100)
        assert stat.S_IMODE(about.st_mode) == bits
    os.chown(place / "dir", 0, 12)
    (place / "dir").chmod(0o2777)
    assert nobody("umask 0 && : > file && mkdir dir", place / "dir").returncode == 0
    for name, bits in (("file", 0o666), ("dir", 0o2777)):
        about = (place / "dir" / name).lstat()
        assert (about.st_uid, about.st_gid) == (NOBODY, 12)
        assert stat.S_IMODE(about.st_mode) == bits


@as_root
def test_permissions(place: Path) -> None:
    """Permission bits are checked by the kernel, as on other filesystems: EACCES, and EPERM for
    what only the owner may do."""
    (place / "text").chmod(0o600)
    (place / "dir").chmod(0o700)
    (place / "empty").chmod(0o1777)
    (place / "empty" / "file").touch()
    for script in ("cat text", "echo >> text", "ls dir", "cat dir/one", ": > new", "rm big"):
        done = nobody(script, place)
        assert done.returncode, script
        assert "ermission denied" in done.stderr
    for script in ("chmod 777 big", "chown 65534 big", "rm -f empty/file", "mv empty/file empty/f"):
        done = nobody(script, place)
        assert done.returncode, script
        assert "Operation not permitted" in done.stderr
    assert nobody("cat big > empty/mine && rm empty/mine", place).returncode == 0


@as_root
def test_other_users(home: Path, tmp_path: Path) -> None:
    """Other users cannot enter the mount unless it was made with --allow-other."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "file").write_text("text")
    put(tmp_path / "base")
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at):
        (at / "open").mkdir(mode=0o777)
        assert nobody("ls .", at).stderr.endswith("Permission denied\n")
        assert nobody("cat file", at).stderr.endswith("Permission denied\n")
    with mounted("draft", "data", "--allow-other", at=at):
        assert nobody("cat file", at).stdout == "text"


def test_links_of_directories(drafted: Path) -> None:
    """The links of a directory are 2 and one for each subdirectory, or 1 if the base had names in
    it."""
    links = {name: (drafted / name).stat().st_nlink for name in ("dir", "dir/deeper", "empty")}
    assert links == {"dir": 1, "dir/deeper": 1, "empty": 2}
    (drafted / "new").mkdir()
    for n in range(3):
        (drafted / "new" / str(n)).mkdir()
        (drafted / "dir" / str(n)).mkdir()
    assert (drafted / "new").stat().st_nlink == 5
    (drafted / "new" / "1").rmdir()
    (drafted / "new" / "2").rename(drafted / "empty" / "2")
    (drafted / "new" / "file").touch()
    assert (drafted / "new").stat().st_nlink == 3
    assert (drafted / "empty").stat().st_nlink == 3
    assert (drafted / "dir").stat().st_nlink == 1


def test_extended_attributes(drafted: Path) -> None:
    """There are no extended attributes: a list of them is empty, and getting, setting or removing
    one is EOPNOTSUPP, which is ENOTSUP; for names below trusted. and security. the kernel answers
    ordinary users by itself, ENODATA for getting the former and EPERM for changes."""
    assert errno.EOPNOTSUPP == errno.ENOTSUP
    root = os.geteuid() == 0
    getting_trusted = errno.ENOTSUP if root else errno.ENODATA
    changing = errno.ENOTSUP if root else errno.EPERM
    (drafted / "new").touch()
    for path in (drafted / "text", drafted / "dir", drafted / "new"):
        for _ in range(2):  # the kernel answers by itself from the second time on
            assert os.listxattr(path) == []
            with fails(errno.ENOTSUP):
                os.getxattr(path, "security.capability")
            for name, getting, altering in (
                ("user.x", errno.ENOTSUP, errno.ENOTSUP),
                ("trusted.x", getting_trusted, changing),
                ("security.x", errno.ENOTSUP, changing),
            ):
                with fails(getting):
                    os.getxattr(path, name)
                with fails(altering):
                    os.setxattr(path, name, b"1")
                with fails(altering):
                    os.removexattr(path, name)


def test_acls(drafted: Path) -> None:
    """Nor are there ACLs: getting one is ENODATA or EOPNOTSUPP, and setting one EOPNOTSUPP."""
    entries = ((1, 6, -1), (2, 4, 12), (4, 4, -1), (16, 4, -1), (32, 4, -1))  # tag, bits, user
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    for path in (drafted / "text", drafted / "dir"):
        for name in ("system.posix_acl_access", "system.posix_acl_default"):
            for _ in range(2):
                with pytest.raises(OSError, match=r"No data available|not supported"):
                    os.getxattr(path, name)
                with fails(errno.EACCES if path.is_file() and "default" in name else errno.ENOTSUP):
                    os.setxattr(path, name, acl)


def test_statfs(shared: Shared, drafted: Path) -> None:
    """statfs(2) shows the size and the room of the disk that holds the draft."""

    def size_and_room(path: Path) -> tuple[int, int]:
        found = os.statvfs(path)
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize

    def agrees() -> bool:
        one, other = size_and_room(drafted), size_and_room(shared.home)
        return one[0] == other[0] and abs(one[1] - other[1]) < 16 << 20

    wait_for(agrees, what="the same room while others write to the disk")
    assert os.statvfs(drafted).f_namemax == 255
