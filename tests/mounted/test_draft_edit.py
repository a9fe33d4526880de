"""Editing a draft with what programs use to edit files, compared with a plain directory."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.mounts import artfs, mounted
from tests.support.twin import (
    EXCHANGE,
    NOREPLACE,
    Twin,
    check_version,
    here,
    put,
    renameat2,
    store_bytes,
    tree,
    twin,
)

pytestmark = pytest.mark.fuse

BIG = 3 << 20


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds."""
    path = tmp_path / "base"
    (path / "dir" / "deeper" / "deepest").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "big").write_bytes(random.Random(1).randbytes(BIG))
    for name in ("a", "b", "c", "dir/one", "dir/two", "dir/deeper/three"):
        (path / name).write_text(f"{name} of the base\n")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("dir/one")
    return path


@pytest.fixture
def pair(base: Path, tmp_path: Path) -> Iterator[Twin]:
    with twin(base, at=tmp_path / "mnt") as found:
        yield found


def at(path: Path, offset: int, data: bytes) -> int:
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def test_writing(pair: Twin) -> None:
    pair.both(lambda root: (root / "new").write_bytes(b"new"))
    pair.both(lambda root: at(root / "big", 1_234_567, b"x" * 5000))  # across blocks
    pair.both(lambda root: at(root / "big", BIG + 100_000, b"behind a hole"))
    pair.both(lambda root: at(root / "a", 2, b"XX"))
    for data in (b"1", b"22", b"333"):

        def append(root: Path, data: bytes = data) -> int:
            with (root / "b").open("ab") as file:
                file.write(data)
                return file.tell()

        pair.both(append)
    pair.compare()
    pair.both(lambda root: os.truncate(root / "big", BIG // 2))
    pair.both(lambda root: os.truncate(root / "big", BIG // 2 + 70_000))  # zeros, not the old bytes
    pair.both(lambda root: os.truncate(root / "new", 100_000))
    pair.both(lambda root: (root / "c").open("w").close())
    pair.compare()


def test_random_writes_and_truncations(pair: Twin) -> None:
    choose = random.Random(7)
    for _ in range(150):
        name = choose.choice(["big", "a", "fresh"])
        offset, size = choose.randrange(BIG), choose.choice([1, 100, 4096, 70_000, 300_000])
        data = choose.randbytes(size)

        def edit(root: Path, name: str = name, offset: int = offset, data: bytes = data) -> bytes:
            if data[0] < 40:
                (root / name).touch()
                os.truncate(root / name, offset)
            fd = os.open(root / name, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.pwrite(fd, data, offset)
                return os.pread(fd, 8192, max(0, offset - 4096))
            finally:
                os.close(fd)

        pair.both(edit)


def test_creating(pair: Twin) -> None:
    def exclusive(root: Path) -> None:
        os.close(os.open(root / "only", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))

    pair.both(exclusive)
    with pytest.raises(FileExistsError):
        pair.both(exclusive)
    pair.both(lambda root: (root / "d1" / "d2").mkdir(parents=True))
    with pytest.raises(FileExistsError):
        pair.both(lambda root: (root / "dir").mkdir())
    with pytest.raises(OSError, match="not empty"):
        pair.both(lambda root: (root / "dir").rmdir())
    pair.both(lambda root: (root / "empty").rmdir())
    pair.both(lambda root: (root / "a").unlink())
    with pytest.raises(FileNotFoundError):
        pair.both(lambda root: (root / "a").read_bytes())
    with pytest.raises(NotADirectoryError):
        pair.both(lambda root: (root / "b" / "x").touch())
    with pytest.raises(IsADirectoryError):
        pair.both(lambda root: (root / "dir").write_bytes(b""))
    pair.both(lambda root: (root / "a").mkdir())  # a directory where a file was
    pair.both(lambda root: (root / "empty").write_bytes(b"and a file where a directory was"))


def test_renaming(pair: Twin) -> None:
    with (pair.path / "dir/deeper/three").open("r+") as file:
        pair.both(lambda root: (root / "dir").rename(root / "moved"))
        assert file.read() == "dir/deeper/three of the base\n"
        file.write("written while its directory moved\n")
    with (pair.plain / "moved/deeper/three").open("a") as file:
        file.write("written while its directory moved\n")
    with (pair.path / "a").open() as replaced:
        pair.both(lambda root: (root / "b").rename(root / "a"))
        assert replaced.read() == "a of the base\n"
    pair.both(lambda root: (root / "moved/deeper").rename(root / "empty"))  # replaces an empty one
    pair.both(lambda root: (root / "empty/deepest").rename(root / "moved/deeper"))
    pair.compare()
    with pytest.raises(FileExistsError):
        pair.both(lambda root: renameat2(root / "a", root / "c", NOREPLACE))
    pair.both(lambda root: renameat2(root / "a", root / "b", NOREPLACE))
    pair.both(lambda root: renameat2(root / "b", root / "c", EXCHANGE))
    pair.both(lambda root: renameat2(root / "c", root / "moved", EXCHANGE))  # a file, a directory
    with pytest.raises(FileNotFoundError):
        pair.both(lambda root: renameat2(root / "b", root / "nothing", EXCHANGE))
    with pytest.raises(OSError, match="Invalid argument"):
        pair.both(lambda root: (root / "c").rename(root / "c" / "deeper" / "c"))
    with pytest.raises(IsADirectoryError):
        pair.both(lambda root: (root / "b").rename(root / "c"))
    with pytest.raises(NotADirectoryError):
        pair.both(lambda root: (root / "c").rename(root / "b"))
    pair.both(lambda root: sorted(os.listdir(root / "c")))


def test_links(pair: Twin) -> None:
    pair.both(lambda root: os.link(root / "a", root / "dir/hard"))
    pair.both(lambda root: (root / "dir/hard").write_text("through the other name"))
    assert pair.both(lambda root: (root / "a").read_text()) == "through the other name"
    assert (pair.path / "a").stat().st_ino == (pair.path / "dir/hard").stat().st_ino
    pair.compare()  # compares link counts, too
    pair.both(lambda root: (root / "a").unlink())
    pair.both(lambda root: os.link(root / "dir/hard", root / "again"))
    pair.both(lambda root: (root / "sym").symlink_to("../anything\nat all"))
    pair.both(lambda root: (root / "link").unlink())
    pair.both(lambda root: (root / "link").symlink_to("dir/two"))
    assert pair.both(lambda root: (root / "link").read_text()) == "dir/two of the base\n"
    with pytest.raises(PermissionError):
        pair.both(lambda root: os.link(root / "dir", root / "no"))
    pair.both(lambda root: (root / "loop").symlink_to("loop"))
    with pytest.raises(OSError, match="symbolic links"):
        pair.both(lambda root: (root / "loop").read_bytes())


def test_modes_and_times(pair: Twin) -> None:
    moment = 1_600_000_000_123_456_789

    def edit(root: Path) -> tuple[int, ...]:
        (root / "a").chmod(0o755)
        (root / "run.sh").chmod(0o600)
        (root / "dir").chmod(0o2770)
        os.utime(root / "b", ns=(moment + 1, moment))
        os.utime(root / "link", ns=(5, 7), follow_symlinks=False)
        os.utime(root / "dir", ns=(-1, -1_000_000_001))
        os.chown(root / "c", os.geteuid(), os.getegid())
        about = (root / "b").stat()
        return about.st_mtime_ns, about.st_atime_ns, (root / "dir").stat().st_mode

    assert pair.both(edit)[0] == moment
    assert pair.both(lambda root: (root / "dir").stat().st_mtime_ns) == -1_000_000_001
    assert pair.both(lambda root: (root / "link").lstat().st_mtime_ns) == 7
    with pytest.raises(OSError, match="not supported"):
        os.setxattr(pair.path / "a", "user.x", b"1")


def _set_times(name: str, moment: int, root: Path) -> None:
    os.utime(root / name, ns=(moment, moment))


def _unlink(name: str, root: Path) -> None:
    (root / name).unlink(missing_ok=True)


def _write(name: str, text: str, root: Path) -> None:
    (root / name).write_text(text)


def test_times_and_modes_are_in_the_version(base: Path, tmp_path: Path) -> None:
    moment = 1_600_000_000_123_456_789
    with twin(base, at=tmp_path / "mnt") as pair:
        pair.both(lambda root: (root / "dir/new").write_text("new"))
        for name in ("dir/new", "dir", "a"):
            pair.both(partial(_set_times, name, moment))
        pair.both(lambda root: (root / "dir/new").chmod(0o4711))
    with mounted("mount", "data:v1", at=tmp_path / "v1") as mount:
        for name in ("dir/new", "dir", "a"):
            assert (mount.path / name).stat().st_mtime_ns == moment, name
        assert stat.S_IMODE((mount.path / "dir/new").stat().st_mode) == 0o4711


def test_unlinked_while_open(pair: Twin) -> None:
    for name in ("a", "big", "new"):
        path = pair.path / name
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            before = os.pread(fd, 100, 0)
            pair.both(partial(_unlink, name))
            assert not path.exists()
            assert os.pread(fd, 100, 0) == before
            os.pwrite(fd, b"still here", 10)
            os.ftruncate(fd, 20)
            assert os.pread(fd, 10, 10) == b"still here"
            assert os.fstat(fd).st_nlink == 0
            pair.both(partial(_write, name, "another"))
            assert os.pread(fd, 10, 10) == b"still here"
        finally:
            os.close(fd)


def test_mmap(pair: Twin) -> None:
    def shared(root: Path) -> bytes:
        fd = os.open(root / "big", os.O_RDWR)
        with mmap.mmap(fd, 0) as memory:
            os.close(fd)  # the mapping alone keeps it
            memory[4000:4200] = b"m" * 200
            memory[BIG - 3 : BIG] = b"end"
            memory.flush()
            memory[100:104] = b"last"  # left to the unmapping
            return memory[3990:4210]

    def private(root: Path) -> bytes:
        with (
            (root / "big").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory,
        ):
            memory[0:4] = b"mine"
            return memory[:8] + file.read(8)

    pair.both(private)
    pair.both(shared)
    assert pair.both(lambda root: (root / "big").read_bytes())[100:104] == b"last"


MAPPER = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 0)
memory[5000:5004] = b"mmap"
print("stored", flush=True)
sys.stdin.read()
"""


def test_mapped_pages_reach_a_sync(base: Path, tmp_path: Path) -> None:
    """What was stored through a mapping that nobody has flushed is in the version."""
    put(base)
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        # A process of its own: one that starts others flushes what it has open in doing so.
        command = [sys.executable, "-c", MAPPER, str(mount.path / "big")]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as mapper:
            assert mapper.stdout is not None
            mapper.stdout.readline()
            assert artfs("sync", mount.path).stdout == "data:v1\n"
        assert mount.umount().stdout == "data:v1 (unchanged)\n"
    at(base / "big", 5000, b"mmap")
    check_version("data:v1", base)


def test_specials_are_left_out_and_named(base: Path, tmp_path: Path) -> None:
    put(base)
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        os.mkfifo(mount.path / "dir" / "fifo")
        assert artfs("sync", mount.path).stdout == "unchanged\n"
        (mount.path / "new").write_text("new")
        assert stat.S_ISFIFO((mount.path / "dir/fifo").stat().st_mode)
        said = artfs("status", mount.path).stdout
        assert "dir/fifo" in said
        synced = artfs("sync", mount.path)
        assert synced.stdout == "data:v1\n"
        assert "dir/fifo" in synced.stderr
        (mount.path / "new").write_text("newer")
        ended = mount.umount()
        assert ended.stdout == "data:v2\n"
        assert "dir/fifo" in ended.stderr
    (base / "new").write_text("newer")
    check_version("data:v2", base)


def test_odd_names(pair: Twin) -> None:
    odd = [b"\xff\xfe not utf-8", b"new\nline", b"tab\t", b" ", b"-rf", b"*", "ü".encode(), b"..."]
    for name in [*odd, b"n" * 255, b"\xf0" * 255]:

        def make(root: Path, name: bytes = name) -> None:
            Path(root, os.fsdecode(name)).write_bytes(name)
            Path(root, "dir", os.fsdecode(name)).mkdir()

        pair.both(make)
    with pytest.raises(OSError, match="too long"):
        pair.both(lambda root: (root / ("n" * 256)).touch())
    listed = pair.both(lambda root: sorted(os.listdir(os.fsencode(root))))
    assert set(odd) <= set(listed)
    assert pair.both(lambda root: (root / os.fsdecode(odd[0])).read_bytes()) == odd[0]
    said = artfs("status", pair.path).stdout
    assert os.fsdecode(odd[0]) in said


def test_listing_while_files_go(pair: Twin) -> None:
    """Nobody is named twice, nobody who was there throughout is missed."""
    many = pair.path / "many"
    for root in (pair.path, pair.plain):
        (root / "many").mkdir()
        for n in range(3000):
            (root / "many" / f"{n:04}").touch()
    seen = []
    for entry in os.scandir(many):
        seen.append(entry.name)
        if int(entry.name) % 2:
            os.unlink(entry.path)
    assert len(seen) == len(set(seen)) == 3000
    for n in range(1, 3000, 2):
        (pair.plain / "many" / f"{n:04}").unlink()
    # As `rm -r` does: delete what a listing has just given, until nothing is left.
    while names := os.listdir(many)[:700]:
        for name in names:
            (many / name).unlink()
    many.rmdir()
    for path in (pair.plain / "many").iterdir():
        path.unlink()
    (pair.plain / "many").rmdir()
    pair.both(lambda root: (root / "done").touch())


def test_seeking_in_a_directory_of_the_base(home: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for n in range(1500):
        (base / f"{n:04}").write_text(str(n))
    with twin(base, at=tmp_path / "mnt") as pair:
        seen = []
        for entry in os.scandir(pair.path):
            seen.append(entry.name)
            if entry.name.endswith("7"):
                os.unlink(entry.path)
            if entry.name.endswith("5"):
                os.rename(entry.path, f"{entry.path}.moved")
        gone = [name for name in seen if name.endswith("7")]
        assert len(seen) == len(set(seen))
        assert {f"{n:04}" for n in range(1500)} <= {name[:4] for name in seen}
        for name in gone:
            (pair.plain / name).unlink()
        for path in list(pair.plain.glob("*5")):
            path.rename(f"{path}.moved")


def test_locks(pair: Twin) -> None:
    def lock(path: Path) -> int:
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return errno.EWOULDBLOCK
        finally:
            os.close(fd)
        return 0

    def held(root: Path) -> tuple[int, int]:
        with (root / "a").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            while_held = lock(root / "a")
        return while_held, lock(root / "a")

    assert pair.both(held) == (errno.EWOULDBLOCK, 0)
    pair.both(lambda root: (root / "done").touch())


def test_only_what_changed_is_stored(home: Path, base: Path, tmp_path: Path) -> None:
    for n in range(20):
        (base / f"data{n}").write_bytes(random.Random(n).randbytes(1 << 20))
    with twin(base, at=tmp_path / "mnt") as pair:
        before = store_bytes(home)
        pair.both(lambda root: at(root / "data3", 500_000, b"a change"))
        pair.both(lambda root: (root / "data4").rename(root / "dir/data4"))
        pair.both(lambda root: (root / "data5").unlink())
        pair.both(lambda root: (root / "copy").write_bytes((root / "data6").read_bytes()))
        pair.both(lambda root: (root / "new").write_bytes(random.Random(99).randbytes(50_000)))
        pair.both(lambda root: (root / "data7").touch())
    # One chunk, which is at most that megabyte; the new file; directory nodes and the pack's frame.
    assert 50_000 < store_bytes(home) - before < (1 << 20) + 50_000 + 20_000


def test_a_block_in_a_big_file_costs_blocks(home: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    with (base / "huge").open("wb") as file:
        for n in range(64):
            file.write(random.Random(n).randbytes(1 << 20))
    with twin(base, at=tmp_path / "mnt") as pair:
        before = store_bytes(home)
        pair.both(lambda root: at(root / "huge", 30 << 20, b"4 KiB" * 800))
        written = sum(f.stat().st_blocks * 512 for f in home.rglob("state/artfs/drafts/*/data/*"))
        assert 0 < written < 64 << 10
    assert store_bytes(home) - before < 8 << 20


def test_a_draft_shows_its_base_untouched(base: Path, tmp_path: Path) -> None:
    put(base)
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        assert tree(mount.path, times=True) == tree(base, times=True)
        assert mount.umount().stdout == "data:v0 (unchanged)\n"
    assert "v1" not in here("log", "data")
