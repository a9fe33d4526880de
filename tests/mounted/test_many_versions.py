"""An artifact of 5,000 versions in S3 costs the requests of one that has ten."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from artfs.format import keys, record
from artfs.format.record import FloorRecord, VersionRecord
from artfs.repo.catalog import Catalog
from artfs.repo.newest import STEP
from artfs.store.s3.store import S3Store
from artfs.types import ArtifactKey, Ref
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.mounts import artfs, mounted, wait_for
from tests.support.s3server import BUCKET, S3Server

COUNT = 5_000
KEY = ArtifactKey("default", "default", "data")
FLOOR = keys.floor(KEY)


def fill(server: S3Server, store: S3Store, numbers: Sequence[int]) -> None:
    """Put the records of versions that are like v0."""
    first = record.decode(store.get(keys.version(KEY, 0)), VersionRecord, "")
    prefix = store.url.removeprefix(f"s3://{BUCKET}/")
    server.fill([
        (f"{prefix}/{keys.version(KEY, n)}",
         record.encode(replace(first, version=n, commit=secrets.token_hex(16))))
        for n in numbers
    ])  # fmt: skip


@pytest.fixture
def store(s3_home: str, s3_proxy: FaultProxy, tmp_path: Path) -> Iterator[S3Store]:
    """data:v0, by a store whose requests are counted."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_text("0")
    artfs("put", "data", tmp_path / "source")
    opened = S3Store(s3_home)
    yield opened
    opened.close()


@pytest.mark.fuse
@pytest.mark.parametrize("count", [10, COUNT])
def test_what_the_newest_of_many_costs(
    count: int, store: S3Store, s3: S3Server, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    """Both counts have the same bounds."""
    fill(s3, store, range(1, count - 1))
    put(tmp_path, "the last", count - 1)
    s3_proxy.reset()
    for command in ("mount", "draft"):
        with mounted(command, "data", at=tmp_path / command) as mount:
            assert cost(s3_proxy) <= 5
            assert (mount.path / "f").read_bytes() == b"the last"
            s3_proxy.reset()
    assert artfs("cat", "data", "f").stdout == "the last"
    assert cost(s3_proxy) <= 5
    assert artfs("ls", "data:latest").stdout == "f\n"
    assert cost(s3_proxy) <= 5
    assert artfs("ls", "data").stdout.splitlines()[-1] == f"v{count - 1}\tlatest"
    assert cost(s3_proxy) <= 5
    assert artfs("ls").stdout == f"data\tdataset\tv{count - 1}\n"
    assert cost(s3_proxy) <= 8
    put(tmp_path, "one more", count)
    assert cost(s3_proxy) <= 17
    Catalog(store).mark_deleted(KEY, count)
    s3_proxy.reset()
    assert artfs("cat", "data", "f").stdout == "the last"
    assert cost(s3_proxy) <= 7


def put(tmp_path: Path, text: str, number: int, said: str = "") -> None:
    (tmp_path / "source" / "f").write_text(text)
    assert artfs("put", "data", tmp_path / "source").stdout == f"data:v{number}{said}\n"


def cost(proxy: FaultProxy) -> int:
    """Requests so far, from which those for packs are left out; counts anew."""
    asked = [request.target for request in proxy.requests()]
    proxy.reset()
    return sum("/packs/" not in target for target in asked)


def floor(store: S3Store) -> int:
    return record.decode(store.get(FLOOR), FloorRecord, FLOOR).version


def newest_costs(store: S3Store, proxy: FaultProxy) -> tuple[int, int]:
    """The newest version, and how many requests it took to find and read its record."""
    proxy.reset()
    found = Catalog(store).resolve(Ref(KEY, "latest")).version
    return found, cost(proxy)


def test_floors_that_are_missing_or_wrong(
    store: S3Store, s3: S3Server, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    """None leads to a wrong version, and the next commit sets it right."""
    fill(s3, store, range(1, 2_300))
    newest, before = newest_costs(store, s3_proxy)
    assert newest == 2_299
    assert before > 15
    put(tmp_path, "2300", 2_300)
    assert floor(store) == 2_300
    assert newest_costs(store, s3_proxy) == (2_300, 4)
    for wrong in (b'{"version": 5000}', b'{"version": 10}', b"\xff{", b'{"version": "2300"}'):
        s3.fill([(f"{store.url.removeprefix(f's3://{BUCKET}/')}/{FLOOR}", wrong)])
        number, requests = newest_costs(store, s3_proxy)
        assert requests <= before + 1
        put(tmp_path, f"{wrong!r}", number + 1)
        assert floor(store) == 2_300
        assert newest_costs(store, s3_proxy) == (number + 1, 4)


def test_a_writer_is_killed_before_it_raises_the_floor(
    store: S3Store, s3: S3Server, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    """Its version is there, and the next one is found as cheaply."""
    fill(s3, store, range(1, STEP))
    (tmp_path / "source" / "f").write_text("killed")
    s3_proxy.fail(Fault("hang", "PUT", FLOOR), times=1)
    command = [sys.executable, "-m", "artfs", "put", "data", str(tmp_path / "source")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        wait_for(lambda: not s3_proxy.pending(), what="the floor on its way")
        writer.kill()
        assert writer.communicate()[0] == b""
    assert newest_costs(store, s3_proxy) == (STEP, 4)
    put(tmp_path, "killed", STEP, " (unchanged)")
    assert FLOOR not in {info.key for info in store.list(keys.PROJECTS)}
    put(tmp_path, "another", STEP + 1)
    assert floor(store) == STEP
    s3_proxy.heal()
