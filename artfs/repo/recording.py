"""A run that records itself as it goes on, in the order of artfs-format(5), WRITE ORDER, Runs.

Nothing is written for a run that uses and makes nothing. What it uses and makes is written in parts
of many versions each, so that a run of many versions costs no more for each of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from artfs.errors import ArtfsError
from artfs.format.record import VersionRecord
from artfs.format.runs import (
    Input,
    Output,
    RunArtifacts,
    RunRecord,
    RunSaid,
    encode_files,
    in_utf8,
    shortened,
)
from artfs.repo.process import host, this_process, user
from artfs.repo.records import now
from artfs.repo.runs import Runs
from artfs.types import ArtifactKey, RunKey

log = logging.getLogger(__name__)

#: Seconds that versions made may go unwritten while more of them are being made.
_PATIENCE = 1.0


class Recorder:
    """Records one run. Thread-safe: what is called at once is done one after another."""

    def __init__(
        self, runs: Runs, key: RunKey, *, name: str = "", group: str = "", job_type: str = "",
        command: list[str] | None = None, joins: bool = False,
        said: Callable[[], RunSaid] | None = None,
    ) -> None:  # fmt: skip
        """`joins`: another process has begun the run, and ends it. `said`: what the run says of
        itself, asked for when it begins to be recorded and when it ends."""
        self.key = key
        self._said = said or (lambda: RunSaid(name=in_utf8(name)))
        self._joins = joins
        self._runs = runs
        self._record = RunRecord(
            id=key.id, group=in_utf8(group), job_type=in_utf8(job_type), started=now(),
            command=shortened(command or []),
        )  # fmt: skip
        self._lock = threading.Lock()
        self._has_begun = False
        self._next_part = 0
        self._used: list[Input] = []
        self._made: list[Output] = []
        self._written_at = 0.0
        self._complained = False

    def used(
        self, artifact: ArtifactKey, version: VersionRecord, use_as: str = "", files: bytes = b""
    ) -> None:
        """The run uses a version, `files` of it if that is known, a bitmap of ordinals; written by
        the next `flush`."""
        key, number = origin(artifact, version)
        used = Input(
            artifact=_full(key), version=number, digest=version.digest, use_as=use_as,
            files=encode_files(files) if files else "",
        )  # fmt: skip
        with self._lock:
            self._used.append(used)

    def made(self, artifact: ArtifactKey, version: VersionRecord, made: bool) -> None:
        """The run has made a version, or (not `made`) found that it has this content already;
        written by the next `flush`."""
        new = Output(
            artifact=_full(artifact), version=version.version, digest=version.digest, made=made
        )
        with self._lock:
            self._made.append(new)

    def begin(self) -> None:
        """Record that there is such a run, with what it has used: before a version names it.

        Raises `Unreachable`, `OSError`.
        """
        with self._lock:
            self._begin()
            if self._used:
                self._write()

    def flush(self, more_follows: Callable[[], bool] = lambda: False) -> None:
        """Write what has not been written; but if more follows, only once a second.

        A failure is logged, once, and what was to be written is written next time.
        """
        with self._lock:
            if not (self._used or self._made):
                return
            if more_follows() and time.monotonic() - self._written_at < _PATIENCE:
                return
            self._or_complain(self._write)

    def end(self, exit: int | None) -> bool:  # noqa: A002  # the word of the format
        """The run is over, with an exit status if there is one. Fails as `flush` does; whether it
        has not."""
        with self._lock:
            if self._has_begun or self._used or self._made:
                return self._or_complain(lambda: self._end(exit))
        return True

    def _or_complain(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except (ArtfsError, OSError) as error:
            if not self._complained:
                log.warning("run %s is not recorded as it should be: %s", self.key.id, error)
                self._complained = True
            return False
        return True

    def _begin(self) -> None:
        if self._has_begun:
            return
        if self._joins:
            self._next_part = self._runs.next_part(self.key)
            self._has_begun = True
            return
        new = msgspec.structs.replace(
            self._said().on(self._record), host=host(), user=user(), process=this_process()
        )
        if self._runs.begin(self.key, new) is not new:
            self._next_part = self._runs.next_part(self.key)
        self._has_begun = True

    def _write(self) -> None:
        self._begin()
        self._runs.mark_uses(self.key, [(used.key, used.version) for used in self._used])
        part = RunArtifacts(self._used, self._made)
        self._next_part = self._runs.add(self.key, part, self._next_part)
        self._used, self._made = [], []
        self._written_at = time.monotonic()

    def _end(self, exit: int | None) -> None:  # noqa: A002  # the word of the format
        if self._used or self._made:
            self._write()
        self._runs.end(self.key, exit, self._said())


def origin(artifact: ArtifactKey, version: VersionRecord) -> tuple[ArtifactKey, int]:
    """Whose uses are those of a version: its own, or of a link, its source's."""
    if version.source is not None:
        return version.source.key, version.source.version
    return artifact, version.version


def _full(artifact: ArtifactKey) -> str:
    return f"{artifact.entity}/{artifact.project}/{artifact.name}"
