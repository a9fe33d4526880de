"""A store that is damaged or gone: errors, never other bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.mounts import artfs, mounted

pytestmark = pytest.mark.fuse


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Path:
    """A store with `data:v0`: file `a` of noise, then file `b`."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(os.urandom(10_000))
    (source / "b").write_bytes(os.urandom(10_000))
    artfs("init")
    artfs("put", "data", source)
    return home / "store"


def pack_with(store: Path, data: bytes) -> Path:
    return next(path for path in (store / "packs").rglob("*/*") if data in path.read_bytes())


def read(path: Path) -> int | bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno or 0


def pread(fd: int, offset: int) -> int | bytes:
    try:
        return os.pread(fd, 4096, offset)
    except OSError as error:
        return error.errno or 0


def logs(home: Path) -> str:
    found = [path.read_text() for path in (home / "state" / "artfs" / "log").glob("*.log")]
    return "".join(found)


def test_a_flipped_bit_is_eio_and_the_log_says_where(
    home: Path, store: Path, tmp_path: Path
) -> None:
    data = (tmp_path / "source" / "a").read_bytes()
    pack = pack_with(store, data)
    raw = bytearray(pack.read_bytes())
    raw[raw.index(data) + 5000] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(raw)
    with mounted("mount", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        assert read(mount.path / "a") == errno.EIO
        assert read(mount.path / "b") == (tmp_path / "source" / "b").read_bytes()
        assert read(mount.path / "a") == errno.EIO
    log = logs(home)
    assert "data:v0/a: " in log
    assert f"packs/{pack.parent.name}/{pack.name}" in log


def test_of_a_file_that_is_read_ahead_only_the_damaged_part_is_eio(
    home: Path, store: Path, tmp_path: Path
) -> None:
    content = os.urandom(24 << 20)
    (tmp_path / "source" / "big").write_bytes(content)
    artfs("put", "data", tmp_path / "source")
    middle = content[16 << 20 : (16 << 20) + 100]
    pack = pack_with(store, middle)
    raw = bytearray(pack.read_bytes())
    raw[raw.index(middle)] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(raw)
    with mounted("mount", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        fd = os.open(mount.path / "big", os.O_RDONLY)
        lost = []
        for at in range(0, len(content), 4096):
            found = pread(fd, at)
            if found == errno.EIO:
                lost.append(at)
            else:
                assert found == content[at : at + 4096]
        os.close(fd)
    assert 16 << 20 in lost
    assert len(lost) * 4096 <= 512 << 10
    assert "data:v1/big: blob" in logs(home)


def test_a_truncated_pack_is_eio(home: Path, store: Path, tmp_path: Path) -> None:
    data = (tmp_path / "source" / "b").read_bytes()
    pack = pack_with(store, data)
    pack.chmod(0o644)
    os.truncate(pack, pack.read_bytes().index(data) + 100)
    with mounted("mount", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        assert read(mount.path / "a") == (tmp_path / "source" / "a").read_bytes()
        assert read(mount.path / "b") == errno.EIO
    assert "data:v0/b: " in logs(home)


def test_a_pack_that_is_gone_is_eio_and_not_enoent(home: Path, store: Path, tmp_path: Path) -> None:
    pack_with(store, (tmp_path / "source" / "b").read_bytes()).unlink()
    with mounted("mount", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        assert read(mount.path / "b") == errno.EIO
