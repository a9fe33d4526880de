"""What artfs-semantics(7) says of rename in a draft, sentence by sentence."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mounted.conftest import BIG
from tests.support.failing import fails
from tests.support.twin import EXCHANGE, NOREPLACE, renameat2

pytestmark = pytest.mark.fuse

WHITEOUT = 4


READER = """
import sys
seen = set()
print("reads", flush=True)
while "stop" not in seen:
    seen.add(open(sys.argv[1]).read())
print(*sorted(seen))
"""


def test_replacing_at_one_instant(place: Path) -> None:
    """rename(2) replaces a file at one instant: the name is never missing."""
    name = place / "text"
    name.write_text("0")
    command, pipe = [sys.executable, "-c", READER, str(name)], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reads\n"
        for text in [*map(str, range(1, 400)), "stop"]:
            (place / "new").write_text(text)
            (place / "new").rename(name)
        seen = reader.stdout.read().split()
    assert reader.returncode == 0  # else a name was missing, or a file was empty
    assert set(seen) <= {*map(str, range(400)), "stop"}


def test_renaming_to_another_name_of_it(place: Path) -> None:
    """Renaming one name of a file to another name of it does nothing."""
    os.link(place / "text", place / "other")
    os.rename(place / "text", place / "other")
    assert (place / "text").samefile(place / "other")
    assert (place / "text").stat().st_nlink == 2
    os.rename(place / "text", place / "text")
    assert (place / "text").exists()


def test_replacing_directories(place: Path) -> None:
    """A directory replaces an empty directory; replacing another one is ENOTEMPTY, replacing a file
    is ENOTDIR, and a file replacing a directory is EISDIR."""
    (place / "new").mkdir()
    (place / "new" / "file").touch()
    with fails(errno.ENOTEMPTY):
        os.rename(place / "new", place / "dir")
    with fails(errno.ENOTEMPTY):
        os.rename(place / "dir", place / "new")
    with fails(errno.ENOTDIR):
        os.rename(place / "dir", place / "text")
    with fails(errno.EISDIR):
        os.rename(place / "text", place / "empty")
    os.rename(place / "dir", place / "empty")
    assert sorted(os.listdir(place / "empty")) == ["deeper", "one"]
    (place / "new" / "file").unlink()
    os.rename(place / "empty", place / "new")  # what was emptied just now
    (place / "new" / "one").unlink()
    (place / "new" / "deeper" / "two").unlink()
    (place / "new" / "deeper").rmdir()
    (place / "other").mkdir()
    os.rename(place / "other", place / "new")  # what was emptied of what the base had
    assert not {"dir", "empty", "other"} & set(os.listdir(place))


def test_moving_below_itself(place: Path) -> None:
    """Moving a directory to below itself is EINVAL."""
    with fails(errno.EINVAL):
        os.rename(place / "dir", place / "dir" / "new")
    with fails(errno.EINVAL):
        os.rename(place / "dir", place / "dir" / "deeper" / "new")
    below = place / "dir" / "deeper"
    with fails(errno.EINVAL):
        renameat2(place / "dir", below, EXCHANGE)


def test_noreplace(place: Path) -> None:
    """RENAME_NOREPLACE fails with EEXIST if the new name is there."""
    for taken in ("big", "empty", "link"):
        with fails(errno.EEXIST):
            renameat2(place / "text", place / taken, NOREPLACE)
    with fails(errno.EEXIST):
        renameat2(place / "text", place / "text", NOREPLACE)
    renameat2(place / "text", place / "free", NOREPLACE)
    renameat2(place / "dir", place / "text", NOREPLACE)  # a name that has just become free
    assert (place / "free").read_text() == "text of the base\n"
    assert (place / "text" / "one").exists()


def test_exchange(place: Path) -> None:
    """RENAME_EXCHANGE exchanges what two names mean, a file and a directory too, and fails with
    ENOENT if one is not there."""
    renameat2(place / "text", place / "big", EXCHANGE)
    assert (place / "big").read_text() == "text of the base\n"
    assert (place / "text").read_bytes() == BIG
    renameat2(place / "big", place / "dir", EXCHANGE)
    assert (place / "dir").read_text() == "text of the base\n"
    assert (place / "big" / "deeper" / "two").read_text() == "two of the base\n"
    renameat2(place / "dir", place / "big" / "deeper" / "two", EXCHANGE)
    assert (place / "dir").read_text() == "two of the base\n"
    with fails(errno.ENOENT):
        renameat2(place / "text", place / "none", EXCHANGE)
    with fails(errno.ENOENT):
        renameat2(place / "none", place / "text", EXCHANGE)
    assert (place / "text").exists()


def test_whiteout(drafted: Path) -> None:
    """RENAME_WHITEOUT is EINVAL."""
    with fails(errno.EINVAL):
        renameat2(drafted / "text", drafted / "new", WHITEOUT)
    assert (drafted / "text").exists()
