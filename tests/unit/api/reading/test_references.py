"""References by way of fsspec and artfs.open."""

from __future__ import annotations

import errno
from pathlib import Path

import fsspec
import pytest

import artfs
from artfs.api.filesystem import ArtfsFileSystem
from tests.mounted.references import BIG, refer
from tests.support.failing import fails
from tests.support.webserver import WebServer


def test_reading(home: Path, fs: ArtfsFileSystem, web: WebServer) -> None:
    refer(home, {"big": web.write("big", BIG), "csv": web.write("csv", b"a,b\n1,2\n")})
    assert fs.info("refs:v0/big")["size"] == len(BIG)
    assert fs.cat_file("refs:v0/big", 1_000_000, 1_000_010) == BIG[1_000_000:1_000_010]
    assert fs.cat_file("refs:v0/big", -5) == BIG[-5:]
    assert fs.cat_file("refs:v0/big") == BIG
    with fs.open("refs:v0/big") as file:
        file.seek(-100, 2)
        assert file.read() == BIG[-100:]
        file.seek(3_000_000)
        assert file.read(2_000_000) == BIG[3_000_000:5_000_000]
    with fsspec.open("artfs://refs:v0/csv", "rt") as file:
        assert file.read() == "a,b\n1,2\n"
    pandas = pytest.importorskip("pandas")
    assert pandas.read_csv("artfs://refs:v0/csv")["b"].tolist() == [2]


def test_a_changed_source(home: Path, fs: ArtfsFileSystem, web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "closed").write_bytes(b"closed")
    closed = (tmp_path / "closed").as_uri()
    refer(home, {"f": web.write("f", b"old"), "closed": closed, "other": "tracker://run/7"})
    web.write("f", b"new", 1_700_000_001)
    for read in (fs.cat_file, lambda path: artfs.open(*path.split("/")).read()):
        with fails(errno.EIO):
            read("refs:v0/f")
        with fails(errno.EACCES):
            read("refs:v0/closed")
        with fails(errno.EOPNOTSUPP):
            read("refs:v0/other")


def test_what_was_empty(home: Path, fs: ArtfsFileSystem, web: WebServer) -> None:
    """Nothing of it is read, so it is asked for when it is opened."""
    refer(home, {"empty": web.write("empty", b"")})
    for opened in (lambda: artfs.open("refs:v0", "empty"), lambda: fs.open("refs:v0/empty")):
        with opened() as file:
            assert file.read(10) == b""
    web.write("empty", b"no more", 1_700_000_001)
    for opened in (lambda: artfs.open("refs:v0", "empty"), lambda: fs.open("refs:v0/empty")):
        with fails(errno.EIO):
            opened().read(10)


def test_no_length(home: Path, fs: ArtfsFileSystem, web: WebServer) -> None:
    refer(home, {"u": web.write("u", BIG)}, checksum=False)
    assert fs.cat_file("refs:v0/u", 5, 9) == BIG[5:9]
    assert fs.cat_file("refs:v0/u") == BIG
    with artfs.open("refs:v0", "u") as file:
        assert (file.size, file.read()) == (len(BIG), BIG)
