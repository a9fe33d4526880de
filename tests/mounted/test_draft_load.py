"""Versions made while several programs write without a pause."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.mounts import artfs, mounted
from tests.support.twin import check_version, here
from tests.support.writers import held
from tests.support.writing import (
    Span,
    Writer,
    common_instant,
    nearest,
    spans_of,
    wait_until_written,
    writing,
)

pytestmark = [pytest.mark.fuse, pytest.mark.slow]

_SYNCS = 10


def newest() -> int:
    """The number of the newest version, -1 if there is none."""
    records = json.loads(here("--json", "log", "data"))
    return max((int(record["version"][1:]) for record in records), default=-1)


def sync(at: Path, by_program: bool) -> Span:
    """Make a version, by either command; from when to when that took."""
    start = time.monotonic_ns()
    if by_program:
        subprocess.run(["sync", at], check=True)
    else:
        artfs("sync", at)
    return Span(start, time.monotonic_ns())


def check(version: int, within: Span, writers: list[Writer], into: Path) -> None:
    """A version holds what every writer had written at one and the same instant of the sync."""
    directory = into / f"v{version}"
    here("get", f"data:v{version}", directory)
    spans = []
    for writer in writers:
        tree = held(directory / writer.name)
        found = spans_of(writer, tree, within)
        assert found, (
            f"v{version}: {writer.name} was at no time of {within}: {nearest(writer, tree)}"
        )
        spans.append(found)
    assert common_instant(spans), f"v{version} holds no one instant: {spans}"


def test_every_version_is_one_instant(home: Path, tmp_path: Path) -> None:
    at, notes = tmp_path / "mnt", tmp_path / "notes"
    here("init")
    made: dict[int, Span] = {}
    with mounted("draft", "data", "--new", at=at) as mount:
        with writing(at, 1, notes) as writers:
            wait_until_written(at, writers)
            for n in range(_SYNCS):
                span = sync(at, by_program=n % 3 == 2)
                made[newest()] = span
            assert [writer.stop() for writer in writers] == [""] * len(writers)
        assert sorted(made) == list(range(_SYNCS)), "every sync found something new"
        for version, span in made.items():
            check(version, span, writers, tmp_path)
        for writer in writers:
            *_, (_, _, model, _) = writer.states()
            assert held(at / writer.name) == model.paths
        last = tmp_path / "last"
        subprocess.run(["cp", "-a", at, last], check=True)
        assert mount.umount().stdout.startswith("data:v")
    check_version(f"data:v{newest()}", last)
