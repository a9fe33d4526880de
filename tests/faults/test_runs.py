"""Whenever a process that records its run dies: what the store says of the run is true."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import pytest

from artfs.errors import Unreachable
from artfs.format.record import VersionRecord
from artfs.format.runs import RunArtifacts
from artfs.repo.recording import Recorder
from artfs.repo.repository import Repository
from artfs.repo.runs import Runs
from artfs.store.directory import DirectoryStore
from artfs.types import ArtifactKey, RunKey
from tests.support.deadly import die_at
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import KEY, commit_tree, memory_repository

RUN = RunKey("default", "other", "r")
OUT = ArtifactKey("default", "default", "out")


def run_in(repository: Repository) -> None:
    """Use a version, make one of another artifact, and end."""
    recorder = Recorder(repository.runs, RUN, name="the run")
    recorder.used(KEY, repository.catalog.version(KEY, 0), "training")
    recorder.flush()
    recorder.begin()
    done = commit_tree(repository, {b"f": b"1"}, OUT, run=str(RUN))
    recorder.made(OUT, done.record, done.changed)
    recorder.flush()
    recorder.end(0)


def check(repository: Repository) -> tuple[int, ...]:
    """Whatever names something, it is there. Returns how far the run got."""
    runs, catalog = repository.runs, repository.catalog
    begun = runs.list(RUN.entity, RUN.project)
    users = runs.users(KEY, 0)
    versions = catalog.versions(OUT)
    found = runs.artifacts(RUN) if begun else RunArtifacts()
    assert set(users) <= set(begun) <= {RUN}
    for number in versions:
        assert catalog.version(OUT, number).run == str(RUN)
        assert [str(used) for used in found.inputs] == ["animals:v0"]
        assert users == [RUN]
    assert [output.version for output in found.outputs] == versions[: len(found.outputs)]
    ended = bool(begun and runs.get(RUN).ended)
    assert not ended or (len(found.outputs), found.outputs[0].made) == (1, True)
    counts = len(begun), len(users), len(found.inputs), len(versions), len(found.outputs)
    return (*counts, ended)


@pytest.mark.slow
def test_killed_at_every_step(tmp_path: Path) -> None:
    made = 0

    def fresh() -> tuple[Path, Path]:
        nonlocal made
        made += 1
        root, cache = tmp_path / f"store{made}", tmp_path / f"cache{made}"
        with memory_repository(cache, DirectoryStore.create(root)) as repository:
            commit_tree(repository, {b"old": b"1"})
        return root, cache

    def run(root: Path, cache: Path) -> None:
        with memory_repository(cache, DirectoryStore(root)) as repository:
            run_in(repository)

    root, cache = fresh()
    steps = die_at(None, root, functools.partial(run, root, cache))
    seen = set()
    for fatal in range(1, steps + 1):
        root, cache = fresh()
        die_at(fatal, root, functools.partial(run, root, cache))
        with memory_repository(cache, DirectoryStore(root)) as repository:
            seen.add(check(repository))
            again = Recorder(repository.runs, RUN)  # the same run goes on
            again.begin()
            again.end(0)
            assert repository.runs.get(RUN).exit == 0
    windows = {
        (0, 0, 0, 0, 0, False), (1, 0, 0, 0, 0, False), (1, 1, 0, 0, 0, False),
        (1, 1, 1, 0, 0, False), (1, 1, 1, 1, 0, False), (1, 1, 1, 1, 1, False),
        (1, 1, 1, 1, 1, True),
    }  # fmt: skip
    assert seen == windows, "every window that artfs-format(5) names, and no other"


@pytest.mark.parametrize("method", ["put_if_absent", "compare_and_set", "read_record"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_every_call_fails_once(
    tmp_path: Path, method: str, after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What failed is done by the next try, and a lost answer makes nothing twice."""
    with memory_repository(tmp_path / "dry") as repository:
        done = commit_tree(repository, {b"old": b"1"})
        store = FaultyStore(repository.store)
        record_all(Recorder(Runs(store), RUN), done.record)
    assert store.calls[method] >= 2
    for nth in range(1, store.calls[method] + 1):
        with memory_repository(tmp_path / f"cache{nth}") as repository:
            done = commit_tree(repository, {b"old": b"1"})
            store = FaultyStore(repository.store)
            store.fail(method, nth, Unreachable("store", "does not answer"), after)
            record_all(Recorder(Runs(store), RUN), done.record)
            store.verify_all_hit()
            found = repository.runs.artifacts(RUN)
            assert [str(version) for version in found.inputs] == ["animals:v0"]
            assert [str(version) for version in found.outputs] == ["out:v0"]
            assert repository.runs.users(KEY, 0) == [RUN]
            assert repository.runs.get(RUN).exit == 0
    assert "does not answer" in caplog.text


def record_all(recorder: Recorder, version: VersionRecord) -> None:
    """Record a run, trying twice what fails loudly or not."""
    recorder.used(KEY, version)
    for _ in range(2):
        recorder.flush()
    for _ in range(2):
        with contextlib.suppress(Unreachable):
            recorder.begin()
    recorder.made(OUT, version, True)
    for _ in range(2):
        recorder.flush()
    for _ in range(2):
        recorder.end(0)
