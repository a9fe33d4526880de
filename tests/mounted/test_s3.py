"""The main job over a bucket: put, mount, draft, sync, umount; and the Python API."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

import artfs as api
from tests.support.faultproxy import FaultProxy
from tests.support.mounts import artfs, mounted, wait_for

pytestmark = pytest.mark.fuse

BIG = random.Random(1).randbytes(36 << 20)  # a pack of three parts, and what is in the next


def test_put_mount_draft_sync_umount(s3_home: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "sub" / "deep").mkdir(parents=True)
    (base / "sub" / "deep" / "small").write_text("small\n")
    (base / "sub" / "run").write_text("#!/bin/sh\n")
    (base / "sub" / "run").chmod(0o755)
    (base / "link").symlink_to("sub/run")
    (base / "big").write_bytes(BIG)
    (base / "empty").touch()
    assert artfs("put", "data", base, "--type", "dataset").stdout == "data:v0\n"
    assert artfs("put", "data", base).stdout == "data:v0 (unchanged)\n"

    with mounted("mount", "--refresh", "0.5", at=tmp_path / "all") as everything:
        there = everything.path / "data"
        assert (there / "v0" / "big").read_bytes() == BIG
        assert (there / "latest" / "sub" / "deep" / "small").read_text() == "small\n"
        assert os.readlink(there / "v0" / "link") == "sub/run"
        assert (there / "v0" / "empty").read_bytes() == b""
        status = os.statvfs(everything.path)
        assert status.f_blocks * status.f_frsize >= len(BIG)

        with mounted("draft", "data", at=tmp_path / "draft") as draft:
            with open(draft.path / "big", "r+b") as file:
                file.seek(20 << 20)
                file.write(b"changed")
            (draft.path / "new").write_text("new\n")
            assert os.statvfs(draft.path).f_bavail > 0
            assert artfs("sync", draft.path).stdout == "data:v1\n"
            (draft.path / "sub" / "deep" / "small").unlink()
            assert draft.umount().stdout == "data:v2\n"

        wait_for(lambda: os.readlink(there / "latest") == "v2", what="the new version")
        assert (there / "v1" / "new").read_text() == "new\n"
        assert not (there / "v2" / "sub" / "deep" / "small").exists()
        with open(there / "v2" / "big", "rb") as big:
            big.seek((20 << 20) - 3)
            assert (
                big.read(13)
                == BIG[(20 << 20) - 3 : 20 << 20]
                + b"changed"
                + BIG[(20 << 20) + 7 : (20 << 20) + 10]
            )

    artfs("alias", "data:v1", "best")
    assert artfs("cat", "data:best", "new").stdout == "new\n"
    artfs("alias", "--delete", "data:best")
    log = json.loads(artfs("--json", "log", "data").stdout)
    assert [version["version"] for version in log] == ["v2", "v1", "v0"]
    assert log[1]["stored"] < 6 << 20


def test_python_api(s3_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with api.init(project="zoo") as run:
        artifact = api.Artifact("animals", type="dataset")
        with artifact.new_file("labels.txt") as file:
            file.write("cat\ndog\n")
        run.log_artifact(artifact, aliases=["best"]).wait()
        folder = run.use_artifact("animals:best").download()
    assert Path(folder, "labels.txt").read_text() == "cat\ndog\n"
    with api.open("zoo/animals:v0", "labels.txt") as text:
        assert text.read() == b"cat\ndog\n"
    with api.mounted("zoo/animals") as path:
        assert (path / "labels.txt").read_text() == "cat\ndog\n"


def test_how_many_requests_it_takes(s3_home: str, s3_proxy: FaultProxy, tmp_path: Path) -> None:
    """Each is a round trip, so they are what to save: the figures are those of the goals."""
    base = tmp_path / "base"
    for number in range(200):
        path = base / f"d{number % 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(5000))
    artfs("put", "data", base)
    (base / "d3" / "f3").write_text("changed")
    s3_proxy.reset()
    artfs("put", "data", base)
    _check_commit(s3_proxy)
    (base / "d3" / "f3").write_text("again")
    artfs("put", "data", base / "d3" / "f3", "--base", "data", "--at", "d3")
    _check_commit(s3_proxy)
    cold = {"XDG_CACHE_HOME": str(tmp_path / "cold")}
    with mounted("mount", "data", at=tmp_path / "mnt", env=cold) as mount:
        assert s3_proxy.counts().total() <= 5
        assert (mount.path / "d3" / "f3").read_text() == "again"
        assert s3_proxy.counts().total() <= 12  # some of them at once: 7 round trips


def _check_commit(proxy: FaultProxy) -> None:
    counts = proxy.counts()
    assert counts["PUT"] + counts["POST"] + counts["DELETE"] <= 6
    assert counts.total() <= 20
    made, read = (
        {r.target for r in proxy.requests() if r.method == method and "/packs/" in r.target}
        for method in ("PUT", "GET")
    )
    assert not made & read, "what was just made is not read back"
    proxy.reset()
