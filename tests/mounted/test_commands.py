"""mount and umount as commands: what they refuse and how, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.support.mounts import (
    artfs,
    artfs_processes,
    force_unmount,
    fuse_mounts,
    is_mounted,
    mounted,
    wait_for,
)
from tests.support.twin import here, put

pytestmark = pytest.mark.fuse


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds; the store is there."""
    path = tmp_path / "base"
    path.mkdir()
    (path / "a").write_text("a of the base\n")
    put(path)
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty"
    path.mkdir()
    return path


def refused(status: int, line: str, *args: str | Path) -> None:
    """The command fails with one line that ends so, at most one more of help, and no traces."""
    state = Path(os.environ["XDG_STATE_HOME"], "artfs")
    done = artfs(*args, check=False)
    first, *hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert first.startswith("artfs: "), first
    assert first.endswith(line), first
    assert len(hint) <= 1, done.stderr
    assert not hint or hint[0].startswith("       "), done.stderr
    assert not list(state.glob("drafts/*")), "a draft that was never mounted is left"
    assert not list(state.glob("mounts/*")), "a mount that was never there is left"
    assert not list(state.glob("log/start-*")), "what was said already is left"


# What cannot be mounted


@pytest.mark.parametrize("command", [["mount"], ["mount", "data"], ["draft", "data"]], ids=" ".join)
def test_bad_mount_points(base: Path, tmp_path: Path, command: list[str]) -> None:
    refused(3, "nowhere: no such directory", *command, tmp_path / "nowhere")
    refused(3, "below: no such directory", *command, tmp_path / "nowhere" / "below")
    refused(1, "base: is not empty", *command, base)
    refused(1, "a: is not a directory", *command, base / "a")
    inside = Path(os.environ["ARTFS_STORE"]) / "inside"
    inside.mkdir()
    refused(1, f"overlaps the store {inside.parent}", *command, inside)
    assert not fuse_mounts(tmp_path)


@pytest.mark.parametrize("command", ["mount", "draft"])
def test_unknown_refs(base: Path, empty: Path, command: str) -> None:
    refused(3, "artifact 'nosuch': no such artifact", command, "nosuch", empty)
    refused(3, "no such version", command, "data:v7", empty)
    refused(3, "no such alias", command, "data:best", empty)
    refused(2, "may hold only letters, digits, '_', '-' and '.'", command, "da ta", empty)
    assert not is_mounted(empty)


def test_bad_usage(base: Path, empty: Path) -> None:
    refused(2, "takes REF MNT, or --resume ID MNT", "draft", empty)
    refused(2, "takes REF MNT, or --resume ID MNT", "draft", "--resume", "x", "data", empty)
    refused(2, "exclude each other", "draft", "--resume", "x", "--new", empty)
    refused(3, "draft x: no such draft", "draft", "--resume", "x", empty)
    refused(2, "takes [REF] MNT, not 3 arguments", "mount", "a", "b", empty)
    refused(2, "is not one of 'both', 'sync', 'unmount', 'never'.",
            "draft", "data", empty, "--commit-on", "later")  # fmt: skip
    refused(3, "no such draft", "drafts", "--discard", "nosuch")


def test_no_store(home: Path, empty: Path) -> None:
    for command in (["mount"], ["mount", "data"], ["draft", "data"]):
        refused(3, "no store there", *command, empty)
    assert not is_mounted(empty)


def test_mounted_already(base: Path, tmp_path: Path) -> None:
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        for command in (["mount"], ["draft", "data"]):
            done = artfs(*command, mount.path, check=False)
            assert done.returncode == 4
            assert done.stderr.startswith(f"artfs: {mount.path}: artfs is mounted there already")
        assert fuse_mounts(tmp_path) == [mount.path]
        # Below it, where nobody may write, as beside it.
        link = tmp_path / "link"
        link.symlink_to(mount.path)
        assert artfs("mount", link, check=False).returncode == 4
        assert (mount.path / "a").read_text() == "a of the base\n"


# What is no mount


def test_umount_of_what_is_no_mount(base: Path, empty: Path, tmp_path: Path) -> None:
    refused(3, "empty: no artfs is mounted there", "umount", empty)
    refused(3, "nowhere: no artfs is mounted there", "umount", tmp_path / "nowhere")
    refused(3, "/proc: no artfs is mounted there", "umount", "/proc")
    for command in ("umount", "sync", "status", "diff"):
        done = artfs(command, empty, check=False)
        assert (done.returncode, done.stderr.splitlines()) == (3, [
            f"artfs: {empty}: no artfs is mounted there",
            "       findmnt -t fuse.artfs lists what is mounted, and where",
        ])  # fmt: skip
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        below = artfs("umount", mount.path / "a", check=False)
        assert (below.returncode, below.stderr.splitlines()[1:]) == (
            3, [f"       it is below the mount on {mount.path}"],
        )  # fmt: skip
        assert is_mounted(mount.path)


def test_umount_while_in_use(base: Path, tmp_path: Path) -> None:
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        with (mount.path / "a").open():
            busy = mount.umount(check=False)
            assert (busy.returncode, busy.stderr.splitlines()[0]) == (
                4, f"artfs: {mount.path}: is in use",
            )  # fmt: skip
            assert is_mounted(mount.path)
        assert mount.umount().stdout == ""
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        with (mount.path / "a").open("r+") as file:
            file.write("X")
            file.flush()
            busy = mount.umount(check=False)
            assert (busy.returncode, is_mounted(mount.path)) == (4, True)
            assert mount.daemons
            file.write("Y")
        assert (mount.path / "a").read_text().startswith("XY")
        mount.umount()
    assert here("cat", "data", "a").startswith("XY")


# Life and death of the daemon


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["mount", "draft"])
def test_signals_unmount(
    base: Path, tmp_path: Path, command: Literal["mount", "draft"], number: int
) -> None:
    with mounted(command, "data", at=tmp_path / "mnt") as mount:
        if command == "draft":
            (mount.path / "a").write_text("edited")
        (daemon,) = mount.daemons
        os.kill(daemon, number)
        wait_for(lambda: not mount.daemons, what="end of the daemon")
        assert not is_mounted(mount.path)
    assert not list(Path(os.environ["XDG_STATE_HOME"], "artfs", "mounts").iterdir())
    assert here("cat", "data", "a") == ("edited" if command == "draft" else "a of the base\n")


_SIGNALLED_WHEN_READY = """
import os, signal
from artfs.cli import main
from artfs.fuse.daemon import Parent
Parent.ready = lambda self, message: os.kill(os.getpid(), signal.SIGTERM)
main()
"""


def test_a_signal_unmounts_as_soon_as_the_mount_is_announced(base: Path, empty: Path) -> None:
    command = [sys.executable, "-c", _SIGNALLED_WHEN_READY, "mount", "--foreground", "data"]
    try:
        done = subprocess.run([*command, empty], timeout=60, check=False)
        assert done.returncode == 0
        assert not is_mounted(empty)
    finally:
        force_unmount(empty)


def test_a_signal_saves_what_open_files_hold(base: Path, tmp_path: Path) -> None:
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        fd = os.open(mount.path / "a", os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, b"not closed")
            (daemon,) = mount.daemons
            os.kill(daemon, signal.SIGTERM)
            wait_for(lambda: not mount.daemons, what="end of the daemon")
        finally:
            with contextlib.suppress(OSError):  # nobody is there to be told of the close
                os.close(fd)
        assert not is_mounted(mount.path)
    assert here("cat", "data:v1", "a") == "not closed"


def test_in_the_foreground(base: Path, empty: Path) -> None:
    command = [sys.executable, "-m", "artfs", "mount", "--foreground", "data", str(empty)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            wait_for(lambda: is_mounted(empty), what="the mount")
            assert (empty / "a").read_text() == "a of the base\n"
            daemon.send_signal(signal.SIGINT)
            _, said = daemon.communicate(timeout=30)
        finally:
            daemon.kill()
    assert daemon.returncode == 0
    assert "Traceback" not in said


def test_logs_and_records_are_in_the_state_directory(base: Path, tmp_path: Path) -> None:
    state = Path(os.environ["XDG_STATE_HOME"], "artfs")
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        (record,) = state.glob("mounts/*/mount.json")
        about = json.loads(record.read_bytes())
        assert [about["pid"]] == mount.daemons
        assert about["mountpoint"] == str(mount.path)
        (log,) = state.glob("log/*")
        assert about["log"] == str(log)
        assert f"mounted on {mount.path}" in log.read_text()
        (daemon,) = mount.daemons
        # Nobody's terminal, and no pipe of the one who started it.
        for fd in (0, 1):
            assert os.readlink(f"/proc/{daemon}/fd/{fd}") == "/dev/null"
        assert os.getsid(daemon) != os.getsid(0)
        mount.umount()
        assert not list(state.glob("mounts/*"))
    assert "unmounted" in log.read_text()
    assert list(state.glob("log/*")) == [log]


def test_json(base: Path, empty: Path) -> None:
    said = artfs("--json", "draft", "data", empty)
    try:
        about = json.loads(said.stdout)
        assert about["mountpoint"] == str(empty)
        assert json.loads(artfs("--json", "drafts").stdout)[0]["draft"] == about["draft"]
    finally:
        ended = artfs("--json", "umount", empty)
    expected = {"artifact": "data", "version": "v0", "changed": False}
    assert json.loads(ended.stdout) == expected
    wait_for(lambda: not artfs_processes(str(empty)), what="end of the daemon")


def test_odd_paths(base: Path, tmp_path: Path) -> None:
    """Mount points that are relative, have spaces, newlines, are no UTF-8, or are very long."""
    long = tmp_path / ("l" * 120) / ("m" * 120)
    odd = tmp_path / os.fsdecode(b"a b\n\\040\xff,o=x")
    for path in (long, odd):
        with mounted("draft", "data", at=path) as mount:
            (path / "new").touch()
            assert artfs("status", path).returncode == 0
            mount.umount("--discard")
    (tmp_path / "relative").mkdir()
    artfs("mount", "data", "relative", cwd=tmp_path)
    try:
        assert (tmp_path / "relative" / "a").exists()
    finally:
        artfs("umount", "relative/", cwd=tmp_path)
    wait_for(lambda: not artfs_processes(str(tmp_path)), what="end of the daemons")
