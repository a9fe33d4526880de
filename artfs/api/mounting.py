"""`artfs.mounted`: a version as a directory for the time of a block."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from artfs import settings
from artfs.api.stores import absolute
from artfs.errors import ArtfsError, InUse, NotFound
from artfs.settings import Settings
from artfs.types import parse_ref

if TYPE_CHECKING:
    from artfs.fuse.mounted import Daemon

#: Seconds for the daemon to end once its mount is gone.
_PATIENCE = 60.0


@contextlib.contextmanager
def mounted(ref: str, store: str | None = None) -> Iterator[Path]:
    """Mount a version read-only on a directory of its own, and unmount it at the end of the block.

    A process of its own serves the mount, so any thread of this one, and what it starts, may read
    it. When the block ends, however it does, the mount is gone; files that are still open in it
    give errors from then on. It ends with this process and those it has forked, too, should they
    be killed; only the empty directory is left then.
    Raises `InvalidValue`, `NotFound`, `Damaged`, `Unreachable`, `MountFailed`.
    """
    found = settings.load(store)
    # In full: a name may begin with '-', and must not be taken for an option.
    full = parse_ref(ref, found.project).full
    # Not TemporaryDirectory, which descends into what cannot be unmounted, and removes it.
    directory = Path(tempfile.mkdtemp(prefix="artfs-"))
    daemons_end, our_end = os.pipe()
    try:
        try:
            daemon = _start(full, directory, found, daemons_end)
        finally:
            os.close(daemons_end)
        try:
            yield directory
        finally:
            _end(daemon, directory, found)
    finally:
        os.close(our_end)
        directory.rmdir()


def _start(ref: str, directory: Path, found: Settings, owner_fd: int) -> Daemon:
    # Here, so that the rest of the API does without FUSE.
    from artfs.fuse.mounted import launch_daemon

    log = found.state / "log" / f"start-{os.getpid()}-{os.urandom(4).hex()}.err"
    command = ["--store", absolute(found.store), "mount", ref, str(directory), "--foreground"]
    command += ["--owner-fd", str(owner_fd)]
    try:
        daemon, _ = launch_daemon(command, directory, log, pass_fds=[owner_fd])
    except ArtfsError as error:
        if str(log) not in error.hint:  # all that it says is said
            log.unlink(missing_ok=True)
        raise
    if not log.stat().st_size:
        log.unlink()
    return daemon


def _end(daemon: Daemon, directory: Path, found: Settings) -> None:
    from artfs.fuse.mounted import unmount

    try:
        unmount(found.state, directory, _PATIENCE)
    except NotFound:
        pass  # done by somebody else
    except InUse:
        daemon.terminate()  # cuts them off
    try:
        daemon.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    with contextlib.suppress(NotFound):  # done, unless the daemon died of something
        unmount(found.state, directory)
