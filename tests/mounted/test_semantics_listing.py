"""What artfs-semantics(7) says of listings and inode numbers of a draft, sentence by sentence."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounts import artfs

pytestmark = pytest.mark.fuse

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = _libc.readdir.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long
_libc.telldir.argtypes = _libc.closedir.argtypes = _libc.readdir.argtypes = [ctypes.c_void_p]
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


def test_inode_numbers(drafted: Path) -> None:
    """Inode numbers stay the same while the draft is mounted, through renames and new versions, and
    no two files share one."""
    (drafted / "new").write_text("new")
    renamed = {"text": "text 2", "dir": "empty/dir", "new": "empty/dir/new", "link": "big link"}
    before = {name: (drafted / name).lstat().st_ino for name in [*renamed, "big", "run", "empty"]}
    within = (drafted / "dir" / "one").stat().st_ino
    for name, other in renamed.items():
        (drafted / name).rename(drafted / other)
    (drafted / "big").write_bytes(b"changed")
    assert artfs("sync", drafted.parent).stdout.startswith("data:v")
    for name, number in before.items():
        path = drafted / renamed.get(name, name)
        assert path.lstat().st_ino == number
    assert (drafted / "empty/dir/one").stat().st_ino == within
    (drafted / "new").write_text("another")
    about = [path.lstat() for path in drafted.parent.rglob("*")]
    found = [one.st_ino for one in about if one.st_nlink == 1 or stat.S_ISDIR(one.st_mode)]
    assert len(found) == len(set(found))


@contextmanager
def directory(path: Path) -> Iterator[int]:
    """A DIR of the C library."""
    opened = _libc.opendir(os.fsencode(path))
    assert opened
    yield opened
    _libc.closedir(opened)


def entries(opened: int) -> Iterator[tuple[str, int]]:
    """(name, d_type) of what is left of a listing, but . and .."""
    while address := _libc.readdir(opened):
        # struct dirent: d_ino and d_off of 8 bytes, d_reclen of 2, d_type of 1, the name.
        name = ctypes.string_at(address + 19)
        if name not in (b".", b".."):
            yield os.fsdecode(name), ctypes.string_at(address + 18, 1)[0]


def test_listings_while_names_change(place: Path) -> None:
    """A listing has every name once that is there from its beginning to its end, and no name twice,
    whatever is made, renamed or removed meanwhile."""
    root = place / "empty"
    for n in range(900):
        (root / f"stays{n}").touch()
        (root / f"goes{n}").touch()
        (root / f"again{n}").touch()
    seen = []
    for n, entry in enumerate(os.scandir(root)):
        seen.append(entry.name)
        if entry.name.startswith("again"):
            (root / entry.name).unlink()
            (root / entry.name).touch()
        if n < 900:
            (root / f"goes{n}").rename(root / f"renamed{n}")
            (root / f"comes{n}").touch()
            (root / f"renamed{n // 2}").unlink(missing_ok=True)
    assert len(seen) == len(set(seen))
    assert {name for name in seen if name.startswith("stays")} == {f"stays{n}" for n in range(900)}
    now = os.listdir(root)
    assert len(now) == len(set(now))
    assert {name for name in now if name.startswith("comes")} == {f"comes{n}" for n in range(900)}


def test_positions(place: Path) -> None:
    """A position from telldir(3) stays good while the directory changes."""
    for n in range(300):
        (place / f"new{n}").touch()
    with directory(place) as opened:
        before = [name for (name, _), _ in zip(entries(opened), range(120), strict=False)]
        position = _libc.telldir(opened)
        rest = [name for name, _ in entries(opened)]
        assert len({*before, *rest}) == len(before) + len(rest) >= 300
        for name in [*before[::3], *rest[::3]]:
            if name not in ("dir", "empty"):
                (place / name).unlink()
        (place / "made later").touch()
        _libc.seekdir(opened, position)
        gone = set(rest[::3]) - {"dir", "empty"}
        again = [name for name, _ in entries(opened) if name != "made later"]
        assert set(again) >= set(rest) - gone
        assert set(again) <= set(rest)
        assert len(again) == len(set(again))


def test_types(place: Path) -> None:
    """A listing tells the type of every file; it may leave out the names . and .., which paths can
    hold."""
    os.mkfifo(place / "fifo")
    (place / "new").mkdir()
    with directory(place) as opened:
        types = dict(entries(opened))
    for name, d_type in types.items():
        assert d_type == stat.S_IFMT((place / name).lstat().st_mode) >> 12, name
    assert {"dir", "fifo", "new", "link", "text"} <= set(types)
    assert os.stat(f"{place}/dir/.").st_ino == (place / "dir").stat().st_ino
    assert os.stat(f"{place}/dir/..").st_ino == place.stat().st_ino
    assert os.listdir(f"{place}/new/../dir/./deeper") == ["two"]


IN_CREATE, IN_DELETE, IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO = 0x100, 0x200, 0x2, 0x40, 0x80


def test_inotify(place: Path) -> None:
    """inotify(7) tells of what programs of this machine change."""
    fd = _libc.inotify_init1(os.O_NONBLOCK)
    assert _libc.inotify_add_watch(fd, os.fsencode(place), 0xFFF) >= 0
    script = 'echo more >> text && : > new && mv big bigger && rm link && mkdir "a dir"'
    subprocess.run(["sh", "-c", script], cwd=place, check=True)
    raw = os.read(fd, 1 << 16)
    os.close(fd)
    told = set()
    while raw:
        _, mask, _, length = struct.unpack_from("iIII", raw)
        told.add((mask & 0x3C2, raw[16 : 16 + length].rstrip(b"\0").decode()))
        raw = raw[16 + length :]
    assert told >= {
        (IN_MODIFY, "text"), (IN_CREATE, "new"), (IN_MOVED_FROM, "big"), (IN_MOVED_TO, "bigger"),
        (IN_DELETE, "link"), (IN_CREATE, "a dir"),
    }  # fmt: skip
