"""Running `artfs` as a user does: commands as processes, mounts that are always taken down.

Nothing here touches a file below a mount point to find out about the mount: a dead or hung mount
would hang the test. The kernel's table in /proc tells.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pytest

# Inherited by a mount's daemon however it detaches, so /proc/PID/environ always finds it.
_MARK = "TEST_MOUNT_POINT"
_OCTAL = re.compile(r"\\([0-7]{3})")
_BAD_LOG_LINE = re.compile(r"\b(ERROR|CRITICAL)\b|Traceback \(most recent call last\)")


def why_no_fuse() -> str:
    """Why nothing can be mounted here, or an empty string."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is missing or not accessible"
    return "" if shutil.which("fusermount3") else "fusermount3 is not installed (package fuse3)"


def make_home(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home, and have this process and those it starts keep all of artfs' files in it."""
    base.mkdir()
    for name in [name for name in os.environ if name.startswith("ARTFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(base))
    for kind in ("state", "cache", "config", "data"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(base / kind))
    monkeypatch.setenv("ARTFS_STORE", str(base / "store"))
    return base


def wait_for(predicate: Callable[[], object], timeout: float = 10, what: str = "condition") -> None:
    """Return when the predicate holds; AssertionError if that takes longer than `timeout` s."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, f"{what}: not so after {timeout} s"
        time.sleep(0.02)


def fuse_mounts(below: Path) -> list[Path]:
    """Mount points of FUSE filesystems at or below a directory, the newest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        head, _, tail = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda m: chr(int(m[1], 8)), head.split()[4]))
        if tail.startswith("fuse") and point.is_relative_to(below):
            found.append(point)
    return found[::-1]


def is_mounted(point: Path) -> bool:
    return Path(os.path.abspath(point)) in fuse_mounts(Path("/"))


def artfs_processes(word: str) -> list[int]:
    """Processes running artfs whose command line or environment holds the word."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            args = os.fsdecode((proc / "cmdline").read_bytes()).split("\0")
            environ = os.fsdecode((proc / "environ").read_bytes())
        except OSError:  # gone, or of another user
            continue
        runs_artfs = any(os.path.basename(arg) == "artfs" for arg in args)
        if runs_artfs and (word in environ or any(word in arg for arg in args)):
            found.append(int(proc.name))
    return [pid for pid in found if pid != os.getpid()]


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def force_unmount(point: Path) -> None:
    """Detach a mount whatever state it is in."""
    for _ in range(10):  # mounts may be stacked on one point
        if not is_mounted(point):
            return
        subprocess.run(["fusermount3", "-uz", point], capture_output=True, check=False)
        if os.geteuid() == 0 and is_mounted(point):
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def artfs(
    *args: str | Path,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m artfs ARGS`; with `check`, a status other than 0 fails the test.

    `env` adds to the environment. Output goes through files, because a daemon that keeps its
    standard error would hold a pipe open for as long as the mount lives.
    """
    command = [sys.executable, "-m", "artfs", *map(str, args)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=out,
            stderr=err,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
        out.seek(0)
        err.seek(0)
        texts = (os.fsdecode(out.read()), os.fsdecode(err.read()))
    result = subprocess.CompletedProcess(command, done.returncode, *texts)
    if check:
        assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stderr}"
    return result


@dataclass
class Mount:
    """A live mount, as `mounted()` gives it."""

    path: Path
    stdout: str
    env: dict[str, str]

    def umount(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`artfs umount` now instead of at the end of the block."""
        return artfs("umount", *options, self.path, check=check, env=self.env)

    @property
    def daemons(self) -> list[int]:
        return artfs_processes(f"{_MARK}={self.path}")

    def kill_daemon(self) -> None:
        """SIGKILL, and wait until the kernel has noticed."""
        kill(self.daemons)
        wait_for(lambda: not self.daemons and _is_dead(self.path), what="death of the daemon")


def _is_dead(mountpoint: Path) -> bool:
    try:
        os.listdir(mountpoint)
    except OSError as error:
        return error.errno == errno.ENOTCONN  # what it was being asked is ECONNABORTED
    return False


@contextlib.contextmanager
def mounted(
    command: Literal["mount", "draft"],
    *args: str | Path,
    at: Path,
    env: Mapping[str, str] | None = None,
    expect_errors: bool = False,
) -> Iterator[Mount]:
    """`artfs COMMAND ARGS AT` for the time of the block; made to be there, and to be gone after.

    At the end the daemon must have ended by itself and have logged no error, unless
    `expect_errors`. A failure inside the block is not hidden by one of these; the log is noted.
    """
    at = at.absolute()
    at.mkdir(parents=True, exist_ok=True)
    full_env = {**(env or {}), _MARK: str(at)}
    logged = _log_sizes(full_env)
    mount = Mount(at, "", full_env)
    try:
        mount.stdout = artfs(command, *args, at, env=full_env).stdout
        assert is_mounted(at), f"artfs {command} returned 0 but {at} is not in mountinfo as fuse"
        yield mount
    except BaseException as error:
        _take_down(mount)
        kill(mount.daemons)
        error.add_note("daemon's log:\n" + _log_since(logged, full_env))
        raise
    complaint = _take_down(mount)
    try:
        wait_for(lambda: not mount.daemons, what=f"end of the daemon of {at}")
    finally:
        kill(mount.daemons)
    log = _log_since(logged, full_env)
    if not expect_errors:
        assert not complaint, complaint
        assert not _BAD_LOG_LINE.search(log), f"the daemon logged an error:\n{log}"


def _take_down(mount: Mount) -> str:
    """Unmount, if mounted; what was wrong with `artfs umount`, if anything."""
    if not is_mounted(mount.path):
        return ""
    try:
        done = mount.umount(check=False)
        complaint = "" if done.returncode == 0 else f"artfs umount: {done.stderr}"
    except subprocess.TimeoutExpired:
        complaint = "artfs umount: no answer in time"
    if is_mounted(mount.path):
        complaint = complaint or f"artfs umount returned 0 but {mount.path} is still mounted"
        force_unmount(mount.path)
    return complaint


def _log_files(env: Mapping[str, str]) -> list[Path]:
    state = env.get("XDG_STATE_HOME") or os.environ.get("XDG_STATE_HOME")
    return sorted(Path(state, "artfs", "log").glob("*")) if state else []


def _log_sizes(env: Mapping[str, str]) -> dict[Path, int]:
    return {path: path.stat().st_size for path in _log_files(env)}


def _log_since(sizes: Mapping[Path, int], env: Mapping[str, str]) -> str:
    parts = [path.read_bytes()[sizes.get(path, 0) :] for path in _log_files(env)]
    return b"".join(parts).decode("utf-8", "backslashreplace")
