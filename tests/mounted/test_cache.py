"""Mounts of a store in a bucket and the cache on the local disk: who asks the server for what."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
from pathlib import Path
from typing import Literal

import pytest

import artfs as api
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.mounts import artfs, kill, mounted, wait_for

pytestmark = pytest.mark.fuse

FILES = {f"dir{n % 3}/f{n:02}": random.Random(n).randbytes(20_000) for n in range(60)}
BIG = random.Random(100).randbytes(5 << 20)


@pytest.fixture
def stored(s3_home: str, s3_proxy: FaultProxy, tmp_path: Path) -> FaultProxy:
    """data:v0 has small files and `big`; whoever reads it from now on is counted."""
    write(tmp_path / "source", FILES | {"big": BIG})
    artfs("put", "data", tmp_path / "source")
    s3_proxy.reset()
    return s3_proxy


def write(base: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(data)


def read(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def of_packs(proxy: FaultProxy) -> list[str]:
    return [request.target for request in proxy.requests() if "/packs/" in request.target]


def test_what_was_read_is_not_asked_for_again(stored: FaultProxy, tmp_path: Path) -> None:
    """By the next mount, by commands, and by the Python API."""
    with mounted("mount", "data:v0", at=tmp_path / "mnt") as mount:
        assert read(mount.path) == FILES | {"big": BIG}
    assert len(of_packs(stored)) < 20
    stored.reset()
    with mounted("mount", "data:v0", at=tmp_path / "mnt") as mount:
        assert read(mount.path) == FILES | {"big": BIG}
    assert artfs("cat", "data", "dir1/f01").stdout.encode("utf-8", "surrogateescape")
    with api.open("data:v0", "big", "rb") as file:
        assert file.read() == BIG
    assert of_packs(stored) == []
    assert stored.counts().total() < 16


def test_of_the_next_version_only_what_differs_is_asked_for(
    stored: FaultProxy, tmp_path: Path
) -> None:
    with mounted("mount", "data:v0", at=tmp_path / "mnt") as mount:
        read(mount.path)
    write(tmp_path / "source", {"dir1/f01": b"changed" * 1000})
    artfs("put", "data", tmp_path / "source")
    stored.reset()
    with mounted("mount", "data:v1", at=tmp_path / "mnt") as mount:
        assert read(mount.path) == FILES | {"big": BIG, "dir1/f01": b"changed" * 1000}
    assert len(set(of_packs(stored))) == 2, "the packs that v1 has added"
    assert stored.received() < 50_000
    [store] = json.loads(artfs("--json", "cache", "info").stdout)["stores"]
    assert store["fetched"] > len(BIG)
    assert store["hits"] > 60


def test_mounts_go_on_with_a_damaged_cache(stored: FaultProxy, home: Path, tmp_path: Path) -> None:
    """Bits flipped while nobody looks, then while it is mounted; then all of it taken away."""
    artfs("warm", "data")

    def damage() -> None:
        for path in (home / "cache" / "artfs").glob("*/packs/*"):
            with open(path, "r+b") as file:
                file.seek(65536 + 30_000)
                file.write(b"\0" * 100_000)

    damage()
    with mounted("mount", "data:v0", at=tmp_path / "mnt") as mount:
        names = sorted(FILES)
        for name in names[:20]:
            assert (mount.path / name).read_bytes() == FILES[name]
        damage()
        for name in names[20:]:
            assert (mount.path / name).read_bytes() == FILES[name]
        artfs("cache", "clean")
        assert (mount.path / "big").read_bytes() == BIG


def test_a_mount_that_was_killed_leaves_a_cache_that_is_good(
    stored: FaultProxy, tmp_path: Path
) -> None:
    with mounted("mount", "data:v0", at=tmp_path / "mnt", expect_errors=True) as mount:
        (mount.path / "dir0" / "f00").read_bytes()
        killer = threading.Timer(0.02, kill, [mount.daemons])
        killer.start()
        with contextlib.suppress(OSError):
            (mount.path / "big").read_bytes()
        killer.join()
        mount.kill_daemon()
    with mounted("mount", "data:v0", at=tmp_path / "again") as mount:
        assert read(mount.path) == FILES | {"big": BIG}


def test_the_mount_answers_while_fetching_hangs(stored: FaultProxy, tmp_path: Path) -> None:
    """More readers hang than the daemon has threads and connections."""
    with mounted("mount", at=tmp_path / "mnt") as mount:
        root = mount.path / "data" / "v0"
        assert (root / "dir0" / "f00").read_bytes() == FILES["dir0/f00"]
        stored.fail(Fault("hang", holds="/packs/"))
        found: list[bytes] = []

        def hang(at: int) -> None:
            with open(root / "big", "rb", buffering=0) as file:
                found.append(os.pread(file.fileno(), 10, at))

        readers = [threading.Thread(target=hang, args=(at,)) for at in range(0, 3 << 20, 3 << 15)]
        for reader in readers:
            reader.start()
        assert (root / "dir0" / "f03").read_bytes() == FILES["dir0/f03"], "it came with f00"
        assert len(os.listdir(root / "dir1")) == 20
        assert os.stat(root / "big").st_size == len(BIG)
        assert os.readlink(mount.path / "data" / "latest") == "v0"
        assert not found
        stored.heal()
        for reader in readers:
            reader.join(60)
        assert sorted(found) == sorted(BIG[at : at + 10] for at in range(0, 3 << 20, 3 << 15))


@pytest.mark.parametrize("command", ["mount", "draft"])
def test_a_mount_that_is_gone_waits_for_no_fetch(
    stored: FaultProxy, tmp_path: Path, command: Literal["mount", "draft"]
) -> None:
    """A reader is killed while its fetch hangs. The daemon would have patience for a minute."""
    with mounted(command, "data", at=tmp_path / "mnt") as mount:
        assert "big" in os.listdir(mount.path)
        stored.reset()
        stored.fail(Fault("hang", holds="/packs/"))
        with subprocess.Popen(["cat", mount.path / "big"], stdout=subprocess.DEVNULL) as reader:
            wait_for(lambda: of_packs(stored), what="the request")
            reader.kill()
        mount.umount()
        wait_for(lambda: not mount.daemons, what="end of the daemon")
        stored.heal()


def test_a_mount_that_is_told_to_end_waits_for_no_fetch(stored: FaultProxy, tmp_path: Path) -> None:
    """Nor do those who wait for it."""
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        assert "big" in os.listdir(mount.path)
        stored.reset()
        stored.fail(Fault("hang", holds="/packs/"))
        with subprocess.Popen(["cat", mount.path / "big"], stderr=subprocess.PIPE) as reader:
            wait_for(lambda: of_packs(stored), what="the request")
            for daemon in mount.daemons:
                os.kill(daemon, signal.SIGTERM)
            wait_for(lambda: not mount.daemons, what="end of the daemon")
            _, said = reader.communicate(timeout=10)
        assert reader.returncode == 1, said
        stored.heal()


def test_a_first_byte_takes_few_requests(stored: FaultProxy, tmp_path: Path) -> None:
    """However many versions there are."""
    for n in range(5):
        write(tmp_path / "source", {"dir1/f01": b"%d" % n * 1000})
        artfs("put", "data", tmp_path / "source")
    artfs("cache", "clean")
    stored.reset()
    assert artfs("cat", "data", "dir1/f01").stdout == "4" * 1000
    assert stored.counts().total() <= 8
