"""The mounts of `artfs run`: started side by side, and gone in every case."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artfs.cli.app import Settings
from artfs.errors import ArtfsError
from artfs.fuse.mounted import Daemon, Message, call, launch_daemon, take_down

#: Seconds for a daemon to do what takes no time, and to end once its mount is gone.
_PATIENCE = 60.0


class Mount:
    """A mount that a daemon of ours serves; it ends with us, whatever ends us."""

    def __init__(self, settings: Settings, path: Path, daemon: Daemon, about: Message) -> None:
        self.path = path
        self.about = about
        self._settings = settings
        self._daemon = daemon

    def ask(self, request: Message, patience: float = _PATIENCE) -> Message:
        """What its daemon answers. Raises `Unreachable`, and what the daemon raises."""
        return call(self._settings.state, self.path, request, patience)

    def discard(self) -> None:
        """Have the draft go with the mount: there is nothing in it. Raises as `ask`."""
        self.ask({"do": "stop", "mode": "discard"})

    def end(self, patience: float = _PATIENCE) -> bool:
        """Unmount; what still has files open there is cut off. Returns whether nothing had.

        Nothing happens if it is gone already.
        """
        return take_down(self._settings.state, self.path, self._daemon, patience)


class Mounts:
    """All mounts of one run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._daemons_end, self._our_end = os.pipe()
        self._mounts: list[Mount] = []
        self._made: list[Path] = []

    def start(self, commands: Sequence[tuple[Path, list[str]]]) -> list[Mount]:
        """Mount by commands of artfs, each on a directory, which is made if it is not there.

        Raises what keeps the first of them from mounting; drafts of the others are discarded then.
        """
        for path, _ in commands:
            self._make(path)
        with ThreadPoolExecutor(len(commands)) as pool:
            started = [pool.submit(self._start, *command) for command in commands]
        mounted = [one.result() for one in started if one.exception() is None]
        self._mounts += mounted
        if len(mounted) < len(started):
            for mount in mounted:
                if "draft" in mount.about:
                    mount.discard()
        return [one.result() for one in started]

    def _make(self, path: Path) -> None:
        missing = [p for p in (path, *path.parents) if not os.path.lexists(p)]
        for directory in reversed(missing):
            directory.mkdir()
            self._made.append(directory)

    def _start(self, path: Path, command: list[str]) -> Mount:
        settings = self._settings
        argv = ["--store", settings.store_url, "--project", "/".join(settings.project)]
        argv += ["--cache-size", str(settings.store_options.cache_size), *command]
        argv += ["--owner-fd", str(self._daemons_end)]
        daemon, about = launch_daemon(argv, path, settings.state, pass_fds=[self._daemons_end])
        return Mount(settings, path, daemon, about)

    def close(self) -> None:
        """Take down what is mounted still, drafts being kept, and remove what was made."""
        os.close(self._our_end)  # from now on the daemons end by themselves
        os.close(self._daemons_end)
        for mount in self._mounts:
            with contextlib.suppress(ArtfsError):
                mount.end()
        for directory in reversed(self._made):
            with contextlib.suppress(OSError):  # somebody has put something there
                directory.rmdir()


@contextlib.contextmanager
def mounts(settings: Settings) -> Iterator[Mounts]:
    """Mounts for the time of a block."""
    made = Mounts(settings)
    try:
        yield made
    finally:
        made.close()
