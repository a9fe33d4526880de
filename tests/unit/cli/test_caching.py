"""cache and warm, over a store that stands for a remote one."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfs.repo import repository
from artfs.store.directory import DirectoryStore
from tests.support.remote import RemoteStore
from tests.unit.cli.conftest import Run


@pytest.fixture
def far(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    """A store with `data:v0`, a directory of small files and one file of many chunks."""
    source = home / "source"
    (source / "many").mkdir(parents=True)
    for n in range(100):
        (source / "many" / f"f{n:03}").write_bytes(b"%d " % n * 500)
    (source / "big").write_bytes(bytes(range(256)) * 4000 + b"end" * 100_000)
    run("init")
    run("put", "data", source)
    store = RemoteStore(DirectoryStore(home / "store"))
    monkeypatch.setattr(repository, "open_store", lambda *_, **__: store)
    return store


def test_warm_fetches_once_and_then_nothing_is_asked_of_the_packs(
    far: RemoteStore, run: Run
) -> None:
    assert run("--json", "warm", "data").document == {
        "ref": "data:latest", "files": 101, "bytes": run("--json", "show", "data").document["size"],
    }  # fmt: skip
    asked = len(far.ranges)
    assert asked < 8
    run("warm", "data", "many", "big")
    assert run("cat", "data", "many/f007").stdout == b"7 " * 500
    assert len(far.ranges) == asked


def test_warm_of_a_path_leaves_the_rest(far: RemoteStore, run: Run) -> None:
    assert run("--json", "warm", "data", "many/f001").document["files"] == 1
    assert run("warm", "data", "none", status=3).stderr.startswith("artfs: data:latest/none: ")


def test_what_does_not_fit_is_refused(far: RemoteStore, run: Run) -> None:
    done = run("--cache-size", "1M", "warm", "data", status=2)
    assert "the cache takes 1.0 MiB" in done.stderr
    assert "no size" in run("--cache-size", "big", "warm", "data", status=2).stderr


def test_a_directory_needs_no_warming(home: Path, run: Run) -> None:
    run("init")
    run("put", "data", __file__)
    assert "needs no cache" in run("warm", "data", status=2).stderr


def test_cache_info_and_clean(far: RemoteStore, run: Run) -> None:
    run("warm", "data")
    document = run("--json", "--cache-size", "3G", "cache", "info").document
    [store] = document["stores"]
    assert document["limit"] == 3 << 30
    assert document["bytes"] == store["bytes"] > 1000
    assert store["fetched"] == sum(info.size for info in far.list("packs/"))
    assert store["requests"] >= len(far.ranges)
    assert store["store"] in run("cache", "info").text
    assert run("--json", "cache", "clean", "--store-id", "other").document["freed"] == 0
    assert run("--json", "cache", "clean").document["freed"] == store["bytes"]
    assert run("--json", "cache", "info").document["bytes"] == 0


def test_of_the_next_version_only_what_differs_is_fetched(
    far: RemoteStore, run: Run, home: Path
) -> None:
    run("warm", "data")
    (home / "source" / "many" / "f050").write_bytes(b"changed" * 100)
    run("put", "data", home / "source")
    before, packs = len(far.ranges), len(list(far.list("packs/")))
    run("warm", "data:v1")
    assert run("cat", "data:v1", "many/f050").stdout == b"changed" * 100
    new = far.ranges[before:]
    assert packs == 4
    assert len({key for key, _, _ in new}) == 2, "the packs of chunks and nodes that v1 added"
    assert len(new) <= 3
