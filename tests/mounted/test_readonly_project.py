"""A mount of a project: artifacts, versions and aliases come, move and go while it runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import artfs as api
from tests.support.mounts import Mount, artfs, mounted

pytestmark = pytest.mark.fuse

#: What the manual promises, in seconds.
SHOWN_WITHIN = 2.0


@pytest.fixture
def source(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_text("zero")
    artfs("init")
    artfs("put", "data", path, "--alias", "best", "--metadata", "n=0")
    (path / "file").write_text("one")
    artfs("put", "data", path)
    artfs("put", "other", path)
    return path


@pytest.fixture
def mount(source: Path, tmp_path: Path) -> Iterator[Mount]:
    with mounted("mount", at=tmp_path / "mnt") as found:
        yield found


def soon(look: Callable[[], object]) -> None:
    """Fails unless it is so within the promised time, by what is really on the clock."""
    deadline = time.monotonic() + SHOWN_WITHIN
    while not look():
        assert time.monotonic() < deadline, f"not so after {SHOWN_WITHIN} s"
        time.sleep(0.02)


def test_the_layout(mount: Mount) -> None:
    assert sorted(os.listdir(mount.path)) == ["data", "other"]
    data = mount.path / "data"
    assert sorted(os.listdir(data)) == ["best", "latest", "v0", "v1"]
    assert os.readlink(data / "latest") == "v1"
    assert os.readlink(data / "best") == "v0"
    assert (data / "best" / "file").read_text() == "zero"
    assert (data / "latest" / "file").read_text() == "one"
    assert json.loads(os.getxattr(data / "v0", "user.artfs.metadata")) == {"n": 0}
    assert json.loads(os.getxattr(data / "v0", "user.artfs.aliases")) == ["best"]
    for name in ("v2", "v00", "worst", "no such", ".hidden", "x" * 300):
        assert not os.path.lexists(data / name)
        assert not os.path.lexists(mount.path / name)


def test_inode_numbers_are_unique(mount: Mount) -> None:
    paths = [mount.path, *mount.path.rglob("*")]
    numbers = [os.lstat(path).st_ino for path in paths]
    assert len(set(numbers)) == len(numbers)
    assert [os.lstat(path).st_ino for path in paths] == numbers


def test_what_is_new_shows_in_time(source: Path, mount: Mount) -> None:
    data = mount.path / "data"
    assert os.readlink(data / "latest") == "v1"
    assert not (mount.path / "third").exists()
    (source / "file").write_text("two")
    artfs("put", "data", source)
    soon(lambda: os.readlink(data / "latest") == "v2")
    soon(lambda: "v2" in os.listdir(data))
    assert (data / "v2" / "file").read_text() == "two"
    soon(lambda: (data / "latest" / "file").read_text() == "two")
    artfs("alias", "data:v2", "best")
    soon(lambda: os.readlink(data / "best") == "v2")
    artfs("alias", "--delete", "data:best")
    soon(lambda: not os.path.lexists(data / "best"))
    artfs("put", "third", source)
    soon(lambda: (mount.path / "third" / "v0" / "file").exists())
    soon(lambda: "third" in os.listdir(mount.path))


def test_who_entered_an_alias_stays_in_its_version(source: Path, mount: Mount) -> None:
    inside = os.open(mount.path / "data" / "latest", os.O_RDONLY | os.O_DIRECTORY)
    try:
        (source / "file").write_text("two")
        artfs("put", "data", source)
        soon(lambda: os.readlink(mount.path / "data" / "latest") == "v2")
        fd = os.open("file", os.O_RDONLY, dir_fd=inside)
        with open(fd) as file:
            assert file.read() == "one"
    finally:
        os.close(inside)


def test_statfs_counts_all_versions(mount: Mount) -> None:
    assert os.statvfs(mount.path).f_files == 3 * 2  # roots and files


def test_portfolios_show_like_artifacts(mount: Mount) -> None:
    artfs("link", "data:best", "pets:top")
    pets = mount.path / "pets"
    soon(lambda: "pets" in os.listdir(mount.path))
    assert sorted(os.listdir(pets)) == ["latest", "top", "v0"]
    assert os.readlink(pets / "top") == "v0"
    assert (pets / "latest/file").read_text() == "zero"
    assert json.loads(os.getxattr(pets / "v0", "user.artfs.metadata")) == {"n": 0}
    assert os.getxattr(pets / "v0", "user.artfs.artifact") == b"default/default/pets"
    artfs("link", "data:v1", "pets")
    soon(lambda: os.readlink(pets / "latest") == "v1")
    artfs("unlink", "pets:top")
    soon(lambda: sorted(os.listdir(pets)) == ["latest", "v1"])
    with open(pets / "v1/file") as file:
        artfs("rm", "--force", "data:v1")
        soon(lambda: os.listdir(pets) == [])
        soon(lambda: "v1" not in os.listdir(mount.path / "data"))
        assert file.read() == "one"


def test_changed_metadata_shows(source: Path, mount: Mount) -> None:
    v0 = mount.path / "data/v0"
    assert json.loads(os.getxattr(v0, "user.artfs.metadata")) == {"n": 0}
    artifact = api.Api().artifact("data:v0")
    artifact.metadata["n"] = 1
    artifact.save()
    soon(lambda: json.loads(os.getxattr(v0, "user.artfs.metadata")) == {"n": 1})
