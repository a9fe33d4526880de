"""`artfs.mounted`: a version as a directory for the time of a block."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from artfs import settings
from artfs.api.stores import absolute
from artfs.types import parse_ref

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
    # Here, so that the rest of the API does without FUSE.
    from artfs.fuse.mounted import launch_daemon, take_down

    found = settings.load(store)
    # In full: a name may begin with '-', and must not be taken for an option.
    command = ["--store", absolute(found.store), "mount", parse_ref(ref, found.project).full]
    # Not TemporaryDirectory, which descends into what cannot be unmounted, and removes it.
    directory = Path(tempfile.mkdtemp(prefix="artfs-"))
    daemons_end, our_end = os.pipe()
    try:
        try:
            command += [str(directory), "--owner-fd", str(daemons_end)]
            daemon, _ = launch_daemon(command, directory, found.state, pass_fds=[daemons_end])
        finally:
            os.close(daemons_end)
        try:
            yield directory
        finally:
            take_down(found.state, directory, daemon, _PATIENCE)
    finally:
        os.close(our_end)
        directory.rmdir()
