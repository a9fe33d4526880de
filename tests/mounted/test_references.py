"""References in mounts: of versions, of drafts, and in what is committed over them."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import mmap
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

import artfs as api
from artfs.api.filesystem import ArtfsFileSystem
from artfs.errors import SourceChanged
from tests.mounted.references import BIG, refer
from tests.support.failing import fails
from tests.support.gcsserver import gcs_server, program
from tests.support.mounts import artfs, is_mounted, mounted, wait_for
from tests.support.s3server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.webserver import WebServer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

pytestmark = pytest.mark.fuse


def logged(home: Path) -> str:
    return "".join(path.read_text() for path in (home / "state/artfs/log").glob("*.log"))


def test_reading(home: Path, tmp_path: Path, web: WebServer) -> None:
    big, small = web.write("big", BIG), web.write("small", b"hello", 1_600_000_000)
    refer(home, {"big": big, "small": small, "other": "tracker://run/7"})
    before = len(web.requests)
    with mounted("mount", "refs", at=tmp_path / "mnt") as mount:
        info = (mount.path / "small").stat()
        assert (info.st_size, info.st_mtime) == (5, 1_600_000_000)
        assert os.getxattr(mount.path / "small", "user.artfs.reference").decode() == small
        assert len(web.requests) == before  # nothing is read before somebody does
        assert (mount.path / "small").read_bytes() == b"hello"
        subprocess.run(["cmp", web.root / "big", mount.path / "big"], check=True)
        with open(mount.path / "big", "rb") as file:
            file.seek(3_000_000)
            assert file.read(10) == BIG[3_000_000:3_000_010]
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                assert mapped[4_000_000:4_000_100] == BIG[4_000_000:4_000_100]
        assert (mount.path / "other").stat().st_size == 0
        with fails(errno.EOPNOTSUPP):
            os.open(mount.path / "other", os.O_RDONLY)
        with fails(errno.EROFS):
            os.open(mount.path / "small", os.O_RDWR)
    # Five MiB in windows that grow, and not in the kernel's 128 KiB.
    assert len(web.requests) - before < 20


def test_a_random_read_fetches_a_part(home: Path, tmp_path: Path, web: WebServer) -> None:
    refer(home, {"big": web.write("big", BIG)})
    before = len(web.requests)
    with mounted("mount", "refs", at=tmp_path / "mnt") as mount:
        fd = os.open(mount.path / "big", os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(fd, 100, 2_000_000) == BIG[2_000_000:2_000_100]
        os.close(fd)
    assert len(web.requests) - before == 1


def test_a_changed_source(home: Path, tmp_path: Path, web: WebServer) -> None:
    uris = {name: web.write(name, b"as it was") for name in ("changed", "gone")}
    uris["empty"] = web.write("empty", b"")
    refer(home, uris)
    web.write("changed", b"as it is ", 1_700_000_001)
    web.write("empty", b"no more")
    (web.root / "gone").unlink()
    with mounted("mount", "refs", at=tmp_path / "mnt", expect_errors=True) as mount:
        for name in uris:
            with fails(errno.EIO):
                (mount.path / name).read_bytes()
        for name, uri in uris.items():
            assert f"refs:v0/{name}: {uri}: has changed since it was recorded" in logged(home)


def test_no_length(home: Path, tmp_path: Path, web: WebServer) -> None:
    """Of what was recorded without a checksum all is read that is there."""
    refer(home, {"u": web.write("u", b"first")}, checksum=False)
    with mounted("mount", "refs", at=tmp_path / "mnt") as mount:
        path = mount.path / "u"
        assert path.stat().st_size == 0
        assert subprocess.check_output(["cat", path]) == b"first"
        web.write("u", BIG)
        assert path.read_bytes() == BIG
        subprocess.run(["cp", path, tmp_path / "copy"], check=True)
        assert (tmp_path / "copy").read_bytes() == BIG


def test_local_files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "f").write_bytes(b"shared")
    (tmp_path / "closed").write_bytes(b"closed")
    refer(home, {"f": f"file://{tmp_path}/shared/f", "closed": f"file://{tmp_path}/closed"})
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", str(tmp_path / "shared"))
    with mounted("mount", "refs", at=tmp_path / "mnt") as mount:
        assert (mount.path / "f").read_bytes() == b"shared"
        with fails(errno.EACCES):
            (mount.path / "closed").read_bytes()


def test_local_files_that_are_references(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that leads to itself would be read for ever, and the mount be in use."""
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", str(tmp_path / "mnt"))
    (tmp_path / "f").write_text("stored")
    artfs("init")
    artfs("put", "refs", tmp_path / "f", "--type", "t")
    with mounted("mount", "--timeout", "1", at=tmp_path / "mnt") as mount:
        refer(home, {"f": (mount.path / "refs/latest/f").as_uri()})
        wait_for(lambda: os.readlink(mount.path / "refs/latest") == "v1")
        refer(home, {"f": (mount.path / "refs/v0/f").as_uri()})
        wait_for(lambda: (mount.path / "refs/v2").exists())
        assert (mount.path / "refs/v2/f").read_text() == "stored"
        with fails(errno.EACCES):
            (mount.path / "refs/v1/f").read_text()
        done = artfs("put", "more", (mount.path / "refs/v2/f").as_uri(), check=False)
        assert "is a reference in a mount of artfs" in done.stderr


def test_a_server_that_does_not_answer(home: Path, tmp_path: Path, web: WebServer) -> None:
    refer(home, {"f": web.write("f", b"at last"), "g": web.write("g", b"never")})
    with mounted("mount", "refs", "--timeout", "1", at=tmp_path / "mnt") as mount:
        web.stop()
        try:
            with fails(errno.EIO):
                (mount.path / "g").read_bytes()
            reader = subprocess.Popen(["cat", mount.path / "f"], stdout=subprocess.PIPE)
        finally:
            web.start()
        assert reader.communicate(timeout=20)[0] == b"at last"


def test_sources_that_hang(home: Path, tmp_path: Path) -> None:
    """Servers that take connections and say nothing hold up nobody who reads the store."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        port = silent.getsockname()[1]
        names = [f"r{n}" for n in range(20)]
        refer(home, {n: f"http://127.0.0.1:{port}/{n}" for n in names}, checksum=False)
        (tmp_path / "a.txt").write_text("stored")
        artfs("put", "refs", tmp_path / "a.txt", "--base", "refs")
        with mounted("mount", "refs", "--timeout", "3", at=tmp_path / "mnt") as mount:
            readers = [
                subprocess.Popen(["cat", mount.path / name], stderr=subprocess.DEVNULL)
                for name in names
            ]
            try:
                silent.accept()[0].close()  # they have begun
                assert (mount.path / "a.txt").read_text() == "stored"
                assert all(reader.poll() is None for reader in readers[8:])
            finally:
                silent.close()
                for reader in readers:
                    reader.kill()
                    reader.wait(20)


def test_drafts_of_what_has_no_length(home: Path, tmp_path: Path, web: WebServer) -> None:
    refer(home, {"u": web.write("u", b"first"), "v": web.write("v", b"other")}, checksum=False)
    with mounted("draft", "refs", at=tmp_path / "mnt") as mount:
        assert subprocess.check_output(["cat", mount.path / "u"]) == b"first"
        for flags in (os.O_WRONLY, os.O_RDWR):  # the bytes before what is written would be lost
            with fails(errno.EOPNOTSUPP):
                os.open(mount.path / "u", flags)
        (mount.path / "u").rename(mount.path / "w")
        assert subprocess.check_output(["cat", mount.path / "w"]) == b"first"
        (mount.path / "v").write_bytes(b"replaced")
        assert mount.umount().stdout == "refs:v1\n"
    rows = {row["path"]: row for row in json.loads(artfs("--json", "ls", "refs:v1").stdout)}
    assert {name: row["kind"] for name, row in rows.items()} == {"v": "file", "w": "reference"}


def test_a_commit_while_the_source_is_away(home: Path, tmp_path: Path, web: WebServer) -> None:
    """What was written to a reference is not lost; the commit can be made when it is back."""
    refer(home, {"f": web.write("f", b"one two three")})
    with mounted("draft", "refs", at=tmp_path / "mnt", expect_errors=True) as mount:
        with open(mount.path / "f", "r+b") as file:
            file.write(b"ONE")
        web.write("f", b"one two 33333", 1_700_000_002)
        refused = artfs("sync", mount.path, check=False)
        assert "has changed since it was recorded" in refused.stderr
        web.write("f", b"one two three")
        assert artfs("sync", mount.path).stdout == "refs:v1\n"
        assert (mount.path / "f").read_bytes() == b"ONE two three"
    assert not is_mounted(tmp_path / "mnt")
    wait_for(lambda: artfs("cat", "refs", "f").stdout == "ONE two three")


@pytest.fixture
def sources(
    home: Path, tmp_path: Path, web: WebServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sources]:
    """A source of each scheme; the version `refs:v0` refers to all of them."""
    storage = pytest.importorskip("google.cloud.storage")
    if program() is None:
        pytest.skip("fake-gcs-server is not installed")
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", str(tmp_path / "shared"))
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    with (
        gcs_server(tmp_path) as google,
        contextlib.closing(session.client("s3", endpoint_url=s3.endpoint)) as amazon,
    ):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google)
        with contextlib.closing(storage.Client(project="tests")) as client:
            found = Sources(tmp_path / "shared", web, amazon, client.create_bucket("refs"))
            found.write(b"as it was")
            artfs("init")
            artfs("put", "own", tmp_path / "shared")
            refer(home, {**found.uris, "own": "artfs://own:v0/file"})
            yield found


class Sources:
    """`uris` by name: one of each scheme, and `kept` in a bucket that keeps versions."""

    def __init__(self, shared: Path, web: WebServer, amazon: S3Client, google: Any) -> None:  # noqa: ANN401  # no types
        self._shared, self._web, self._amazon, self._google = shared, web, amazon, google
        self._bucket = f"refs-{os.urandom(6).hex()}"
        amazon.create_bucket(Bucket=self._bucket)
        amazon.create_bucket(Bucket=f"{self._bucket}-kept")
        amazon.put_bucket_versioning(
            Bucket=f"{self._bucket}-kept", VersioningConfiguration={"Status": "Enabled"}
        )
        self.uris = {
            "file": (shared / "file").as_uri(), "http": f"{web.url}/http",
            "s3": f"s3://{self._bucket}/s3", "kept": f"s3://{self._bucket}-kept/kept",
            "gs": "gs://refs/gs",
        }  # fmt: skip

    def write(self, data: bytes, when: int = 1_700_000_000) -> None:
        """Make it the content of all of them. nginx tells content apart by its time and size."""
        (self._shared / "file").write_bytes(data)
        self._web.write("http", data, when)
        self._amazon.put_object(Bucket=self._bucket, Key="s3", Body=data)
        self._amazon.put_object(Bucket=f"{self._bucket}-kept", Key="kept", Body=data)
        self._google.blob("gs").upload_from_string(data)


def test_every_scheme_by_every_way(sources: Sources, tmp_path: Path) -> None:
    """Mount, commands, API and fsspec read what was recorded; what has changed is an error."""
    ways: dict[str, Callable[[str], bytes]] = {
        "mount": lambda name: (tmp_path / "mnt" / name).read_bytes(),
        "open": lambda name: api.open("refs:v0", name).read(),
        "entry": lambda name: Path(refs.get_path(name).download(place)).read_bytes(),
        "fsspec": lambda name: fs.cat_file(f"refs:v0/{name}"),
    }
    names = [*sources.uris, "own"]
    place = str(tmp_path / "first")
    with mounted("mount", "refs", at=tmp_path / "mnt", expect_errors=True):
        refs, fs = api.Api().artifact("refs:v0"), ArtfsFileSystem(skip_instance_cache=True)
        for name, (way, read) in itertools.product(names, ways.items()):
            assert read(name) == b"as it was", (name, way)
        artfs("get", "refs", tmp_path / "all")
        refs.download(str(tmp_path / "downloaded"))
        for directory in ("all", "downloaded"):
            found = {path.name: path.read_bytes() for path in (tmp_path / directory).iterdir()}
            assert found == dict.fromkeys(names, b"as it was")
    place = str(tmp_path / "second")  # what is there already is not asked for
    sources.write(b"as it is!", 1_700_000_001)
    artfs("rm", "own:v0", "--force")
    refs, fs = api.Api().artifact("refs:v0"), ArtfsFileSystem(skip_instance_cache=True)
    with mounted("mount", "refs", at=tmp_path / "mnt", expect_errors=True):
        for name, (way, read) in itertools.product(names, ways.items()):
            if name == "kept":
                assert read(name) == b"as it was", way
                continue
            with pytest.raises((OSError, SourceChanged)) as raised:
                read(name)
            if way == "mount":
                assert isinstance(raised.value, OSError)
                assert raised.value.errno == errno.EIO, name
            else:
                assert "has changed since it was recorded" in str(raised.value), (name, way)
    for command in (["get", "refs", tmp_path / "more", "--path"], ["cat", "refs"]):
        for name in ("s3", "gs"):
            done = artfs(*command, name, check=False)
            assert (done.returncode, done.stdout) == (1, ""), (command, name)
    assert not list((tmp_path / "more").iterdir())
