"""One mount from pyfuse3.init to the end: the main loop, its control socket, signals, the way out.

pyfuse3 keeps its session in globals: one mount a process. The event loop serves the mount, so it
must never wait for it; whatever touches the mount does so from another process.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pyfuse3
import trio

from artfs.aio.threads import run_blocking
from artfs.errors import ArtfsError, MountFailed
from artfs.fuse import answering, pump
from artfs.fuse.answering import Handlers
from artfs.fuse.control import Message
from artfs.fuse.mountinfo import FSTYPE, mount_at, source_of
from artfs.fuse.operations import Operations
from artfs.fuse.unmount import detach
from artfs.vfs.draft.foreign import Stale
from artfs.vfs.tree import Tree

log = logging.getLogger(__name__)

#: What the kernel reads ahead of a sequential reader. Its default of 128 KiB halves throughput;
#: with 4 MiB, several requests at once compete for the interpreter, at a third more CPU in all.
_READ_AHEAD_KB = 1024
#: Seconds for programs' unwritten pages to reach us before a signal ends a mount that is in use.
_FLUSH_PATIENCE = 30.0
#: Objects more than there were, when garbage is looked for; 700 where nobody says otherwise.
_COLLECTED = 10_000
#: Seconds for the kernel to forget what a commit has changed under it.
_FORGET_PATIENCE = 0.5
#: Paths that one stat gets: some hundred KiB of arguments, of 2 MiB.
_STAT = 100


class Session:
    """A tree on a mount point."""

    def __init__(
        self,
        tree: Tree,
        mountpoint: Path,
        mount_id: str,
        *,
        writeback_cache: bool = False,
        owner_fd: int | None = None,
    ) -> None:
        """`owner_fd`: a pipe; when nobody holds its other end any more, the mount ends."""
        self._tree = tree
        self._operations = Operations(tree, writeback_cache=writeback_cache)
        self._mountpoint = mountpoint
        self._mount_id = mount_id
        self._owner_fd = owner_fd
        self._crashed = True

    def mount(self, *, allow_other: bool) -> None:
        """Make the mount; requests wait from now on for `run`. Raises `MountFailed`."""
        options = {f"fsname={source_of(self._mount_id)}", f"subtype={FSTYPE.partition('.')[2]}"}
        options.add("default_permissions")
        if allow_other:
            options.add("allow_other")
        if not self._tree.writable:
            options.add("ro")
        try:
            with _said_by_libfuse() as said:
                pyfuse3.init(self._operations, str(self._mountpoint), options)
        except RuntimeError as error:
            raise MountFailed(str(self._mountpoint), said[-1] if said else str(error)) from error

    async def run(
        self,
        listener: socket.socket,
        handlers: Handlers,
        on_ready: Callable[[], None],
        on_unmount: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Serve until unmounted, then run `on_unmount`; the control socket answers all the time."""
        async with trio.open_nursery() as nursery:
            handlers = {"stop": self._stop_request, **handlers}
            nursery.start_soon(answering.serve, listener, handlers)
            # Before anybody is told that we are ready: a signal would end us, and leave the mount.
            await nursery.start(self._watch_signals)
            nursery.start_soon(self._read_further_ahead)
            if self._owner_fd is not None:
                nursery.start_soon(self._watch_owner, self._owner_fd)
            # Long-lived objects need not be looked at by every collection; nor need what handlers
            # remember of files, which has no cycles, so often: it is a twentieth of making a file.
            gc.freeze()
            gc.set_threshold(_COLLECTED)
            pump.install(self._operations.idle, read_only=not self._tree.writable)
            on_ready()
            await pyfuse3.main()
            self._crashed = False
            self.close()
            if on_unmount is not None:
                await on_unmount()
            await self._tree.close()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Give the session up. After a crash the mount stays, dead: a directory that is suddenly
        empty would be taken for the data."""
        with contextlib.suppress(Exception):
            pyfuse3.close(unmount=not self._crashed)

    async def _watch_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                log.info("signal %s: unmounting", signal.Signals(number).name)
                await self._stop()

    async def _read_further_ahead(self) -> None:
        await self._operations.connected.wait()  # no deadline: it ends with the session
        await run_blocking(set_read_ahead, self._mountpoint)

    async def _watch_owner(self, fd: int) -> None:
        await trio.lowlevel.wait_readable(fd)
        log.info("whoever mounted this has gone: unmounting")
        await self._stop()

    async def _stop_request(self, _: Message) -> Message:
        await run_blocking(detach, self._mountpoint)
        return {}

    async def _stop(self) -> None:
        """Unmount; where files are open, save what was written to them and cut them off."""
        try:
            await run_blocking(detach, self._mountpoint)
        except ArtfsError as error:
            log.warning("%s; detaching it", error)
            with trio.move_on_after(_FLUSH_PATIENCE):
                if self._tree.writable:
                    await write_back(self._mountpoint)
            # Where somebody else has unmounted it meanwhile, there may be no session any more, and
            # libfuse crashes: before the draft is committed, kept or discarded.
            if self._crashed:
                pyfuse3.terminate()
                pump.finish()


async def write_back(mountpoint: Path) -> None:
    """Have the kernel hand over what programs have stored in mapped files; done at unmounting
    anyway, so nothing happens where artfs is not mounted any more."""
    mount = mount_at(mountpoint)
    if mount is not None and mount.mount_id is not None:
        with contextlib.suppress(OSError):
            await trio.run_process(["sync", "-f", mountpoint], check=False, capture_stderr=True)


async def forget_cached(mountpoint: Path, stale: Stale) -> bool:
    """Have the kernel ask again for names, and for files' attributes and content; whether it does.

    In a thread, as it waits for directories and pages that are locked by those who wait for us; and
    a commit asked for by `sync MNT` has the root itself locked, until it is answered. So it is not
    waited for much longer than it takes.
    """
    with trio.move_on_after(_FORGET_PATIENCE) as waited:
        await run_blocking(_forget_cached, mountpoint, stale)
    return not waited.cancelled_caught


def _forget_cached(mountpoint: Path, stale: Stale) -> None:
    for ino in stale.files:
        with contextlib.suppress(OSError):  # ENOENT: the kernel does not know it
            pyfuse3.invalidate_inode(ino)
    for start in range(0, len(stale.lengths), _STAT):
        # For what it appends it does not ask by itself.
        paths = [
            os.path.join(os.fsencode(mountpoint), x) for x in stale.lengths[start : start + _STAT]
        ]
        with contextlib.suppress(OSError):
            subprocess.run(["stat", "--printf=", *paths], check=False, capture_output=True)
    for directory, name in stale.names:
        with contextlib.suppress(OSError):
            pyfuse3.invalidate_entry(directory, name)


def set_read_ahead(mountpoint: Path) -> None:
    """Let the kernel read further ahead; only root may."""
    mount = mount_at(mountpoint)
    if mount is None:
        return
    with contextlib.suppress(OSError):
        Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb").write_text(str(_READ_AHEAD_KB))


@contextlib.contextmanager
def _said_by_libfuse() -> Iterator[list[str]]:
    """The lines that libfuse and fusermount3 write to standard error, where their reasons go."""
    lines: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield lines
            finally:
                os.dup2(kept, 2)
                file.seek(0)
                lines += file.read().decode(errors="replace").splitlines()
    finally:
        os.close(kept)
