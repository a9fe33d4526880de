"""The filesystems compared. A peer says why it cannot run, stores a data set, and shows one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run to the end; output goes to a file, as a daemon would keep a pipe open."""
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(
            command, stdout=log, stderr=log, env={**os.environ, **(env or {})}, check=False
        )
        if done.returncode:
            log.seek(0)
            raise RuntimeError(f"{command} ended with {done.returncode}: {os.fsdecode(log.read())}")


def is_mounted(point: Path) -> bool:
    table = Path("/proc/self/mountinfo").read_text()
    return any(line.split()[4] == str(point) for line in table.splitlines())


def peak_memory(point: Path) -> int:
    """Bytes at most held by any process whose command line names the mount point."""
    peak = 0
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(point) in (proc / "cmdline").read_bytes().split(b"\0"):
                for line in (proc / "status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        peak = max(peak, int(line.split()[1]) * 1024)
    return peak


class Peer:
    """One filesystem. `work` is a folder of its own, on the disk where the data sets are."""

    name = ""

    def __init__(self, base: Path, work: Path) -> None:
        self.base = base
        self.work = work / self.name
        self.work.mkdir(parents=True)
        self.peak = 0

    def missing(self) -> str:
        """Why this peer cannot be measured here, or an empty string."""
        return ""

    def stores(self, dataset: str) -> dict[str, list[list[str | Path]]]:
        """Ways to store the data set below `work`: label -> commands, timed together."""
        return {}

    def forget(self) -> None:
        """Remove what was stored, so that the next repetition stores it anew."""
        shutil.rmtree(self.work)
        self.work.mkdir()

    def prepare(self, dataset: str) -> None:
        """Make ready, untimed, what `mount_command` shows."""

    def mount_command(self, dataset: str, point: Path) -> Sequence[str | Path]:
        """Shows a data set; not called of a peer that is mounted otherwise."""
        return []

    #: The steps of showing a data set that it takes part in.
    reads: Container[str] = ("mount", "walk", "read", "random", "seq")
    #: Whether there is a folder to write to.
    is_writable = False

    def writable_command(self, point: Path) -> Sequence[str | Path]:
        """Shows an empty folder that can be written to."""
        return []

    def unmount_command(self, point: Path, *, writable: bool) -> Sequence[str | Path]:
        """Takes away what either of them shows."""
        return ["fusermount3", "-u", point]

    @contextlib.contextmanager
    def mounted(self, dataset: str) -> Iterator[tuple[Path, float]]:
        """The data set's folder, and the seconds from the command until its first listing."""
        with self._shown(self.mount_command(dataset, self.work / "mnt"), False) as found:
            yield found

    @contextlib.contextmanager
    def writable(self) -> Iterator[Path]:
        """A folder to write to, empty."""
        with self._shown(self.writable_command(self.work / "mnt"), True) as (point, _):
            yield point

    @contextlib.contextmanager
    def _shown(self, command: Sequence[str | Path], writable: bool) -> Iterator[tuple[Path, float]]:
        point = self.work / "mnt"
        point.mkdir(exist_ok=True)
        try:
            start = time.perf_counter()
            run(*command)
            while not is_mounted(point):
                time.sleep(0.001)
                if time.perf_counter() - start > 30:
                    raise RuntimeError(f"{self.name}: not mounted after 30 s")
            os.listdir(point)
            yield point, time.perf_counter() - start
            self.peak = max(self.peak, peak_memory(point))
        finally:
            self._unmount(point, writable=writable)

    def _unmount(self, point: Path, *, writable: bool) -> None:
        if is_mounted(point):
            with contextlib.suppress(RuntimeError):
                run(*self.unmount_command(point, writable=writable))
        if is_mounted(point):
            run("fusermount3", "-uz", point)


class Native(Peer):
    """Plain files on the disk below."""

    name = "native"
    is_writable = True

    def stores(self, dataset: str) -> dict[str, list[list[str | Path]]]:
        copy: list[str | Path] = ["cp", "-r", self.base / dataset, self.work / dataset]
        if dataset == "small":
            return {"store": [copy, ["sync"]]}
        # The last is what every tool pays whose data is to be there after a reset of the machine.
        durably: list[str | Path] = [
            "dd", "bs=8M", "conv=fsync", f"if={self.base / dataset / 'big.bin'}",
            f"of={self.work / 'big.bin'}",
        ]  # fmt: skip
        return {"store": [copy], "store + sync": [copy, ["sync"]], "store fsync": [durably]}

    @contextlib.contextmanager
    def mounted(self, dataset: str) -> Iterator[tuple[Path, float]]:
        yield self.base / dataset, 0.0

    @contextlib.contextmanager
    def writable(self) -> Iterator[Path]:
        folder = self.work / "written"
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)


class Bindfs(Peer):
    """The least that a passthrough in C costs."""

    name = "bindfs"
    is_writable = True

    def missing(self) -> str:
        return "" if shutil.which("bindfs") else "not installed; apt-get install bindfs"

    def mount_command(self, dataset: str, point: Path) -> Sequence[str | Path]:
        return ["bindfs", "--no-allow-other", self.base / dataset, point]

    def writable_command(self, point: Path) -> Sequence[str | Path]:
        folder = self.work / "written"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return ["bindfs", "--no-allow-other", folder, point]


class Null(Peer):
    """What nothing but FUSE costs, see `null.py`."""

    name = "null"
    reads = ("walk", "read")
    is_writable = True

    def mount_command(self, dataset: str, point: Path) -> Sequence[str | Path]:
        return [*self.writable_command(point), self.base / dataset]

    def writable_command(self, point: Path) -> Sequence[str | Path]:
        return [sys.executable, Path(__file__).with_name("null.py"), point]


class Squashfuse(Peer):
    """A read-only packed filesystem in C, on libfuse's path-based interface.

    Its time-outs are raised: with the default of one second a walk of 20,000 files outlives what
    the kernel remembers of it, and no walk is ever warm.
    """

    name = "squashfuse"
    options: Sequence[str] = ("-o", "entry_timeout=3600,attr_timeout=3600")

    def missing(self) -> str:
        if not shutil.which(self.name):
            return "not installed; apt-get install squashfuse"
        return "" if shutil.which("mksquashfs") else "no mksquashfs; apt-get install squashfs-tools"

    def _mksquashfs(self, dataset: str, image: Path) -> list[str | Path]:
        return ["mksquashfs", self.base / dataset, image, "-noappend", "-quiet", "-no-progress"]

    def stores(self, dataset: str) -> dict[str, list[list[str | Path]]]:
        return {"store": [self._mksquashfs(dataset, self.work / f"{dataset}.sqfs")]}

    def prepare(self, dataset: str) -> None:
        run(*self._mksquashfs(dataset, self.work / f"{dataset}.sqfs"))

    def mount_command(self, dataset: str, point: Path) -> Sequence[str | Path]:
        return [self.name, *self.options, self.work / f"{dataset}.sqfs", point]


class SquashfuseLL(Squashfuse):
    """The same on libfuse's inode-based interface, whose time-outs are endless anyway."""

    name = "squashfuse_ll"
    options = ()

    def stores(self, dataset: str) -> dict[str, list[list[str | Path]]]:
        return {}


class Artfs(Peer):
    """artfs of this clone, with a store of its own."""

    name = "artfs"
    is_writable = True

    def __init__(self, base: Path, work: Path) -> None:
        super().__init__(base, work)
        for kind in ("state", "cache", "config", "data"):  # the default store is made at first use
            os.environ[f"XDG_{kind.upper()}_HOME"] = str(work / "home" / kind)

    def _artfs(self, *args: str | Path) -> list[str | Path]:
        return [sys.executable, "-m", "artfs", *args]

    def missing(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "artfs", "--help"], capture_output=True, check=False
        )
        return "" if done.returncode == 0 else "does not run yet (python -m artfs --help fails)"

    def stores(self, dataset: str) -> dict[str, list[list[str | Path]]]:
        return {"store": [self._artfs("put", dataset, self.base / dataset)]}

    def prepare(self, dataset: str) -> None:
        run(*self._artfs("put", dataset, self.base / dataset))

    def mount_command(self, dataset: str, point: Path) -> Sequence[str | Path]:
        return self._artfs("mount", f"{dataset}:v0", point)

    def writable_command(self, point: Path) -> Sequence[str | Path]:
        return self._artfs("draft", "--new", "written", point)

    def unmount_command(self, point: Path, *, writable: bool) -> Sequence[str | Path]:
        return self._artfs("umount", point, *(["--discard"] if writable else []))

    def sync(self, root: Path) -> None:
        """Commit the draft mounted there."""
        run(*self._artfs("sync", root))

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """The root of a new draft over nothing."""
        point = self.work / "draft"
        point.mkdir()
        try:
            run(*self._artfs("draft", "--new", "drafted", point))
            yield point
        finally:
            self._unmount(point, writable=True)
            self.forget()


ALL = (Native, Null, Bindfs, Squashfuse, SquashfuseLL, Artfs)
