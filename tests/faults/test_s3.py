"""Stores in S3 in trouble: servers that go and come back, refusals, lost objects, many writers."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.support.crowd import ROOT, check, gather
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.mounts import artfs, mounted
from tests.support.s3server import BUCKET, S3Server

BIG = random.Random(2).randbytes(20 << 20)


@pytest.fixture
def store(s3_home: str, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store behind the proxy that holds data:v0; requests are made twice at most."""
    monkeypatch.setenv("ARTFS_S3_ATTEMPTS", "2")
    base = Path(os.environ["HOME"]) / "base"
    base.mkdir()
    (base / "a").write_text("a\n")
    (base / "big").write_bytes(BIG)
    artfs("put", "data", base)
    s3_proxy.reset()
    return s3_home


def failed(*args: str | Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = artfs(*args, check=False, env=env)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.fuse
def test_server_down_at_mount_and_while_reading(
    store: str, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "mnt").mkdir()
    s3_proxy.down()
    status, said = failed("mount", "data", tmp_path / "mnt")
    assert status == 6
    assert "could not connect" in said.lower()
    s3_proxy.up()
    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with mounted(
        "mount", "--timeout", "1", "data", at=tmp_path / "mnt", env=fresh, expect_errors=True
    ) as mount:
        assert (mount.path / "a").read_text() == "a\n"
        s3_proxy.down()
        assert sorted(os.listdir(mount.path)) == ["a", "big"]
        with (
            open(mount.path / "big", "rb") as file,
            pytest.raises(OSError, match="error") as caught,
        ):
            os.pread(file.fileno(), 10, 10 << 20)
        assert caught.value.errno == errno.EIO
        s3_proxy.up()
        assert (mount.path / "big").read_bytes() == BIG


@pytest.mark.fuse
def test_commit_that_failed_half_way_is_finished_by_sync(
    store: str, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    new = random.Random(3).randbytes(20 << 20)
    with mounted("draft", "data", at=tmp_path / "draft", expect_errors=True) as draft:
        (draft.path / "new").write_bytes(new)
        s3_proxy.fail(Fault("refuse", method="PUT", holds="/versions/"), times=2)
        status, _ = failed("sync", draft.path)
        assert status == 6
        s3_proxy.reset()
        assert artfs("sync", draft.path).stdout == "data:v1\n"
        sent = [r for r in s3_proxy.requests() if r.method == "PUT"]
        assert sum(int(r.headers["content-length"]) for r in sent) < 1 << 20
        (draft.path / "new").write_bytes(b"less")
        s3_proxy.down()
        status, _ = failed("sync", draft.path)
        assert status == 6
        s3_proxy.up()
        assert draft.umount().stdout == "data:v2\n"
    assert artfs("cat", "data:v2", "new").stdout == "less"


@pytest.mark.fuse
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret access key is wrong"),
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "does not know this access key"),
        ({"ARTFS_STORE": "s3://no-such-bucket/x"}, "no such bucket"),
    ],
    ids=["secret", "key", "bucket"],
)
def test_refusals_end_at_once(
    store: str, s3_proxy: FaultProxy, tmp_path: Path, settings: dict[str, str], why: str
) -> None:
    (tmp_path / "mnt").mkdir()
    for command in (["ls"], ["put", "data", "base"], ["mount", "data", str(tmp_path / "mnt")]):
        s3_proxy.reset()
        status, said = failed(*command, env=settings)
        assert (status, why in said) == (6, True), said
        assert sum(s3_proxy.counts().values()) == 1


@pytest.mark.fuse
def test_a_mount_is_refused_at_once_and_recovers(
    store: str, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    """The clock is set back while it runs: reads fail without the minute of patience."""
    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with mounted("mount", "data", at=tmp_path / "mnt", env=fresh, expect_errors=True) as mount:
        s3_proxy.fail(Fault("status", status=403, code="RequestTimeTooSkewed"))
        with pytest.raises(OSError, match="error") as caught:
            (mount.path / "big").read_bytes()
        assert caught.value.errno == errno.EIO
        status, said = failed("ls", env={"XDG_CACHE_HOME": str(tmp_path / "other")})
        assert (status, "clock is wrong" in said) == (6, True)
        s3_proxy.heal()
        assert (mount.path / "big").read_bytes() == BIG


def test_missing_and_truncated_objects(store: str, tmp_path: Path) -> None:
    s3 = boto3.session.Session().client("s3")
    prefix = store.partition(BUCKET + "/")[2]
    packs = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/packs/")["Contents"]
    pack = max(packs, key=lambda found: found["Size"])["Key"]
    whole = s3.get_object(Bucket=BUCKET, Key=pack)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=pack, Body=whole[: len(whole) // 2])
    status, said = failed(
        "get", "data", tmp_path / "1", env={"XDG_CACHE_HOME": str(tmp_path / "c1")}
    )
    assert status == 5
    assert pack.rpartition("/")[2] in said
    s3.delete_object(Bucket=BUCKET, Key=pack)
    status, said = failed(
        "get", "data", tmp_path / "2", env={"XDG_CACHE_HOME": str(tmp_path / "c2")}
    )
    assert status in (3, 5)
    assert pack.rpartition("/")[2] in said


def test_a_copied_store_is_the_same_store(store: str, tmp_path: Path) -> None:
    """Object by object, as `aws s3 sync` and `rclone copy` do it, from the bucket and back."""
    s3 = boto3.session.Session().client("s3")
    prefix = store.partition(BUCKET + "/")[2] + "/"
    for found in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        path = tmp_path / "copy" / found["Key"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(BUCKET, found["Key"], str(path))
    directory = {"ARTFS_STORE": str(tmp_path / "copy")}
    assert artfs("verify", "data", env=directory).returncode == 0
    (tmp_path / "b").write_text("b\n")
    artfs("put", "data", "--base", "data", tmp_path / "b", env=directory)
    artfs("alias", "data:v1", "best", env=directory)
    for path in (tmp_path / "copy").rglob("*"):
        if path.is_file() and path.name != ".lock":
            key = f"{prefix}back/{path.relative_to(tmp_path / 'copy')}"
            s3.upload_file(str(path), BUCKET, key)
    bucket = {"ARTFS_STORE": f"{store}/back"}
    assert artfs("verify", "data:best", env=bucket).returncode == 0
    assert artfs("cat", "data:best", "b", env=bucket).stdout == "b\n"
    artfs("alias", "data:v0", "best", env=bucket)
    assert artfs("put", "data", "--base", "data", tmp_path / "b", env=bucket).stdout == (
        "data:v1 (unchanged)\n"
    )
    ids = {
        artfs("--json", "init", env=env).stdout.partition('"id"')[2] for env in (bucket, directory)
    }
    assert len(ids) == 1


@pytest.mark.slow
def test_many_writers_of_one_artifact(s3_home: str) -> None:
    """scripts/crowd does it with 16 writers."""
    gather(writers=4, commits=4, kills=3)
    check(writers=4, commits=4)


STEPS = """
import sys
from artfs import settings
from artfs.errors import Conflict
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
found = settings.load()
key = ArtifactKey("default", "default", "data")
won = []
with Repository.open(found.store, found.cache, options=found.options) as repository:
    catalog = repository.catalog
    while (at := catalog.aliases(key)["tip"]) < 5:
        try:
            catalog.set_alias(key, "tip", at + 1, expect=at)
        except Conflict:
            continue
        won.append(at + 1)
print(*won)
"""


def test_an_alias_is_moved_by_compare_and_set(s3_home: str, s3: S3Server, tmp_path: Path) -> None:
    """Of many processes that move it from vN to vN+1, one succeeds at each N."""
    for number in range(6):
        (tmp_path / "n").write_text(str(number))
        artfs("put", "data", tmp_path / "n")
    artfs("alias", "data:v0", "tip")
    movers = [
        subprocess.Popen(
            [sys.executable, "-c", STEPS], stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]  # fmt: skip
    moves = [mover.communicate(timeout=60)[0].split() for mover in movers]
    assert [mover.returncode for mover in movers] == [0] * 4
    assert sorted(int(move) for each in moves for move in each) == list(range(1, 6))
