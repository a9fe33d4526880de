"""`artfs://` as a filesystem: what fsspec's own functions find and read, and how they fail."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import fsspec
import pytest

import artfs
from artfs.api.filesystem import ArtfsFileSystem, Info
from artfs.types import ArtifactKey
from tests.unit.api.reading.conftest import Put
from tests.unit.repo.trees import KEY, Tree, noise

TREE: Tree = {
    b"a.txt": b"alpha",
    b"big": noise(1 << 20),
    b"dir": {b"b.txt": b"beta", b"deep": {b"c.txt": b"gamma"}, b"empty": {}},
    b"link": "dir/deep/../b.txt",
    b"links": {
        b"dir": "../dir", b"dangling": "nowhere", b"loop": "loop", b"absolute": "/through",
        b"out": "../../v1/a.txt", b"through": "dir/deep/c.txt", b"file": "../a.txt/x",
    },
    b"odd \xff[1]#?%41": b"odd",
    b"run": (b"#!/bin/sh\n", 0o755),
    b"void": b"",
}  # fmt: skip


def names(found: list[Info] | list[str]) -> dict[str, object]:
    return {str(info["name"]): info["type"] for info in found if isinstance(info, dict)}


# What is there


def test_listing(put: Put, fs: ArtfsFileSystem) -> None:
    put(TREE)
    assert names(fs.ls("artfs://animals:v0/")) == {
        "animals:v0/a.txt": "file",
        "animals:v0/big": "file",
        "animals:v0/dir": "directory",
        "animals:v0/link": "file",
        "animals:v0/links": "directory",
        "animals:v0/odd \udcff[1]#?%41": "file",
        "animals:v0/run": "file",
        "animals:v0/void": "file",
    }
    assert fs.ls("animals:v0/dir", detail=False) == [
        "animals:v0/dir/b.txt",
        "animals:v0/dir/deep",
        "animals:v0/dir/empty",
    ]
    assert fs.ls("animals:v0/dir/empty") == []
    assert fs.ls("animals:v0//dir/./b.txt") == [fs.info("animals:v0/dir/b.txt")]


def test_info(put: Put, fs: ArtfsFileSystem) -> None:
    put(TREE)
    info = fs.info("artfs://animals:v0/run")
    assert info == fs.ls("animals:v0")[6]
    assert (info["size"], info["type"], info["mode"], info["islink"]) == (10, "file", 0o755, False)
    assert fs.size("animals:v0/big") == 1 << 20
    assert fs.modified("animals:v0/run") == datetime.fromtimestamp(7e-9, UTC)
    assert fs.info("animals:v0")["type"] == fs.info("animals:v0/dir")["type"] == "directory"
    assert fs.ukey("animals:v0/link") == fs.ukey("animals:v0/dir/b.txt")
    assert fs.ukey("animals:v0/link") != fs.ukey("animals:v0/a.txt")


def test_links(put: Put, fs: ArtfsFileSystem) -> None:
    put(TREE)
    put({b"a.txt": b"of another version"})
    link = fs.info("animals:v0/link")
    assert (link["type"], link["islink"], link["destination"]) == (
        "file", True, "dir/deep/../b.txt"
    )  # fmt: skip
    assert fs.cat("animals:v0/link") == b"beta"
    assert fs.cat("animals:v0/links/through") == b"gamma"
    assert fs.cat("animals:v0/links/dir/deep/c.txt") == b"gamma"
    assert fs.isdir("animals:v0/links/dir")
    assert fs.ls("animals:v0/links/dir", detail=False)[0] == "animals:v0/links/dir/b.txt"
    listed = names(fs.ls("animals:v0/links"))
    assert listed.pop("animals:v0/links/through") == "file"
    assert set(listed.values()) == {"other"}
    for name, kind in (
        ("dangling", errno.ENOENT), ("absolute", errno.ENOENT), ("out", errno.ENOENT),
        ("loop", errno.ELOOP), ("file", errno.ENOTDIR),
    ):  # fmt: skip
        path = f"animals:v0/links/{name}"
        with pytest.raises(OSError, match=name) as caught:
            fs.open(path)
        assert (caught.value.errno, caught.value.filename) == (kind, path)
        assert not fs.exists(path)
        assert fs.lexists(path)
    assert not fs.lexists("animals:v0/links/none")


def test_walk_find_glob(put: Put, fs: ArtfsFileSystem) -> None:
    put(TREE)
    below = [("animals:v0/dir", ["deep", "empty"], ["b.txt"]),
             ("animals:v0/dir/deep", [], ["c.txt"]), ("animals:v0/dir/empty", [], [])]  # fmt: skip
    assert list(fs.walk("animals:v0/dir")) == below
    assert sorted(fs.walk("animals:v0/dir", topdown=False), key=str) == below
    assert fs.find("animals:v0/dir") == ["animals:v0/dir/b.txt", "animals:v0/dir/deep/c.txt"]
    assert "animals:v0/links/dir" in fs.find("animals:v0", withdirs=True)
    assert not [path for path in fs.find("animals:v0") if path.startswith("animals:v0/links/dir/")]
    assert fs.glob("artfs://animals:latest/**/*.txt") == [
        f"animals:latest/{path}" for path in ("a.txt", "dir/b.txt", "dir/deep/c.txt")
    ]
    assert fs.glob("animals:v0/d*/?.txt") == ["animals:v0/dir/b.txt"]
    assert fs.du("animals:v0/dir") == 9
    assert list(fs.walk("animals:v0/nowhere")) == []


def test_get(put: Put, fs: ArtfsFileSystem, tmp_path: Path) -> None:
    put({b"dir": TREE[b"dir"], b"link": "dir/b.txt", b"odd \xff": b"odd"})
    fs.get("animals:v0", str(tmp_path / "got"), recursive=True)
    found = {p.relative_to(tmp_path / "got"): p for p in (tmp_path / "got").rglob("*")}
    assert {str(name): path.read_bytes() for name, path in found.items() if path.is_file()} == {
        "dir/b.txt": b"beta", "dir/deep/c.txt": b"gamma", "link": b"beta", "odd \udcff": b"odd"
    }  # fmt: skip
    assert found[Path("dir/empty")].is_dir()


def test_a_project_is_a_directory_of_versions(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"f": b"0"})
    put({b"f": b"1"}, alias="best")
    put({b"f": b"other"}, ArtifactKey("default", "other", "plants"))
    assert names(fs.ls("artfs://")) == {
        "animals:v0": "directory", "animals:v1": "directory",
        "animals:best": "other", "animals:latest": "other",
    }  # fmt: skip
    assert fs.glob("animals:v*/f") == ["animals:v0/f", "animals:v1/f"]
    assert fs.find("") == ["animals:best", "animals:latest", "animals:v0/f", "animals:v1/f"]
    assert fs.find("default/other/") == [
        "default/other/plants:latest",
        "default/other/plants:v0/f",
    ]
    assert fs.cat("other/plants:latest/f") == b"other"
    assert not fs.exists("nosuch")
    assert ArtfsFileSystem(project="other").cat("plants:v0/f") == b"other"


def test_an_artifact_whose_versions_are_all_deleted_is_not_listed(
    put: Put, fs: ArtfsFileSystem
) -> None:
    put({b"f": b"0"})
    put({b"f": b"1"}, ArtifactKey("default", "default", "plants"))
    fs._versions.repository.catalog.mark_deleted(ArtifactKey("default", "default", "plants"), 0)
    assert set(fs.ls("", detail=False)) == {"animals:v0", "animals:latest"}


def test_refs(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"a:b": b"colon"})
    put({b"f": b"1"}, alias="best")
    digest = fs.ukey("animals:v0")
    for path in ("animals:v0/a:b", f"animals@{digest[:12]}/a:b", "default/default/animals:v0/a:b"):
        assert fs.cat(f"artfs://{path}") == b"colon"
    assert fs.cat("animals:best/f") == b"1"


def test_without_a_selector_a_path_names_no_version(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"d": {b"e": {b"f": b"x"}}})
    for path in ("animals", "animals/d", "animals/d/e/f"):
        with pytest.raises(FileNotFoundError, match="NAME:latest"):
            fs.open(path)


# Reading


def test_reading(put: Put, fs: ArtfsFileSystem) -> None:
    put(TREE)
    big, path = TREE[b"big"], "animals:v0/big"
    assert isinstance(big, bytes)
    assert fs.cat(path) == big
    assert fs.cat_file(path, 100_000, 300_001) == big[100_000:300_001]
    assert fs.cat_file(path, -7) == big[-7:]
    assert fs.cat_file(path, 5, -5) == big[5:-5]
    assert fs.cat_file(path, 1 << 21) == b""
    assert fs.cat_file("animals:v0/void") == b""
    ranges = fs.cat_ranges([path, path, "animals:v0/none"], [0, 1000, 0], [3, 2000, 1])
    assert ranges[:2] == [big[:3], big[1000:2000]]
    assert isinstance(ranges[2], FileNotFoundError)
    assert fs.cat(["animals:v0/a.txt", "animals:v0/link"]) == {
        "animals:v0/a.txt": b"alpha", "animals:v0/link": b"beta"
    }  # fmt: skip
    assert fs.head(path, 10) == big[:10]
    assert fs.read_text("animals:v0/a.txt") == "alpha"
    assert fs.cat_file("animals:v0/odd \udcff[1]#?%41") == b"odd"


def test_what_is_cached_by_fsspec(put: Put, fs: ArtfsFileSystem, tmp_path: Path) -> None:
    """A file is fetched again when its content is another one."""
    put({b"f": b"old"}, alias="best")
    for content in (b"old", b"new"):
        url = "filecache::artfs://animals:best/f"
        options = {"cache_storage": str(tmp_path / "cache"), "check_files": True}
        with fsspec.open(url, filecache=options) as file:
            assert file.read() == content
        put({b"f": b"new"}, alias="best")
        ArtfsFileSystem.clear_instance_cache()
        fs.invalidate_cache()


# fsspec leaves the file of the cache open.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cache_of_blocks(put: Put, fs: ArtfsFileSystem, tmp_path: Path) -> None:
    put({b"f": b"0123456789" * 1000})
    url = "blockcache::artfs://animals:latest/f"
    for _ in range(2):
        with fsspec.open(url, blockcache={"cache_storage": str(tmp_path / "blocks")}) as file:
            assert file.seek(9_995) == 9_995
            assert file.read() == b"56789"
    assert any(path.read_bytes().endswith(b"56789") for path in (tmp_path / "blocks").iterdir())


def test_an_open_file_goes_to_another_process(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"f": b"0123456789"})
    with fs.open("animals:latest/f") as file:
        assert file.read(3) == b"012"
        put({b"f": b"another"})
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.read() == b"3456789"
    with artfs.open("animals:v0", "f") as file, pytest.raises(TypeError, match="by way of fsspec"):
        pickle.dumps(file)


# One version


def test_latest_is_looked_up_once(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"f": b"0"})
    assert fs.cat("animals:latest/f") == b"0"
    put({b"f": b"1", b"new": b""})
    assert fs.cat("default/animals:latest/f") == b"0"
    assert fs.find("animals:latest") == ["animals:latest/f"]
    assert ArtfsFileSystem(skip_instance_cache=True).cat("animals:latest/f") == b"1"
    fs.invalidate_cache()
    assert fs.cat("animals:latest/f") == b"1"


def test_threads_see_one_version(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"f": b"0"})
    count = 8
    barrier = Barrier(count)

    def read(number: int) -> bytes:
        barrier.wait()
        if number == 0:
            put({b"f": b"1"})
        found: bytes = fs.cat("animals:latest/f")
        return found

    with ThreadPoolExecutor(count) as pool:
        assert len(set(pool.map(read, range(count)))) == 1


_READ = """
import pickle, sys
fs, file = pickle.load(sys.stdin.buffer)
with file as open_file:
    sys.stdout.buffer.write(fs.cat("animals:latest/f") + open_file.read())
"""


def test_another_process_sees_the_same_version(put: Put, fs: ArtfsFileSystem) -> None:
    """Of the same store, whatever its own environment says."""
    put({b"f": b"0"})
    fs.info("animals:latest/f")
    put({b"f": b"1"})
    file = fsspec.core.OpenFile(fs, "animals:latest/f")
    env = {**os.environ, "ARTFS_STORE": "/nonexistent", "ARTFS_PROJECT": "other"}
    done = subprocess.run(
        [sys.executable, "-c", _READ], input=pickle.dumps((fs, file)), env=env,
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"00"
    assert pickle.loads(pickle.dumps(fs)) == fs
    assert ArtfsFileSystem(skip_instance_cache=True) != fs


_FORK = """
import fsspec, os, signal, sys
fs = fsspec.filesystem("artfs")
fs.cat("animals:latest/f")
fs._versions.repository.blobs._lock.acquire()  # as another thread may at this moment
child = os.fork()
if not child:
    signal.alarm(20)
    os._exit(0 if fs.cat("animals:latest/f") == b"0" else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_waits_for_no_lock_of_its_parent(put: Put) -> None:
    put({b"f": b"0"})
    subprocess.run([sys.executable, "-W", "ignore", "-c", _FORK], check=True)


# Failing


def test_errors(put: Put, fs: ArtfsFileSystem) -> None:
    put(TREE)
    cases: list[tuple[Callable[[str], object], str, type[OSError]]] = [
        (fs.open, "animals:v0/none", FileNotFoundError),
        (fs.open, "animals:v7/a.txt", FileNotFoundError),
        (fs.open, "animals:best/a.txt", FileNotFoundError),
        (fs.open, "plants:v0/a.txt", FileNotFoundError),
        (fs.open, "ani mals:v0/a.txt", FileNotFoundError),
        (fs.open, "animals:v0/a.txt/x", NotADirectoryError),
        (fs.open, "animals:v0/dir", IsADirectoryError),
        (fs.open, "animals:v0", IsADirectoryError),
        (fs.open, "", IsADirectoryError),
        (fs.cat_file, "animals:v0/dir", IsADirectoryError),
        (fs.info, "animals:v0/../x", FileNotFoundError),
        (fs.ls, "animals:v0/none", FileNotFoundError),
        (fs.ls, "animals:v0/a.txt/x", NotADirectoryError),
    ]
    for call, path, kind in cases:
        with pytest.raises(kind) as caught:
            call(f"artfs://{path}")
        assert type(caught.value) is kind
        assert caught.value.filename == path
        if path:
            assert fs.exists(path) is (kind is IsADirectoryError)
    assert not fs.isdir("animals:v0/none")
    assert not fs.isfile("animals:v0/dir")


def test_nothing_can_be_written(put: Put, fs: ArtfsFileSystem, tmp_path: Path) -> None:
    put(TREE)
    (tmp_path / "x").write_bytes(b"x")
    new, old = "animals:v0/new", "animals:v0/a.txt"
    calls: list[Callable[[], object]] = [
        lambda: fs.open(new, "wb"),
        lambda: fs.open(old, "ab"),
        lambda: fs.open(old, "r+b"),
        lambda: fs.pipe(new, b"x"),
        lambda: fs.touch(old, truncate=False),
        lambda: fs.mkdir(new),
        lambda: fs.makedirs(new),
        lambda: fs.rm(old),
        lambda: fs.rmdir("animals:v0/dir/empty"),
        lambda: fs.cp(old, new),
        lambda: fs.mv(old, new),
        lambda: fs.put(str(tmp_path / "x"), new),
    ]
    for call in calls:
        with pytest.raises(OSError, match="Read-only") as caught:
            call()
        assert caught.value.errno == errno.EROFS
    fs.makedirs("animals:v0/dir", exist_ok=True)


def _damage(pattern: str, old: bytes) -> None:
    store = Path(os.environ["ARTFS_STORE"])
    for pack in store.glob(f"packs/{pattern}"):
        data = pack.read_bytes()
        pack.chmod(0o644)
        pack.write_bytes(data.replace(old, bytes(len(old))))


def test_damaged_content_is_an_error(put: Put, fs: ArtfsFileSystem) -> None:
    put({b"f": noise(100), b"g": b"sound"})
    _damage("*/*", noise(100)[:50])
    for read in (fs.cat, lambda path: fs.open(path).read()):
        with pytest.raises(OSError, match="do not match their digest") as caught:
            read("animals:v0/f")
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, "animals:v0/f")
    assert fs.cat("animals:v0/g") == b"sound"


def test_a_damaged_directory_is_no_empty_one(put: Put, fs: ArtfsFileSystem) -> None:
    """fsspec leaves out what it cannot list; who trains on half of the files never knows."""
    put({b"d": {b"name of a file": b"x"}, b"f": b"y"})
    _damage("*/*", b"name of a file")
    for call in (fs.find, fs.ls, lambda path: fs.glob(f"{path}/*"), lambda path: [*fs.walk(path)]):
        with pytest.raises(OSError, match="digest") as caught:
            call("animals:v0/d")
        assert caught.value.errno == errno.EIO
    with pytest.raises(OSError, match="digest"):
        fs.find("animals:v0")
    with pytest.raises(OSError, match="digest"):
        fs.exists("animals:v0/d/name of a file")


def test_no_store(home: Path, fs: ArtfsFileSystem, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store there"):
        fs.cat("animals:v0/f")
    assert not (home / "store").exists()
    assert not list(tmp_path.glob("home/data/*"))


def test_the_store_is_an_option(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put({b"f": b"0"})
    url = os.environ["ARTFS_STORE"]
    monkeypatch.setenv("ARTFS_STORE", "/nonexistent")
    for store in (url, f"file://{url}"):
        with fsspec.open(f"artfs://{KEY}:v0/f", store=store) as file:
            assert file.read() == b"0"
