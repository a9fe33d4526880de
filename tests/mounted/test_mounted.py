"""`artfs.mounted`: there for the block, gone after it, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

import artfs
from artfs.api.filesystem import ArtfsFileSystem
from artfs.errors import InvalidValue, MountFailed, NotFound
from artfs.fuse import unmount
from tests.support.manual import ROOT
from tests.support.mounts import artfs as command
from tests.support.mounts import artfs_processes, fuse_mounts, is_mounted, wait_for
from tests.support.twin import put

pytestmark = pytest.mark.fuse


@pytest.fixture
def base(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `data:v0` holds; temporary directories are made in a directory of the test."""
    path = tmp_path / "base"
    (path / "sub").mkdir(parents=True)
    (path / "a").write_text("a of the base\n")
    (path / "sub" / "b").write_bytes(bytes(range(256)) * 4096)
    (path / "link").symlink_to("sub/b")
    put(path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return path


@pytest.fixture(autouse=True)
def _nothing_left(base: Path, tmp_path: Path, home: Path) -> Iterator[None]:
    """No mount, no temporary directory, no state, and no child, not even a dead one."""
    before = children()
    yield
    assert not fuse_mounts(tmp_path)
    assert not os.listdir(tmp_path / "tmp")
    assert not list((home / "state/artfs/mounts").glob("*"))
    assert not list((home / "state/artfs/log").glob("start-*"))
    assert children() == before


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for path in tasks for pid in path.read_text().split()}


def said_by_daemon(home: Path) -> str:
    (log,) = (home / "state/artfs/log").glob("*.log")
    return log.read_text()


def daemon_of(point: Path) -> int:
    (pid,) = [pid for pid in artfs_processes(str(point)) if pid != os.getpid()]
    return pid


def test_a_version_for_the_time_of_a_block(base: Path) -> None:
    with artfs.mounted("data") as path:
        assert is_mounted(path)
        assert isinstance(path, Path)
        assert (path / "a").read_text() == "a of the base\n"
        assert (path / "link").read_bytes() == (base / "sub" / "b").read_bytes()
        assert sorted(os.listdir(path)) == ["a", "link", "sub"]
        with pytest.raises(OSError, match="Read-only"):
            (path / "new").touch()
    assert not path.exists()


def test_an_exception_in_the_block(base: Path) -> None:
    seen = []

    def fail() -> None:
        with artfs.mounted("data:v0") as path:
            seen.append(path)
            _ = len(os.listdir(path)) / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not seen[0].exists()


def test_a_file_that_is_still_open(base: Path, home: Path) -> None:
    with artfs.mounted("data") as path:
        file = (path / "sub" / "b").open("rb", buffering=0)
    assert not path.exists()
    assert said_by_daemon(home).endswith(" unmounted\n")
    with pytest.raises(OSError, match="endpoint"):
        file.read()
    with contextlib.suppress(OSError):
        file.close()


def test_the_block_is_in_the_mount(base: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon is told to end as soon as it is there, and unmounts even so."""
    with artfs.mounted("data") as path:
        monkeypatch.chdir(path)
    monkeypatch.chdir(base)
    assert said_by_daemon(home).endswith(" unmounted\n")
    assert not path.exists()


def test_somebody_else_unmounts(base: Path) -> None:
    with artfs.mounted("data") as path:
        command("umount", path)
        assert not is_mounted(path)
    assert not path.exists()


def test_a_daemon_that_dies(base: Path) -> None:
    with artfs.mounted("data") as path:
        os.kill(daemon_of(path), signal.SIGKILL)
        with pytest.raises(OSError, match=r"endpoint|abort"):
            wait_for(lambda: not os.listdir(path))
    assert not path.exists()


def test_a_daemon_that_dies_while_it_is_unmounted(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers still, and then does not remove what it has left."""
    detach = unmount.detach

    def dying(mountpoint: Path, **options: bool) -> None:
        os.kill(daemon_of(mountpoint), signal.SIGKILL)
        detach(mountpoint, **options)

    with artfs.mounted("data") as path:
        monkeypatch.setattr(unmount, "detach", dying)
    assert not path.exists()


def test_several_at_once_in_threads(base: Path) -> None:
    """Each serves its own; and this process forks and waits for children meanwhile."""
    start = threading.Barrier(3)

    def read(_: int) -> bytes:
        start.wait()
        with artfs.mounted("data:v0") as one, artfs.mounted("data:latest") as other:
            subprocess.run(["cmp", one / "sub" / "b", other / "sub" / "b"], check=True)
            return (one / "sub" / "b").read_bytes()

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(read, range(3))) == {(base / "sub" / "b").read_bytes()}


def test_a_store_by_argument(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where this program is."""
    store = Path(os.environ["ARTFS_STORE"])
    monkeypatch.delenv("ARTFS_STORE")
    monkeypatch.chdir(store.parent)
    for url in (store.name, f"file://{store}"):
        with artfs.mounted("default/default/data", store=url) as path:
            assert (path / "a").exists()
    with pytest.raises(NotFound), artfs.mounted("data"):
        pass


def test_what_cannot_be_mounted(base: Path, tmp_path: Path) -> None:
    for ref, kind, why in (
        ("nosuch", NotFound, "no such artifact"), ("data:v7", NotFound, "no such version"),
        ("data:best", NotFound, "no such alias"), ("da ta", InvalidValue, "may hold only"),
        ("--help", NotFound, "no such artifact"),
    ):  # fmt: skip
        with pytest.raises(kind, match=why), artfs.mounted(ref):
            pass
    with pytest.raises(NotFound, match="no store"), artfs.mounted("data", str(tmp_path / "none")):
        pass


def test_no_room_for_a_mount(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory in the store would have the mount wait for itself."""
    inside = Path(os.environ["ARTFS_STORE"]) / "inside"
    inside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(inside))
    with pytest.raises(MountFailed, match="overlaps the store"), artfs.mounted("data"):
        pass
    assert not os.listdir(inside)


_INTERRUPTED = """
import os, signal, artfs
with artfs.mounted("data") as path:
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
"""


def test_control_c(base: Path, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], env=env, capture_output=True, text=True, check=False
    )
    assert "KeyboardInterrupt" in done.stderr
    assert not Path(done.stdout.strip()).exists()


_KILLED = """
import os, signal, artfs
with artfs.mounted("data") as path:
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed(base: Path, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(
        [sys.executable, "-c", _KILLED], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    point = Path(done.stdout.strip())
    wait_for(lambda: not is_mounted(point), what="end of the mount")
    wait_for(lambda: not artfs_processes(str(point)), what="end of its daemon")
    point.rmdir()


@pytest.mark.usefixtures("base")
def test_the_readme(tmp_path: Path) -> None:
    """Its Python runs as it stands, where there is what it names."""
    photos, trips = tmp_path / "photos", tmp_path / "trips"
    (trips / "parts").mkdir(parents=True)
    photos.mkdir()
    for name in (b"old", b"a picture of a cat"):
        (photos / "cat.png").write_bytes(name)
        command("put", "photos", photos)
    (trips / "2026.csv").write_text("fare\n7\n")
    parquet.write_table(pyarrow.table({"fare": [7]}), trips / "parts" / "1.parquet")
    for _ in range(4):
        with (trips / "2026.csv").open("a") as file:
            file.write("8\n")
        command("put", "trips", trips)
    text = (ROOT / "README.md").read_text()
    text = text.partition("\nOne file of a version")[2].partition("\n## ")[0]
    code = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    found: dict[str, Any] = {}
    ArtfsFileSystem.clear_instance_cache()  # of tests that had another store
    exec("\n".join(code), found)
    assert found["header"] == b"a picture of a c"
    assert list(found["table"]["fare"]) == [7, 8, 8, 8, 8]
    assert found["rides"].to_pydict() == {"fare": [7]}
    ArtfsFileSystem.clear_instance_cache()
