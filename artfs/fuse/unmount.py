"""Taking mounts down, live or dead, from outside the daemon or within."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from artfs.errors import InUse, MountFailed, NotFound, Unreachable
from artfs.fuse.control import connected, mount_directory, mount_id_at
from artfs.fuse.mountinfo import location

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_PEER = struct.Struct("3i")
_CONNECT_PATIENCE = 5.0


def unmount(state_dir: Path, mountpoint: Path, patience: float = 60.0) -> None:
    """Take the artfs mount at a path down and wait until its daemon is gone.

    A dead mount is detached. A daemon that keeps its socket elsewhere, as another user's does, is
    not waited for. Raises `NotFound`, `InUse` if files are open below it, `MountFailed`.
    """
    directory = mount_directory(state_dir, mount_id_at(mountpoint))
    if not directory.exists():
        # Its daemon may be alive, so its files may be in use, unless the kernel says it is dead.
        detach(mountpoint, lazy=_is_dead(mountpoint))
        return
    try:
        with connected(directory, _CONNECT_PATIENCE, str(mountpoint)) as client:
            daemon = os.pidfd_open(_peer(client))
    except (Unreachable, ProcessLookupError):
        detach(mountpoint, lazy=True)
        shutil.rmtree(directory, ignore_errors=True)
        return
    try:
        detach(mountpoint)
        poll = select.poll()
        poll.register(daemon, select.POLLIN)
        if not poll.poll(patience * 1000):
            raise MountFailed(
                str(mountpoint), f"unmounted, but its daemon runs on after {patience:g} s"
            )
    finally:
        os.close(daemon)
    # It removes this itself, unless it died of something in the meantime.
    shutil.rmtree(directory, ignore_errors=True)


def take_down(
    state_dir: Path, mountpoint: Path, daemon: subprocess.Popen[bytes], patience: float
) -> bool:
    """Unmount what a daemon serves that this process has launched, and wait for its end, `patience`
    seconds for each; what still has files open there is cut off. Whether nothing had.

    Nothing happens if it is gone already. Raises `MountFailed`.
    """
    undisturbed = True
    try:
        unmount(state_dir, mountpoint, patience)
    except NotFound:
        pass  # done by somebody else
    except InUse:
        undisturbed = False
        daemon.terminate()
    try:
        daemon.wait(patience)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    with contextlib.suppress(NotFound):  # done, unless the daemon died of something
        unmount(state_dir, mountpoint)
    return undisturbed


def _is_dead(mountpoint: Path) -> bool:
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _peer(client: socket.socket) -> int:
    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid: int = _PEER.unpack(raw)[0]
    return pid


def detach(mountpoint: Path, *, lazy: bool = False) -> None:
    """Undo a mount; lazily even while files are open. Raises `InUse`, `MountFailed`.

    Waits for the daemon to write back what programs wrote, so never call it in its event loop.
    """
    path = location(mountpoint)
    error = _umount2(path, lazy) if os.geteuid() == 0 else _fusermount(path, lazy)
    if error == errno.EBUSY:
        raise InUse(
            str(mountpoint), "is in use", f"fuser -vm '{mountpoint}' shows by which programs"
        )
    if error:
        raise MountFailed(str(mountpoint), f"cannot be unmounted: {os.strerror(error)}")


def _umount2(path: str, lazy: bool) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    return ctypes.get_errno() if libc.umount2(os.fsencode(path), flags) else 0


def _fusermount(path: str, lazy: bool) -> int:
    """The setuid helper of libfuse; it says what went wrong in words only."""
    done = subprocess.run(
        ["fusermount3", "-uz" if lazy else "-u", "--", path],
        capture_output=True,
        check=False,
        env={"LC_ALL": "C", "PATH": os.defpath},
    )
    if done.returncode == 0:
        return 0
    return errno.EBUSY if b"busy" in done.stderr else errno.EPERM
