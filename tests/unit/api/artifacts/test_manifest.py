"""W&B's manifest of a version is the one that the wandb package makes of the same files."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from types import ModuleType

import boto3
import pytest

from artfs import Artifact, Table
from tests.support.s3server import BUCKET, S3Server
from tests.support.webserver import WebServer
from tests.unit.api.artifacts.contents import saved
from tests.unit.repo.trees import noise


def tree(root: Path) -> None:
    """All kinds of files, with names whose order depends on how it is told."""
    files = {
        "a.txt": b"text", "sub/b": b"", "sub-x": b"1", "sub.y": b"2", "sub0": b"3", "é": b"4",
        "sub/deep/big": noise(3 << 20), "Z": b"5", "\U0001f431": b"cat", "sub/\uffee": b"6",
    }  # fmt: skip
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "empty").mkdir()
    (root / "link").symlink_to("sub/deep/big")
    (root / "sub/up").symlink_to("../a.txt")
    (root / "dir-link").symlink_to("sub/deep")


def added() -> Artifact:
    Path("tree").mkdir()
    tree(Path("tree"))
    artifact = Artifact("data", "dataset")
    artifact.add_dir("tree")
    return artifact


def test_manifest_and_digest_are_those_of_wandb(wandb: ModuleType) -> None:
    ours = added()
    theirs = wandb.Artifact("data", "dataset")
    theirs.add_dir("tree")
    expected = theirs.manifest.to_manifest_json()
    assert ours.manifest.to_manifest_json() == expected
    assert ours.manifest.digest() == theirs.digest
    ours.save()
    assert ours.manifest.to_manifest_json() == expected
    assert list(expected["contents"]) != sorted(expected["contents"])  # order is not told
    assert list(ours.manifest.to_manifest_json()["contents"]) == sorted(expected["contents"])


def test_the_digest_is_what_wandb_said() -> None:
    """Wandb 0.30, where it is not installed."""
    assert added().manifest.digest() == "b37b624c093c97d5702790fc1d02e8d4"


def test_values_have_the_digests_that_wandb_has(wandb: ModuleType) -> None:
    rows = [[1, "x"], [2, "ü"]]
    theirs = wandb.Artifact("data", "dataset")
    theirs.add(wandb.Table(["a", "b"], rows), "t")
    ours = Artifact("data", "dataset")
    ours.add(Table(["a", "b"], rows), "t")
    assert ours.manifest.to_manifest_json() == theirs.manifest.to_manifest_json()
    assert ours.manifest.digest() == theirs.digest
    theirs._tmp_dir.cleanup()


# Sockets that wandb leaves open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::artfs.UnreadableReference")
def test_references_have_the_digests_that_wandb_has(
    wandb: ModuleType, web: WebServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", str(Path.cwd()))
    base = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    client = boto3.client("s3")
    for name in ("a.bin", "in/b c#?.bin"):
        key = f"{base.rpartition('/')[2]}/{name}"
        client.put_object(Bucket=BUCKET, Key=key, Body=name.encode())
    client.close()
    page = web.write("page.txt", b"a page")
    root = page.rpartition("/")[0]
    Path("dir/sub").mkdir(parents=True)
    Path("dir/sub/f").write_bytes(b"f")
    uris = {
        "etag": page, "undated": f"{root}/undated/page.txt", "bare": f"{root}/bare/page.txt",
        "object": f"{base}/a.bin", "prefix": f"{base}/in", "unknown": "tracker://run/7?x=1#y",
        "file": Path("dir/sub/f").absolute().as_uri(), "dir": Path("dir").absolute().as_uri(),
    }  # fmt: skip
    theirs, ours = wandb.Artifact("data", "dataset"), Artifact("data", "dataset")
    for artifact in (theirs, ours):
        for name, uri in uris.items():
            artifact.add_reference(uri, name=name)
        artifact.add_reference(page, name="unchecked", checksum=False)
    assert ours.manifest.to_manifest_json() == theirs.manifest.to_manifest_json()
    assert ours.manifest.digest() == theirs.digest


def test_links_that_lead_nowhere_or_in_circles() -> None:
    artifact = saved(d__x="x")
    Path("links/in").mkdir(parents=True)
    for name, target in {
        "none": "nothing", "out": "../../etc/passwd", "root": "/none/passwd", "self": "self",
        "in/up": "..", "in/here": ".", "in/beside": "../d",
    }.items():  # fmt: skip
        (Path("links") / name).symlink_to(target)
    draft = artifact.new_draft()
    draft.add_dir("links")
    draft.save()
    assert sorted(draft.manifest.to_manifest_json()["contents"]) == ["d/x", "in/beside/x"]


def test_names_that_are_not_utf8() -> None:
    Path("raw").mkdir()
    Path(os.fsdecode(b"raw/\xff")).write_bytes(b"x")
    artifact = Artifact("data", "dataset")
    artifact.add_dir("raw")
    document = artifact.manifest.to_manifest_json()
    assert list(json.loads(json.dumps(document))["contents"]) == ["\udcff"]
    assert len(artifact.manifest.digest()) == 32
