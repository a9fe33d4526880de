"""Stores in S3 in trouble: servers that go and come back, refusals, lost objects, many writers."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from tests.support.crowd import ROOT, check, gather
from tests.support.faultproxy import Fault, FaultProxy, Request
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
    commands: tuple[list[str | Path], ...] = (
        ["mount", "data", tmp_path / "mnt"], ["draft", "data", tmp_path / "mnt"],
        ["put", "data", tmp_path], ["get", "data", tmp_path / "got"],
    )  # fmt: skip
    for command in commands:
        status, said = failed(*command)
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
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("RequestTimeTooSkewed", "clock is wrong"),
        ("SignatureDoesNotMatch", "the secret access key is wrong"),
        ("NoSuchBucket", "no such bucket"),
    ],
)
def test_a_mount_is_refused_at_once_and_recovers(
    store: str, s3_proxy: FaultProxy, tmp_path: Path, code: str, why: str
) -> None:
    """The server changes its mind while it runs: nothing has the minute of patience."""
    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with mounted("draft", "data", at=tmp_path / "mnt", env=fresh, expect_errors=True) as draft:
        (draft.path / "new").write_text("new\n")
        s3_proxy.reset()
        s3_proxy.fail(Fault("status", status=403, code=code))
        with pytest.raises(OSError, match="error") as caught:
            (draft.path / "big").read_bytes()
        assert caught.value.errno == errno.EIO
        for command in (["sync", draft.path], ["ls"]):
            status, said = failed(*command, env={"XDG_CACHE_HOME": str(tmp_path / "other")})
            assert (status, why in said) == (6, True), said
        assert s3_proxy.counts().total() < 16, "no request is made again"
        s3_proxy.heal()
        assert (draft.path / "big").read_bytes() == BIG
        assert artfs("sync", draft.path).stdout == "data:v1\n"


@pytest.mark.fuse
@pytest.mark.parametrize(
    "trouble",
    [
        Fault("cut body"),
        Fault("cut answer"),
        Fault("status", status=500, code="InternalError"),
        Fault("status", status=503, code="SlowDown"),
    ],
    ids=["cut body", "cut answer", "500", "SlowDown"],
)
def test_trouble_that_passes_is_not_noticed(
    store: str, s3_proxy: FaultProxy, tmp_path: Path, trouble: Fault
) -> None:
    """At mount, while reading, while committing, and by commands."""

    def fail(method: str, holds: str = "") -> None:
        assert not s3_proxy.pending(), "what was to happen before has happened"
        s3_proxy.fail(replace(trouble, method=method, holds=holds), times=1)

    write = "GET" if trouble.what == "cut body" else "PUT"  # their answers have no body
    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    fail("GET")
    with mounted("draft", "data", at=tmp_path / "mnt", env=fresh) as draft:
        fail("GET", "/packs/")
        assert (draft.path / "big").read_bytes() == BIG
        (draft.path / "new").write_text("new\n")
        fail(write, "/packs/" if write == "PUT" else "")
        assert artfs("sync", draft.path).stdout == "data:v1\n"
        (draft.path / "new").write_text("newer\n")
        fail(write, "/versions/")
        assert artfs("sync", draft.path).stdout == "data:v2\n"
    fail("GET")
    assert artfs("cat", "data:v2", "new", env=fresh).stdout == "newer\n"


class _SecondPack(Fault):
    """Meets what is sent in one piece: of the packs here, that is the last."""

    def meets(self, request: Request) -> bool:
        return super().meets(request) and "partNumber" not in request.target


@pytest.mark.fuse
def test_a_commit_that_failed_between_packs_goes_on_there(
    store: str, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    new = random.Random(4).randbytes(34 << 20)
    with mounted("draft", "data", at=tmp_path / "draft", expect_errors=True) as draft:
        (draft.path / "new").write_bytes(new)
        s3_proxy.fail(_SecondPack("refuse", method="PUT", holds="/packs/"), times=2)
        assert failed("sync", draft.path)[0] == 6
        assert not s3_proxy.pending()
        s3_proxy.reset()
        assert artfs("sync", draft.path).stdout == "data:v1\n"
        sent = [r for r in s3_proxy.requests() if r.method == "PUT"]
        assert sum(int(r.headers["content-length"]) for r in sent) < 8 << 20
        assert len(sent) < 6
        assert (draft.path / "new").read_bytes() == new


@pytest.mark.fuse
@pytest.mark.parametrize("is_there", [True, False], ids=["truncated", "missing"])
def test_damaged_objects(store: str, tmp_path: Path, is_there: bool) -> None:
    """What lies elsewhere can be read and committed; what lies there is an error that names it."""
    s3 = boto3.session.Session().client("s3")
    prefix = store.partition(BUCKET + "/")[2]
    packs = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/packs/")["Contents"]
    pack = max(packs, key=lambda found: found["Size"])["Key"]
    name = pack.rpartition("/")[2]
    with mounted("draft", "data", at=tmp_path / "mnt", expect_errors=True) as draft:
        if is_there:
            whole = s3.get_object(Bucket=BUCKET, Key=pack)["Body"].read()
            s3.put_object(Bucket=BUCKET, Key=pack, Body=whole[: len(whole) // 2])
        else:
            s3.delete_object(Bucket=BUCKET, Key=pack)
        fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        status, said = failed("get", "data", tmp_path / "got", env=fresh)
        assert status == 5
        assert name in said
        with pytest.raises(OSError, match="error") as caught:
            (draft.path / "big").read_bytes()
        assert caught.value.errno == errno.EIO
        [log] = (Path(os.environ["XDG_STATE_HOME"]) / "artfs" / "log").glob("*.log")
        assert any("ERROR" in said and " big: " in said and name in said
                   for said in log.read_text().splitlines())  # fmt: skip
        if is_there:
            with open(draft.path / "big", "rb") as file:
                assert os.pread(file.fileno(), 10, 0) == BIG[:10]
        (draft.path / "new").write_text("new\n")
        assert artfs("sync", draft.path).stdout == "data:v1\n"
    assert artfs("cat", "data:v1", "new").stdout == "new\n"


RCLONE = [
    "rclone", "--config", os.devnull, "--s3-provider", "Other", "--s3-env-auth",
    "--s3-force-path-style",
]  # fmt: skip


def with_boto(source: str, target: str, _: str) -> None:
    """Object by object."""
    s3 = boto3.session.Session().client("s3")
    if source.startswith("s3://"):
        prefix = source.partition(BUCKET + "/")[2] + "/"
        for found in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
            path = Path(target, found["Key"].removeprefix(prefix))
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(BUCKET, found["Key"], str(path))
    else:
        prefix = target.partition(BUCKET + "/")[2]
        for path in Path(source).rglob("*"):
            if path.is_file() and path.name != ".lock":
                s3.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(source)}")


def with_rclone(source: str, target: str, endpoint: str) -> None:
    names = [where.replace("s3://", ":s3:") for where in (source, target)]
    # It does not know what to do with the bundle that other programs may need.
    env = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    subprocess.run([*RCLONE, "--s3-endpoint", endpoint, "sync", *names], check=True, env=env)


def with_aws(source: str, target: str, endpoint: str) -> None:
    command = ["aws", "--endpoint-url", endpoint, "s3", "sync", "--only-show-errors"]
    # SeaweedFS lets the first upload with a checksum behind the body wait for a minute.
    env = {**os.environ, "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    subprocess.run([*command, source, target], check=True, env=env)


@pytest.mark.parametrize(
    ("tool", "copy"), [("", with_boto), ("rclone", with_rclone), ("aws", with_aws)]
)
def test_a_copied_store_is_the_same_store(
    store: str, s3: S3Server, tmp_path: Path, tool: str, copy: Callable[[str, str, str], None]
) -> None:
    """From the bucket to a directory, changed there, and to another place in the bucket."""
    if tool and not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    directory, bucket = ({"ARTFS_STORE": url} for url in (str(tmp_path / "copy"), f"{store}-back"))
    copy(store, directory["ARTFS_STORE"], s3.endpoint)
    assert artfs("verify", "data", env=directory).returncode == 0
    (tmp_path / "b").write_text("b\n")
    artfs("put", "data", "--base", "data", tmp_path / "b", env=directory)
    artfs("alias", "data:v1", "best", env=directory)
    copy(directory["ARTFS_STORE"], bucket["ARTFS_STORE"], s3.endpoint)
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


@pytest.mark.parametrize(("left", "status"), [("probe-0123", 0), ("somebody's", 1)])
def test_a_store_is_made_where_another_is_being_made_or_was_killed(
    s3_home: str, left: str, status: int
) -> None:
    """What tries the server is there for a moment; anything else is somebody's."""
    url = f"{s3_home}-place"
    s3 = boto3.session.Session().client("s3")
    s3.put_object(Bucket=BUCKET, Key=f"{url.partition(BUCKET + '/')[2]}/{left}", Body=b"1")
    made = artfs("--store", url, "init", check=False)
    assert made.returncode == status
    assert status == 0 or "is not empty, and no artfs store" in made.stderr


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
