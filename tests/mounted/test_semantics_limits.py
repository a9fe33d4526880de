"""What artfs-semantics(7) says of bases that cannot be read, and of full disks, by sentence."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from artfs.format import digest as digests
from artfs.repo import editing
from artfs.repo.commit import commit
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, Entry, Kind, parse_ref
from tests.support.failing import fails
from tests.support.mounts import Mount, artfs, make_home, mounted, wait_for
from tests.support.twin import check_version, here, put

pytestmark = pytest.mark.fuse

MIB = 1 << 20
TARGET = b"tracker://example.org/data"


class Damaged(NamedTuple):
    """A draft whose base holds `data` in file `damaged`, most of which is damaged in the store."""

    path: Path
    data: bytes
    store: Path


def add_reference(home: Path) -> None:
    """Make `data:v1`, which is v0 and the reference `reference`."""
    with Repository.open(str(home / "store"), home / "cache") as repository:
        base = repository.catalog.resolve(parse_ref("data", ("default", "default")))
        entry = Entry(
            b"reference", Kind.REFERENCE, 0o644, 7, 12345, 0,
            digests.of_reference(TARGET.decode(), ""), target=TARGET,
        )  # fmt: skip
        with PackWriter(repository) as writer:
            changes: dict[bytes, Entry | None] = {
                name: msgspec.structs.replace(entry, name=name)
                for name in (b"reference", b"second", b"third")
            }
            root = editing.edit(repository.root(base), changes, writer, repository.blobs)
            key = ArtifactKey("default", "default", "data")
            commit(repository, key, root, writer, commit_id="1" * 32, base=0)


def damage(store: Path, data: bytes) -> None:
    """Change a byte in each of the chunks of some content but the last ones."""
    for pack in store.glob("packs/*/*"):
        raw = bytearray(pack.read_bytes())
        where = [raw.find(data[at : at + 64]) for at in range(0, 6 * MIB, 100_000)]
        if any(at >= 0 for at in where):
            for at in where:
                raw[at] ^= at >= 0
            pack.chmod(0o644)
            pack.write_bytes(raw)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    root = tmp_path_factory.mktemp("damaged")
    (root / "base" / "dir").mkdir(parents=True)
    data = random.Random(1).randbytes(12 * MIB)
    for name in ("damaged", "copied", "second"):
        (root / "base" / name).write_bytes(data)
    (root / "base" / "dir" / "sound").write_text("sound")
    with pytest.MonkeyPatch.context() as patch:
        home = make_home(root / "home", patch)
        put(root / "base")
        add_reference(home)
        damage(home / "store", data)
        with mounted("draft", "data", at=root / "mnt", expect_errors=True) as mount:
            yield Damaged(mount.path, data, home / "store")
            mount.umount("--discard")


def at(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


def test_nothing_is_fetched_before_it_is_read(damaged: Damaged) -> None:
    """Nothing of the base is copied or fetched before it is read."""
    path = damaged.path / "copied"
    assert path.stat().st_size == 12 * MIB
    path.chmod(0o600)
    path = path.rename(damaged.path / "dir" / "moved")
    os.link(path, damaged.path / "linked")
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"x" * 8192)
        file.truncate(4 * MIB)
    assert at(path, MIB, 8192) == b"x" * 8192
    data = damaged.store.parent.glob("state/artfs/drafts/*/data/*")
    assert sum(file.stat().st_blocks * 512 for file in data) < 64 << 10
    with fails(errno.EIO):  # so it was not fetched until now
        at(path, 0, 100)


def test_damage(damaged: Damaged) -> None:
    """A part of the base that is damaged is EIO; all else can be read, and pages that the draft
    has written over it, too."""
    path = damaged.path / "damaged"
    with fails(errno.EIO):
        at(path, 0, MIB)
    assert at(path, 11 * MIB, MIB) == damaged.data[11 * MIB :]
    with path.open("r+b") as file:
        file.write(b"x" * (2 * MIB))
    assert at(path, 0, 2 * MIB) == b"x" * (2 * MIB)
    with fails(errno.EIO):
        at(path, 4 * MIB, MIB)
    assert (damaged.path / "dir" / "sound").read_text() == "sound"


def test_without_the_store(damaged: Damaged) -> None:
    """While the store cannot be reached, what was written to the draft can be read and written."""
    (damaged.path / "new").write_bytes(b"new" * 100_000)
    with (damaged.path / "dir" / "sound").open("r+") as file:
        file.write("SOUND")
    away = damaged.store.rename(damaged.store.with_name("away"))
    try:
        assert (damaged.path / "new").read_bytes() == b"new" * 100_000
        (damaged.path / "newer").write_text("newer")
        (damaged.path / "new").write_text("changed")
        (damaged.path / "new").rename(damaged.path / "renamed")
        assert (damaged.path / "renamed").read_text() == "changed"
        assert (damaged.path / "newer").read_text() == "newer"
        assert (damaged.path / "dir" / "sound").read_text() == "SOUND"
    finally:
        away.rename(damaged.store)


def test_references(damaged: Damaged) -> None:
    """Opening a reference of a scheme that cannot be read is EOPNOTSUPP, unless to truncate it to
    nothing."""
    path = damaged.path / "reference"
    about = path.stat()
    assert (about.st_size, stat.S_IMODE(about.st_mode), about.st_mtime_ns) == (12345, 0o644, 7)
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_APPEND):
        with fails(errno.EOPNOTSUPP):
            os.open(path, flags)
    with fails(errno.EOPNOTSUPP):
        os.truncate(path, 100)
    said = subprocess.run(["cat", path], capture_output=True, text=True, check=False)
    assert said.stderr.endswith("Operation not supported\n")
    path = path.rename(damaged.path / "dir" / "renamed")
    path.chmod(0o600)
    with fails(errno.EOPNOTSUPP):
        path.read_bytes()
    (damaged.path / "third").write_text("no reference any more")
    assert (damaged.path / "third").read_text() == "no reference any more"
    path.unlink()


def test_references_in_the_next_version(home: Path, tmp_path: Path) -> None:
    """Opening a reference of a scheme that cannot be read is EOPNOTSUPP, unless to truncate it to
    nothing."""
    (tmp_path / "base").mkdir()
    put(tmp_path / "base")
    add_reference(home)
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        (mount.path / "reference").rename(mount.path / "renamed")
        (mount.path / "second").unlink()
        os.truncate(mount.path / "third", 0)
        status = artfs("status", mount.path).stdout
        assert "R reference -> renamed" in status
        assert mount.umount().stdout == "data:v2\n"
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        assert sorted(os.listdir(mount.path)) == ["renamed", "third"]
        assert os.getxattr(mount.path / "renamed", "user.artfs.reference") == TARGET
        assert (mount.path / "renamed").stat().st_size == 12345
        assert (mount.path / "third").read_bytes() == b""


# Full disks


@pytest.fixture
def full(home: Path, tmp_path: Path) -> Iterator[tuple[Mount, int]]:
    """A draft that has filled its disk with file `filler`, and how much went into that."""
    small = tmp_path / "small"
    small.mkdir()
    options = ["-t", "tmpfs", "-o", "size=24m,mode=700", "artfs-test"]
    if subprocess.run(["mount", *options, small], capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here: only root may")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "file").write_text("base")
    put(tmp_path / "base")
    env = {"XDG_STATE_HOME": str(small)}
    try:
        with mounted("draft", "data", at=tmp_path / "mnt", env=env, expect_errors=True) as mount:
            taken = 0
            with (mount.path / "filler").open("wb", buffering=0) as file, fails(errno.ENOSPC):
                while taken < 24 * MIB:
                    taken += file.write(bytes([taken // 65536 % 256]) * 65536)
            yield mount, taken
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def write_fails(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.write_bytes(bytes(4 * MIB))
        return False
    return True


def test_deleting_on_a_full_disk(full: tuple[Mount, int]) -> None:
    """A write is ENOSPC while the disk that holds the draft still has room for what the draft has
    to note, so deleting files works on a full disk, and closing those that were written."""
    mount, taken = full
    assert taken > 8 * MIB
    with fails(errno.ENOSPC):
        (mount.path / "file").write_bytes(bytes(4 * MIB))
    (mount.path / "filler").unlink()
    # The kernel tells of the end of a file a moment after unlink has returned.
    wait_for(lambda: not write_fails(mount.path / "file"), what="room")
    assert mount.umount("--discard").stdout == "discarded\n"


def test_what_a_full_disk_holds(full: tuple[Mount, int], tmp_path: Path) -> None:
    """What was written before a full disk is kept, and can be committed when there is room."""
    mount, taken = full
    expected = b"".join(bytes([n % 256]) * 65536 for n in range(taken // 65536))
    is_kept = (mount.path / "filler").read_bytes() == expected
    assert is_kept  # pytest takes minutes to say how so many bytes differ
    os.truncate(mount.path / "filler", len(expected) - 8 * MIB)
    (mount.path / "more").write_bytes(expected[: 4 * MIB])
    assert mount.umount().stdout == "data:v1\n"
    (tmp_path / "base" / "filler").write_bytes(expected[: -8 * MIB])
    (tmp_path / "base" / "more").write_bytes(expected[: 4 * MIB])
    check_version("data:v1", tmp_path / "base")
    assert here("cat", "data:v1", "file") == "base"


def test_a_mapping_on_a_full_disk(full: tuple[Mount, int]) -> None:
    """What finds no room when it was stored through a mapping is ENOSPC at msync(2) or fsync(2)."""
    mount, _ = full
    os.truncate(mount.path / "file", 4 * MIB)  # all of it a hole
    with (mount.path / "file").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        syncs: list[Callable[[], object]] = [memory.flush, lambda: os.fsync(file.fileno())]
        for sync in syncs:
            memory[:] = bytes([7]) * len(memory)
            with fails(errno.ENOSPC):
                sync()
    assert mount.umount("--discard").stdout == "discarded\n"
