"""Mounts in the background: start the daemon, wait until its mount answers, or learn why not.

The daemon is this program run again in the foreground, in a session of its own. Parent and daemon
share a pipe on which the daemon writes one JSON line: {"ready": {...}} or {"error": {...}}. When it
closes without one, the daemon has died.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from artfs.errors import ArtfsError, MountFailed
from artfs.fuse.control import Message, decode, decode_error, encode, encode_error

Daemon: TypeAlias = subprocess.Popen[bytes]

_LOG_BYTES = 4 << 20
_LOGS_KEPT = 50
_CLEANING_UP = 5.0


def start_daemon(
    argv: Sequence[str], mountpoint: Path, state_dir: Path, patience: float = 60.0
) -> Message:
    """Run `artfs ARGV --foreground --ready-fd N` detached; what it says of itself once its mount
    answers, within `patience` seconds.

    What it writes to standard error before its own log is open goes to a file beside that, which
    stays if there is something in it that was not said. Raises the error that kept it from
    mounting, in its class, or `MountFailed`.
    """
    return launch_daemon(argv, mountpoint, state_dir, patience)[1]


def launch_daemon(
    argv: Sequence[str],
    mountpoint: Path,
    state_dir: Path,
    patience: float = 60.0,
    pass_fds: Sequence[int] = (),
) -> tuple[Daemon, Message]:
    """The same for a program that goes on and is to wait for the daemon's end: with its process,
    which has the descriptors `pass_fds` too."""
    log = state_dir / "log" / f"start-{os.getpid()}-{os.urandom(4).hex()}.err"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = _launched(argv, mountpoint, log, time.monotonic() + patience, pass_fds)
    except ArtfsError as error:
        if str(log) not in error.hint:  # all that it says is said
            log.unlink(missing_ok=True)
        raise
    if not log.stat().st_size:
        log.unlink()
    return found


def _launched(
    argv: Sequence[str], mountpoint: Path, log: Path, deadline: float, pass_fds: Sequence[int]
) -> tuple[Daemon, Message]:
    command = [sys.executable, "-m", "artfs", *argv, "--foreground"]
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb") as pipe, open(log, "ab") as errors:
        try:
            daemon = subprocess.Popen(
                [*command, "--ready-fd", str(write_fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                pass_fds=[write_fd, *pass_fds],
            )
        finally:
            os.close(write_fd)
        try:
            return daemon, _await_ready(pipe.fileno(), mountpoint, log, deadline)
        except BaseException:
            _let_end(daemon)
            raise


def _let_end(daemon: Daemon) -> None:
    """A daemon that says why it cannot mount has something to clean up yet."""
    try:
        daemon.wait(_CLEANING_UP)
    except subprocess.TimeoutExpired:
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(_CLEANING_UP)


def _await_ready(fd: int, mountpoint: Path, log: Path, deadline: float) -> Message:
    said = b""
    while not said.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise MountFailed(str(mountpoint), "the daemon does not come up", f"see {log}")
        part = os.read(fd, 65536)
        if not part:
            raise MountFailed(str(mountpoint), "the daemon ended before it mounted", f"see {log}")
        said += part
    message = decode(said)
    if "error" in message:
        raise decode_error(message["error"])
    _await_answer(mountpoint, deadline)
    ready: Message = message["ready"]
    return ready


def _await_answer(mountpoint: Path, deadline: float) -> None:
    """Ask the mount something, in a thread: if it hangs, that thread hangs and nobody else."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            os.stat(mountpoint)  # not statvfs: a project would add up the sizes of its versions
            answered.set()

    threading.Thread(target=ask, daemon=True).start()
    if not answered.wait(max(0.0, deadline - time.monotonic())):
        raise MountFailed(str(mountpoint), "is mounted, but does not answer")


class Parent:
    """The daemon's end of the pipe; without a pipe, nobody waits and nothing is said."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def ready(self, message: Message) -> None:
        """The mount answers from now on."""
        self._say({"ready": message})

    def failed(self, error: Exception) -> None:
        """There will be no mount."""
        self._say({"error": encode_error(error)})

    def _say(self, message: Message) -> None:
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with contextlib.suppress(BrokenPipeError), open(fd, "wb") as pipe:
            pipe.write(encode(message))


def log_to(directory: Path, mount_id: str) -> Path:
    """Send what artfs logs in this process to a bounded file; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    old = sorted(directory.glob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in old[:-_LOGS_KEPT]:
        path.unlink(missing_ok=True)
    path = directory / f"{mount_id}.log"
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=_LOG_BYTES, backupCount=1, errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(min(root.level, logging.INFO))
    return path
