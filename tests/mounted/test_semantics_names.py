"""What artfs-semantics(7) says of names in a draft, sentence by sentence."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.support.failing import fails

pytestmark = pytest.mark.fuse


def test_lengths(place: Path) -> None:
    """A name has at most 255 bytes and a path at most 4,095; what is longer is ENAMETOOLONG."""
    for name in ("n" * 255, "ü" * 127):
        (place / name).write_text("text")
        assert (place / name).read_text() == "text"
    for make in (os.mkdir, os.mkfifo, os.unlink, os.stat):
        with fails(errno.ENAMETOOLONG):
            make(place / ("n" * 256))
    with fails(errno.ENAMETOOLONG):
        os.rename(place / "text", place / ("n" * 256))
    with fails(errno.ENAMETOOLONG):
        os.link(place / "text", place / ("n" * 256))
    path = f"{place}{'/.' * 2048}"[: 4095 - 6].rstrip("./") + "/"
    path = path.ljust(4095 - 4, "/") + "text"
    with open(path) as file:
        assert file.read() == "text of the base\n"
    with fails(errno.ENAMETOOLONG):
        os.stat(path.replace("text", "/text"))


def test_bytes(place: Path) -> None:
    """Names are bytes, all but / and NUL; they need not be UTF-8, and case and accents tell them
    apart."""
    odd = [bytes([n]) for n in range(1, 256) if n not in b"/."]
    odd += [
        b"A",
        b"a",
        "\u00e9".encode(),
        "e\u0301".encode(),
        b"\xff\xfe",
        b"...",
        b"-rf *",
        b"a\n",
    ]
    for name in odd:
        Path(os.fsdecode(place / "empty"), os.fsdecode(name)).write_bytes(name)
    assert set(os.listdir(os.fsencode(place / "empty"))) == set(odd)
    for name in odd:
        assert Path(os.fsdecode(place / "empty"), os.fsdecode(name)).read_bytes() == name


def test_hard_links(place: Path) -> None:
    """Hard links are one file with several names: one inode number, one content, and st_nlink
    counts them."""
    (place / "new").write_text("new")
    for name in ("text", "new", "link"):
        names = [place / name, place / "dir" / f"{name} 2", place / "empty" / f"{name} 3"]
        for other in names[1:]:
            os.link(names[0], other, follow_symlinks=False)
        assert len({path.lstat().st_ino for path in names}) == 1
        assert {path.lstat().st_nlink for path in names} == {3}
        if name != "link":
            names[1].write_text("through another name")
            names[2].chmod(0o640)
            assert {path.read_text() for path in names} == {"through another name"}
            assert {stat.S_IMODE(path.stat().st_mode) for path in names} == {0o640}
        names[0].unlink()
        names[1].rename(place / "dir" / "moved")
        assert names[2].lstat().st_nlink == 2
        (place / "dir" / "moved").unlink()
        assert names[2].lstat().st_nlink == 1
    assert (place / "empty" / "text 3").read_text() == "through another name"


def test_links_to_directories(place: Path) -> None:
    """A hard link to a directory is EPERM."""
    with fails(errno.EPERM):
        os.link(place / "dir", place / "new")
    with fails(errno.EPERM):
        os.link(place / "dir", place / "dir" / "deeper" / "new")


def test_symbolic_links(place: Path) -> None:
    """A symbolic link holds any 1 to 4,095 bytes, whether something is there or not."""
    targets = [b"t", b"t" * 4095, b"../text", b"/nowhere", b"\xff\n\\", b"dir/../dir/one"]
    for n, target in enumerate(targets):
        os.symlink(target, os.fsencode(place / f"to{n}"))
        assert os.readlink(os.fsencode(place / f"to{n}")) == target
        assert os.lstat(place / f"to{n}").st_size == len(target)
    assert (place / "to5").read_text() == "one of the base\n"
    with fails(errno.ENOENT):
        (place / "to3").read_bytes()
    with fails(errno.ENAMETOOLONG):
        os.symlink("t" * 4096, place / "too long")
    with fails(errno.ENOENT):
        os.symlink("", place / "to nothing")
    with fails(errno.EINVAL):
        os.readlink(place / "text")


def test_loops(place: Path) -> None:
    """Symbolic links that lead to themselves, or one to the other, are ELOOP."""
    os.symlink("self", place / "self")
    os.symlink("there", place / "here")
    os.symlink("here", place / "there")
    for name in ("self", "here"):
        with fails(errno.ELOOP):
            os.stat(place / name)
        with fails(errno.ELOOP):
            os.stat(place / name / "below")
    with fails(errno.ELOOP):
        os.open(place / "link", os.O_RDONLY | os.O_NOFOLLOW)


def test_removing_what_is_another_thing(place: Path) -> None:
    """unlink(2) of a directory is EISDIR, rmdir(2) of anything else ENOTDIR, and of a directory
    that is not empty ENOTEMPTY."""
    (place / "new").mkdir()
    (place / "new" / "file").touch()
    for name in ("dir", "empty", "new"):
        with fails(errno.EISDIR):
            os.unlink(place / name)
    for name in ("text", "link", "new/file"):
        with fails(errno.ENOTDIR):
            os.rmdir(place / name)
    for name in ("dir", "new", "dir/deeper"):
        with fails(errno.ENOTEMPTY):
            os.rmdir(place / name)
    os.unlink(place / "new" / "file")
    for name in ("new", "empty"):
        os.rmdir(place / name)
        with fails(errno.ENOENT):
            os.rmdir(place / name)


def test_paths_that_lead_nowhere(place: Path) -> None:
    """A path through a name that is not there is ENOENT, through a file ENOTDIR."""
    for call in (os.stat, os.listdir, os.mkdir, os.unlink, os.rmdir, os.readlink):
        with fails(errno.ENOENT):
            call(place / "none" / "name")
        with fails(errno.ENOTDIR):
            call(place / "text" / "name")
    with fails(errno.ENOENT):
        os.rename(place / "none", place / "new")
    with fails(errno.ENOENT):
        os.rename(place / "text", place / "none" / "name")
    with fails(errno.ENOTDIR):
        os.rename(place / "text", place / "big" / "name")
    with fails(errno.ENOTDIR):
        os.listdir(place / "text")
    with fails(errno.ENOENT):
        os.link(place / "none", place / "new")


def test_names_that_are_taken(place: Path) -> None:
    """Making a file, directory, link or node under a name that is there is EEXIST."""
    (place / "new").touch()
    for name in ("text", "dir", "link", "new"):
        taken = place / name
        with fails(errno.EEXIST):
            os.mkdir(taken)
        with fails(errno.EEXIST):
            os.mkfifo(taken)
        with fails(errno.EEXIST):
            os.symlink("to", taken)
        with fails(errno.EEXIST):
            os.link(place / "big", taken)
        with fails(errno.EEXIST):
            os.open(taken, os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_other_filesystems(drafted: Path, tmp_path: Path) -> None:
    """Links and renames to another filesystem are EXDEV."""
    (tmp_path / "file").touch()
    with fails(errno.EXDEV):
        os.link(drafted / "text", tmp_path / "new")
    with fails(errno.EXDEV):
        os.link(tmp_path / "file", drafted / "new")
    with fails(errno.EXDEV):
        os.rename(drafted / "dir", tmp_path / "new")
    with fails(errno.EXDEV):
        os.rename(tmp_path / "file", drafted / "text")
