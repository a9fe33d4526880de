"""References in mounts: of versions, of drafts, and in what is committed over them."""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.mounted.references import BIG, refer
from tests.support.failing import fails
from tests.support.mounts import artfs, is_mounted, mounted, wait_for
from tests.support.webserver import WebServer

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
