"""What several processes do to one artifact, on a directory and in a bucket; also with Ray."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import artfs
from artfs.errors import Conflict, NotFound
from tests.support.mounts import wait_for
from tests.unit.api.artifacts.contents import made, saved, stored, versions
from tests.unit.api.artifacts.test_samples import OWN, blocks


@pytest.fixture(params=["directory", "s3"], autouse=True)
def _store(request: pytest.FixtureRequest, work: Path) -> None:
    """ARTFS_STORE is a store of this kind."""
    if request.param == "s3":
        request.getfixturevalue("s3_home")


def _write(number: int) -> None:
    with artfs.init(group="race") as run:
        run.upsert_artifact(made("data", **{f"parts/{number}": f"{number}", "same": "s"}))


def _finish(queue: multiprocessing.Queue[str]) -> None:
    with artfs.init(group="race") as run:
        done = run.finish_artifact(made(index="all"))
    queue.put(done.version)


@pytest.mark.slow
def test_racing_processes_make_one_version() -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(n,)) for n in range(6)]
    queue: multiprocessing.Queue[str] = context.Queue()
    finishers = [context.Process(target=_finish, args=(queue,)) for _ in range(3)]
    for processes in (writers, finishers):
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * len(processes)
    assert [queue.get() for _ in finishers] == ["v0"] * 3
    assert versions("data") == [0]
    assert stored("data") == {
        "parts": None, "same": b"s", "index": b"all",
        **{f"parts/{n}": f"{n}".encode() for n in range(6)},
    }  # fmt: skip
    with artfs.init(group="race") as run, pytest.raises(Conflict, match="was finished by run"):
        run.upsert_artifact(made(late="l"))


def test_two_writers_of_one_path() -> None:
    for name, text in (("w1", "1"), ("w2", "2")):
        with artfs.init(group="g", id=name) as run:
            run.upsert_artifact(made(f=text))
    with artfs.init(group="g") as run:
        done = run.finish_artifact(made(g="3"))
        with pytest.raises(Conflict, match="f by runs w1, w2"):
            done.wait()
    with artfs.init(group="g", id="w2") as run:
        run.upsert_artifact(made(f="1"))
        run.finish_artifact(made(g="3"))
    assert stored("data") == {"f": b"1", "g": b"3"}


def test_labels_links_and_deletion() -> None:
    one = saved(a="1")
    one.metadata["n"] = 1
    one.tags = ["good"]
    one.save()
    linked = one.link("models/best", aliases=["top"])
    assert linked.metadata == {"n": 1}
    assert one.link("models/best").version == "v0"
    found = artfs.Api().artifact("models/best:top")
    assert (found.source_name, found.tags) == ("data:v0", ["good"])
    with pytest.raises(Conflict, match="has a link in default/models/best:v0"):
        one.delete()
    found.unlink()
    assert one.link("models/best").version == "v1"
    one.delete(delete_aliases=True)
    for ref in ("data", "models/best:v1"):
        with pytest.raises(NotFound):
            artfs.Api().artifact(ref)


@pytest.fixture
def _ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray keeps to 127.0.0.1 and to a directory of its own, and is gone afterwards."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install 'artfs[ray]'")
    # Not below tmp_path: the paths of sockets have 107 bytes at most.
    directory = tempfile.mkdtemp(prefix="artfs-ray-", dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", directory)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # one machine, by loopback
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield
    wait_for(lambda: not _processes_with(directory), 30, "end of Ray's processes")
    shutil.rmtree(directory)


def _processes_with(word: str) -> list[str]:
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            environ = (proc / "environ").read_bytes()
        except OSError:  # gone, or of another user
            continue
        if os.fsencode(word) in environ and proc.name != str(os.getpid()):
            found.append(proc.name)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_the_sample_of_the_documents_on_ray(work: Path) -> None:
    [sample] = [code for code in blocks(OWN) if "ray.init()" in code]
    (work / "sample.py").write_text(sample.replace("import wandb", "import artfs as wandb"))
    done = subprocess.run(
        [sys.executable, "sample.py"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert versions("parallel-artifact") == [0]
    files = stored("parallel-artifact")
    assert sorted(files) == [
        "distributed_table.partitioned-table.json", "parts",
        *(f"parts/table_{n}.table.json" for n in range(5)),
    ]  # fmt: skip
    table = artfs.Api().artifact("parallel-artifact").get("distributed_table")
    assert isinstance(table, artfs.PartitionedTable)
    assert sorted(row for _, row in table.iterrows()) == [[n, n * 2, 2**n] for n in range(5)]
