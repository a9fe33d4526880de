"""A draft mount beside a plain directory: what is done to both must come to the same.

The plain directory is the model: results, errors and the tree afterwards are compared, and at the
end the version that the draft has become is the one that `artfs put` makes of the plain directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from artfs.cli.app import cli
from tests.support.mounts import Mount, mounted

T = TypeVar("T")
NOREPLACE, EXCHANGE = 1, 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


class Node(NamedTuple):
    """What a path is: its mode with the type, content or target, times (0: not compared), links."""

    mode: int
    content: bytes
    mtime_ns: int
    nlink: int


def tree(root: Path, times: bool = False) -> dict[bytes, Node]:
    """Everything below a directory, by path."""
    found: dict[bytes, Node] = {}
    base = os.fsencode(root)
    for directory, names, files in os.walk(base):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            about = os.lstat(path)
            content = b""
            if stat.S_ISLNK(about.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(about.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            mtime = about.st_mtime_ns if times else 0
            nlink = 0 if stat.S_ISDIR(about.st_mode) else about.st_nlink
            found[os.path.relpath(path, base)] = Node(about.st_mode, content, mtime, nlink)
    return found


class Twin(NamedTuple):
    """A draft's `mount`, and `plain`, the directory that is edited alike."""

    mount: Mount
    plain: Path

    @property
    def path(self) -> Path:
        """The root of the draft."""
        return self.mount.path

    def both(self, edit: Callable[[Path], T]) -> T:
        """Do something in both; returns what came of it, or raises it, if that is the same."""
        one, other = _outcome(edit, self.plain), _outcome(edit, self.path)
        assert _comparable(other) == _comparable(one), f"the draft: {other!r}; ext4: {one!r}"
        if isinstance(one, OSError):
            raise one
        assert not isinstance(other, OSError)
        return other

    def compare(self, times: bool = False) -> None:
        """Assert that both hold the same now."""
        draft, plain = tree(self.path, times), tree(self.plain, times)
        differing = [p for p in sorted({*draft, *plain}) if draft.get(p) != plain.get(p)]
        assert not differing, f"the draft differs from a plain directory in {differing[:10]}"


def _outcome(edit: Callable[[Path], T], root: Path) -> T | OSError:
    try:
        return edit(root)
    except OSError as error:
        return error


def _comparable(outcome: object) -> object:
    if isinstance(outcome, OSError):
        return outcome.errno
    return None if isinstance(outcome, Path) else outcome


@contextmanager
def twin(base: Path, *options: str, at: Path, version: str = "data:v1") -> Iterator[Twin]:
    """A draft over `data:v0`, which is `base`; at the end it becomes `version`, and the right one.

    The mount is compared with the plain directory before it goes, the version afterwards.
    """
    put(base)
    plain = at.parent / f"{at.name}-plain"
    shutil.copytree(base, plain, symlinks=True)
    with mounted("draft", "data", *options, at=at) as mount:
        pair = Twin(mount, plain)
        yield pair
        pair.compare()
        assert mount.umount().stdout == f"{version}\n"
    check_version(version, plain)


def check_version(version: str, plain: Path) -> None:
    """Assert that the newest version is what a plain directory holds, byte for byte; but `get`
    writes no set-ID programs."""
    got = plain.parent / f"got-{version}"
    here("get", version, got)
    assert _of_versions(tree(got)) == _of_versions(tree(plain))
    shutil.rmtree(got)
    assert put(plain, version.partition(":")[0]) == f"{version} (unchanged)\n"


def here(*args: str | Path) -> str:
    """Run an artfs command in this process, which is faster; its standard output."""
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw)) as out:
        cli.main(["-q", *map(str, args)], standalone_mode=False)
        out.flush()
        return os.fsdecode(raw.getvalue())


def only_draft() -> dict[str, Any]:
    """What `artfs drafts` says of the one draft there is."""
    (found,) = json.loads(here("--json", "drafts"))
    assert isinstance(found, dict)
    return found


def put(directory: Path, name: str = "data") -> str:
    """Make a version of a directory, in a store made where there is none; what was printed."""
    here("init")
    return here("put", name, directory)


def _of_versions(found: dict[bytes, Node]) -> dict[bytes, Node]:
    return {path: node._replace(mode=_fetched(node.mode), nlink=0) for path, node in found.items()}


def _fetched(mode: int) -> int:
    return mode if stat.S_ISDIR(mode) else mode & ~(stat.S_ISUID | stat.S_ISGID)


def renameat2(old: Path, new: Path, flags: int) -> None:
    """rename with RENAME_NOREPLACE or RENAME_EXCHANGE."""
    one, other = os.fsencode(old), os.fsencode(new)
    if _libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(new))


def store_bytes(home: Path) -> int:
    """Bytes of all packs in the store."""
    return sum(p.stat().st_size for p in (home / "store" / "packs").rglob("*") if p.is_file())
