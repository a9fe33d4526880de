"""A draft whose daemon is killed at random instants while programs write, and must lose nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.mounts import Mount, artfs, mounted, wait_for
from tests.support.twin import check_version, here
from tests.support.writers import held
from tests.support.writing import Writer, kept_promises, nearest, wait_until_written, writing

#: What a writer may meet when the daemon dies.
_CUT_OFF = ("Transport endpoint is not connected", "Software caused connection abort")
#: The longest that a daemon lives once the writers have begun.
_LIFE = 0.7


class Ordeal:
    """One draft of artifact `data`, which begins as nothing. `seed` decides what is written and
    when the daemon dies, as far as a clock can."""

    def __init__(self, work: Path, seed: int) -> None:
        self._work = work
        self._seed = seed
        self._at = work / "mnt"
        self._draft = ""
        self._killed: list[Writer] = []
        #: What each directory has held since its writers were cut off.
        self._kept: dict[str, dict[str, bytes | None]] = {}

    def survive(self, rounds: int) -> None:
        """Kill the daemon that often; then commit, and compare the version with the mount."""
        here("init")
        for number in range(rounds):
            with self._mounted() as mount:
                self._live_and_die(mount, number, random.Random(f"{self._seed} {number}"))
        with self._mounted() as mount:
            before = self._work / "before"
            subprocess.run(["cp", "-a", self._at, before], check=True)
            artfs("sync", self._at)
            mount.umount()
        newest = json.loads(here("--json", "log", "data"))[0]["version"]
        check_version(f"data:{newest}", before)
        shutil.rmtree(before)

    @contextlib.contextmanager
    def _mounted(self) -> Iterator[Mount]:
        where = ["--resume", self._draft] if self._draft else ["data", "--new"]
        with mounted("draft", *where, at=self._at, expect_errors=True) as mount:
            self._draft = self._draft or json.loads(here("--json", "drafts"))[0]["draft"]
            self._check()
            yield mount

    def _check(self) -> None:
        for writer in self._killed:
            directory = self._at / writer.name
            problem = kept_promises(writer, directory)
            assert not problem, f"{problem}; {nearest(writer, held(directory))}"
            self._kept[writer.name] = held(directory)
        self._killed = []
        for name, content in self._kept.items():
            assert held(self._at / name) == content, f"{name} has changed, and nobody wrote it"

    def _live_and_die(self, mount: Mount, number: int, rng: random.Random) -> None:
        (daemon,) = mount.daemons
        with writing(self._at, f"{self._seed}.{number}", self._work / "notes") as writers:
            wait_until_written(self._at, writers)
            with _syncing(self._at) if rng.random() < 0.6 else contextlib.nullcontext():
                time.sleep(rng.uniform(0, _LIFE))
                os.kill(daemon, signal.SIGKILL)
            wait_for(lambda: not mount.daemons, what="death of the daemon")
            for writer in writers:
                said = writer.stop()  # nothing, if it was just between two steps
                assert not said or any(text in said for text in _CUT_OFF), f"{writer.name}: {said}"
        mount.umount(check=False)
        self._killed = writers


@contextlib.contextmanager
def _syncing(at: Path) -> Iterator[None]:
    """`artfs sync` goes on meanwhile; what comes of it does not matter."""
    command = [sys.executable, "-m", "artfs", "sync", str(at)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        yield
        process.wait(60)
