"""What artfs-semantics(7) says of the content of files in a draft, sentence by sentence."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mounted.conftest import BIG, Shared
from tests.support.failing import fails
from tests.support.mounts import artfs, is_mounted, wait_for
from tests.support.twin import tree

pytestmark = pytest.mark.fuse

_libc = ctypes.CDLL(None, use_errno=True)


def python(script: str, *args: object, cwd: Path | None = None) -> str:
    """What a Python process prints."""
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


# What a draft is


def test_it_begins_as_its_base(shared: Shared, drafted: Path) -> None:
    """It begins with the files of its base, their modes and their times."""
    assert tree(drafted, times=True) == tree(shared.base / drafted.name, times=True)
    assert drafted.stat().st_mtime_ns == (shared.base / drafted.name).stat().st_mtime_ns


def test_a_write_stores_what_is_written(shared: Shared, drafted: Path) -> None:
    """A write stores what is written, and not the file it is in."""
    with (drafted / "big").open("r+b") as file:
        file.seek(100_000)
        file.write(b"x" * 5000)
    data = BIG[:100_000] + b"x" * 5000 + BIG[105_000:]
    assert (drafted / "big").read_bytes() == data
    stored = shared.data_files((drafted / "big").stat().st_ino)
    assert 5000 <= sum(path.stat().st_blocks * 512 for path in stored) <= 16384


def test_one_writer(shared: Shared, tmp_path: Path) -> None:
    """One draft has one writer: mounting it a second time fails."""
    refused = artfs("draft", "--resume", shared.draft.name, tmp_path, check=False)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "is mounted already" in refused.stderr
    assert not is_mounted(tmp_path)


# Reading and writing


def test_others_read_what_was_written(place: Path) -> None:
    """What one process has written every other reads at once, through whatever descriptor or
    name."""
    os.link(place / "text", place / "dir" / "other name")
    with (place / "text").open("rb", buffering=0) as file:
        assert file.read() == b"text of the base\n"
        python("import sys; open(sys.argv[1], 'ab').write(b'more')", place / "dir" / "other name")
        assert file.read() == b"more"
        fd = os.open(place / "text", os.O_WRONLY)
        os.pwrite(fd, b"TEXT", 0)
        read = "import sys; print(open(sys.argv[1]).read(4))"
        assert python(read, place / "dir" / "other name") == "TEXT\n"
        os.close(fd)


APPENDER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for n in range(150):
    os.write(fd, (f"{sys.argv[2]} {n} " + "x" * 90 + "\\n").encode())
"""


def test_appending(place: Path) -> None:
    """Writes with O_APPEND go one behind the other, from however many processes."""
    command = [sys.executable, "-c", APPENDER, str(place / "log")]
    writers = [subprocess.Popen([*command, str(n)]) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    lines = (place / "log").read_text().splitlines()
    expected = [f"{who} {n} {'x' * 90}" for who in range(4) for n in range(150)]
    assert sorted(lines) == sorted(expected)
    for who in range(4):
        assert [line for line in lines if line.startswith(f"{who} ")] == expected[who * 150 :][:150]


MAKER = """
import os, sys
for n in range(60):
    try:
        os.close(os.open(f"only{n}", os.O_CREAT | os.O_EXCL))
        print(n)
    except FileExistsError:
        pass
"""


def test_exclusive_creation(place: Path) -> None:
    """Of all processes that make a file with O_EXCL one succeeds, and the others get EEXIST."""
    command = [sys.executable, "-c", MAKER]
    makers = [subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE) for _ in range(4)]
    won = [int(n) for maker in makers for n in maker.communicate()[0].split()]
    assert [maker.returncode for maker in makers] == [0] * 4
    assert sorted(won) == list(range(60))


def test_truncation(place: Path) -> None:
    """truncate(2) cuts a file or extends it with zeros, and what was cut off does not come back."""
    (place / "new").write_bytes(BIG)
    for name in ("big", "new"):
        os.truncate(place / name, 70_000)
        assert (place / name).read_bytes() == BIG[:70_000]
        os.truncate(place / name, 100_000)
        assert (place / name).read_bytes() == BIG[:70_000] + bytes(30_000)
        with (place / name).open("r+b") as file:
            file.truncate(10)
            file.seek(90)
            file.write(b"end")
        assert (place / name).read_bytes() == BIG[:10] + bytes(80) + b"end"
        os.truncate(place / name, 0)
        os.truncate(place / name, 5)
        assert (place / name).read_bytes() == bytes(5)


def test_sparse_files(place: Path) -> None:
    """What was never written reads as zeros and takes no room on the disk."""
    with (place / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(64 << 20)
        file.write(b"end")
        file.truncate(1 << 30)
    about = (place / "sparse").stat()
    assert about.st_size == 1 << 30
    assert about.st_blocks * 512 <= 1 << 16
    with (place / "sparse").open("rb") as file:
        assert file.read(10) == b"begin" + bytes(5)
        file.seek((64 << 20) - 1000)
        assert file.read(2000) == bytes(1000) + b"end" + bytes(997)
    (place / "sparse").unlink()


def test_seeking_holes(drafted: Path) -> None:
    """For lseek(2) a file is all data: SEEK_HOLE finds its end."""
    fd = os.open(drafted / "sparse", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 1 << 20)
    assert os.lseek(fd, 5000, os.SEEK_DATA) == 5000
    assert os.lseek(fd, 5000, os.SEEK_HOLE) == 1 << 20
    with fails(errno.ENXIO):
        os.lseek(fd, 1 << 20, os.SEEK_DATA)
    os.close(fd)


def test_the_largest_size(drafted: Path) -> None:
    """The size of a file can be up to 2^63-1 bytes."""
    path = drafted / "huge"
    path.touch()
    try:
        os.truncate(path, (1 << 63) - 1)
        assert path.stat().st_size == (1 << 63) - 1
        with path.open("rb", buffering=0) as file:
            file.seek((1 << 63) - 5)
            assert file.read(4) == bytes(4)
    finally:
        path.unlink()  # a commit would read all those zeros


def test_the_largest_offset(shared: Shared, drafted: Path) -> None:
    """A write behind the largest offset that the disk below takes is EFBIG."""
    offset = 1 << 61
    fd = os.open(shared.home / "probe", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, b"x", offset)
        pytest.skip("the disk below takes any offset")
    except OSError as error:
        assert error.errno == errno.EFBIG  # noqa: PT017  # a probe of another disk
    finally:
        os.close(fd)
    fd = os.open(drafted / "huge", os.O_RDWR | os.O_CREAT)
    with fails(errno.EFBIG):
        os.pwrite(fd, b"x", offset)
    assert os.fstat(fd).st_size == 0
    os.close(fd)


def test_ways_of_copying(drafted: Path) -> None:
    """O_DIRECT, copy_file_range(2) and sendfile(2) work."""
    page = mmap.mmap(-1, 4096)  # O_DIRECT wants memory at the beginning of a page
    fd = os.open(drafted / "big", os.O_RDWR | os.O_DIRECT)
    assert os.preadv(fd, [page], 8192) == 4096
    assert page[:] == BIG[8192:12288]
    page[:] = b"d" * 4096
    assert os.pwritev(fd, [page], 0) == 4096
    os.close(fd)
    expected = b"d" * 4096 + BIG[4096:]
    assert (drafted / "big").read_bytes() == expected
    with (drafted / "big").open("rb") as source, (drafted / "range").open("wb") as file:
        while os.copy_file_range(source.fileno(), file.fileno(), 1 << 20):
            pass
    assert (drafted / "range").read_bytes() == expected
    with (drafted / "big").open("rb") as source, (drafted / "sent").open("wb") as file:
        offset = 0
        while sent := os.sendfile(file.fileno(), source.fileno(), offset, 1 << 20):
            offset += sent
    assert (drafted / "sent").read_bytes() == expected


def test_what_is_not_supported(drafted: Path) -> None:
    """fallocate(2) and O_TMPFILE fail with EOPNOTSUPP; posix_fallocate(3) works, as the C library
    then writes the blocks."""
    fd = os.open(drafted / "text", os.O_RDWR)
    for mode in (0, 1, 3):  # allocate, keep the size, punch a hole
        assert _libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(100)) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP
    os.posix_fallocate(fd, 0, 100_000)
    assert os.pread(fd, 200_000, 0) == b"text of the base\n" + bytes(100_000 - 17)
    os.close(fd)
    with fails(errno.EOPNOTSUPP):
        os.open(drafted, os.O_TMPFILE | os.O_RDWR)


def test_running_programs(place: Path) -> None:
    """A program in a draft can be run; opening it for writing is ETXTBSY meanwhile."""
    assert subprocess.run([place / "run"], check=True, capture_output=True).stdout == b"ran\n"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, place / "program")
    with subprocess.Popen([place / "program", "1000"]) as program:
        wait_for(lambda: os.path.samefile(f"/proc/{program.pid}/exe", place / "program"))
        with fails(errno.ETXTBSY):
            os.open(place / "program", os.O_WRONLY)
        program.kill()
    (place / "program").write_bytes(b"something else")
