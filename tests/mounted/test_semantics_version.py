"""What artfs-semantics(7) says of what a version takes of a draft, sentence by sentence."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mounted.conftest import Shared
from tests.support.mounts import artfs, make_home, mounted
from tests.support.twin import here, put

pytestmark = pytest.mark.fuse

MOMENT = 1_500_000_000_987_654_321
TEXT = {"text": "changed", "new/file": "new", "odd\n": "odd"}


class Made(NamedTuple):
    """What commands said while a draft became a version, and `mount`, which shows that."""

    mount: Path
    status: str
    sync: subprocess.CompletedProcess[str]
    umount: subprocess.CompletedProcess[str]


def edit(root: Path) -> None:
    (root / "new" / "empty").mkdir(parents=True)
    for name, text in TEXT.items():
        (root / name).write_text(text)
    (root / "gone").unlink()
    (root / "to nothing").symlink_to("nothing")
    for name, bits in (("text", 0o4751), ("new", 0o3775), ("new/file", 0o604)):
        (root / name).chmod(bits)
    for path in (root / "text", root / "new" / "file"):
        os.link(path, path.parent / f"{path.name} 2")
    if os.geteuid() == 0:
        os.chown(root / "odd\n", 12, 34)
        os.mknod(root / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mkfifo(root / "new" / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "socket"))
    for name in ("text", "new/file", "new/empty", "to nothing", "new"):
        os.utime(root / name, ns=(MOMENT, MOMENT), follow_symlinks=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """`data:v1`, made of a draft over `data:v0`."""
    root = tmp_path_factory.mktemp("made")
    (root / "base").mkdir()
    for name in ("text", "gone"):
        (root / "base" / name).write_text("base")
    with pytest.MonkeyPatch.context() as patch:
        make_home(root / "home", patch)
        put(root / "base")
        with mounted("draft", "data", at=root / "mnt") as draft:
            edit(draft.path)
            status = artfs("status", draft.path).stdout
            sync = artfs("sync", draft.path)
            umount = draft.umount()
        with mounted("mount", "data:v1", at=root / "mnt") as version:
            yield Made(version.path, status, sync, umount)


def test_what_is_taken(made: Made) -> None:
    """A version takes contents, names, symbolic links, empty directories, permission bits and
    modification times."""
    names = {str(path.relative_to(made.mount)) for path in made.mount.rglob("*")}
    links = {"text 2", "new/file 2", "to nothing"}
    assert names == {*TEXT, "new", "new/empty", *links}
    for name, text in TEXT.items():
        assert (made.mount / name).read_text() == text
    assert os.readlink(made.mount / "to nothing") == "nothing"
    for name, bits in (("text", 0o4751), ("new", 0o3775), ("new/file", 0o604)):
        assert stat.S_IMODE((made.mount / name).stat().st_mode) == bits
    for name in ("text", "new/file", "new/empty", "to nothing", "new"):
        assert (made.mount / name).lstat().st_mtime_ns == MOMENT


def test_hard_links(made: Made) -> None:
    """Hard links become separate files of equal content."""
    for name in ("text", "new/file"):
        one, other = made.mount / name, made.mount / f"{name} 2"
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_ino != other.stat().st_ino
        assert (one.stat().st_nlink, other.stat().st_nlink) == (1, 1)


def test_owners(made: Made) -> None:
    """Owners are not recorded: in a mount of the version all belongs to who mounted it."""
    for path in made.mount.rglob("*"):
        about = path.lstat()
        assert (about.st_uid, about.st_gid) == (os.geteuid(), os.getegid())


def test_special_files(place: Path) -> None:
    """FIFOs and sockets work in a draft, and root can make device nodes."""
    os.mkfifo(place / "fifo")
    with subprocess.Popen(["cat", place / "fifo"], stdout=subprocess.PIPE) as reader:
        (place / "fifo").write_bytes(b"through the pipe")
        assert reader.communicate()[0] == b"through the pipe"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(place / "socket"))
        server.listen()
        client.connect(str(place / "socket"))
        client.sendall(b"through the socket")
        taken, _ = server.accept()
        with taken:
            assert taken.recv(100) == b"through the socket"
    if os.geteuid() == 0:
        for name, kind in (("char", stat.S_IFCHR), ("block", stat.S_IFBLK)):
            os.mknod(place / name, 0o640 | kind, os.makedev(7, 200))
            about = (place / name).stat()
            assert (about.st_mode, about.st_rdev) == (0o640 | kind, os.makedev(7, 200))


def test_what_is_left_out(made: Made) -> None:
    """Versions leave them out; artfs status, artfs sync and artfs umount name them."""
    left_out = ["new/fifo", "socket", *(["device"] if os.geteuid() == 0 else [])]
    for path in left_out:
        assert not os.path.lexists(made.mount / path)
        for said in (made.status, made.sync.stderr, made.umount.stderr):
            assert path in said
    assert made.sync.stdout == "data:v1\n"
    assert made.umount.stdout == "data:v1 (unchanged)\n"


def test_what_makes_no_version(home: Path, tmp_path: Path) -> None:
    """A draft that differs from its base in nothing but modification times, and permission bits
    other than the execute bit of the owner, makes no version."""
    (tmp_path / "base" / "dir").mkdir(parents=True)
    (tmp_path / "base" / "file").write_text("text")
    put(tmp_path / "base")
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at) as mount:
        for path in (at / "file", at / "dir"):
            path.chmod(0o677 if path.is_file() else 0o1700)
            os.utime(path, ns=(MOMENT, MOMENT))
        (at / "file").write_text("other")
        (at / "file").write_text("text")
        assert artfs("sync", at).stdout == "unchanged\n"
        (at / "file").chmod(0o700)
        assert mount.umount().stdout == "data:v1\n"


def test_mapped_pages(shared: Shared, drafted: Path) -> None:
    """A version has what was stored through shared mappings before, written back or not."""
    command, pipe = [sys.executable, "-c", MAPPER, str(drafted / "big")], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as mapper:
        assert mapper.stdout is not None
        mapper.stdout.readline()
        version = artfs("sync", shared.mount.path).stdout.strip()
        assert "mmap" in here("cat", version, f"{drafted.name}/big")
        mapper.kill()


# A process of its own: one that starts others flushes what it has open in doing so.
MAPPER = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 0)
memory[5000:5004] = b"mmap"
print("stored", flush=True)
sys.stdin.read()
"""
