"""`add_reference` and what becomes of it, as the documents have it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from pathlib import Path

import boto3
import pytest

import artfs
import artfs as wandb
from artfs.errors import (
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    InvalidValue,
    NotFound,
    SourceChanged,
    SourceRefused,
    UnreadableReference,
    Unsupported,
)
from artfs.repo.repository import Repository
from tests.support.s3server import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.webserver import WebServer
from tests.unit.api.artifacts.contents import local, saved, versions


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A bucket with the objects of the documents."""
    name = f"refs-{secrets.token_hex(6)}"
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    client = session.client("s3", endpoint_url=s3.endpoint)
    client.create_bucket(Bucket=name)
    for key in ("model.h5", "checkpoints/model.h5", "images/cat.png", "images/dog.png"):
        client.put_object(Bucket=name, Key=key, Body=key.encode())
    client.close()
    return name


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("model.h5", None, ["model.h5"]),
        ("checkpoints/model.h5", None, ["model.h5"]),
        ("model.h5", "models/mymodel.h5", ["models/mymodel.h5"]),
        ("images", None, ["cat.png", "dog.png"]),
        ("images", "images", ["images/cat.png", "images/dog.png"]),
    ],
)
def test_construct_an_artifact(
    bucket: str, key: str, name: str | None, expected: list[str]
) -> None:
    artifact = wandb.Artifact("refs", type="dataset")
    added = artifact.add_reference(f"s3://{bucket}/{key}", name=name)
    assert sorted(entry.path for entry in added) == expected
    artifact.save()
    assert sorted(artifact.manifest.entries) == expected
    files = local(artifact.download())
    assert sorted(files) == expected
    assert all(data.decode().endswith(Path(path).name[-6:]) for path, data in files.items())


def test_an_http_link(web: WebServer, work: Path) -> None:
    uri = web.write("file.txt", b"hello")
    artifact = wandb.Artifact("refs", type="dataset")
    (entry,) = artifact.add_reference(uri)
    assert (entry.path, entry.size, entry.ref, entry.ref_target()) == ("file.txt", 5, uri, uri)
    assert entry.extra == {"etag": '"6553f100-5"'}
    run = wandb.init()
    run.log_artifact(artifact).wait()
    run.finish()
    used = wandb.Api().artifact("refs:latest")
    assert used.size == 5
    path = used.get_path("file.txt").download()
    assert (path, Path(path).read_bytes()) == ("./artifacts/refs:v0/file.txt", b"hello")
    assert used.verify()
    with artfs.open("refs:v0", "file.txt", "r") as file:
        assert file.read() == "hello"
    assert artfs.open("refs:v0", "file.txt").seek(-2, os.SEEK_END) == 3
    # Nothing has changed, so there is no new version; then there is.
    again = wandb.Artifact("refs", type="dataset")
    again.add_reference(uri)
    again.save()
    assert versions("refs") == [0]
    web.write("file.txt", b"hello", 1_700_000_005)
    other = wandb.Artifact("refs", type="dataset")
    other.add_reference(uri)
    other.save()
    assert other.version == "v1"
    with pytest.raises(SourceChanged, match="has changed since it was recorded"):
        used.download("elsewhere")
    assert local(work / "elsewhere") == {}
    assert local(other.download()) == {"file.txt": b"hello"}


def test_equal_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be proven to be there is not fetched again."""
    (tmp_path / "f").write_bytes(b"local")
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", str(tmp_path))
    artifact = wandb.Artifact("refs", type="dataset")
    artifact.add_reference((tmp_path / "f").as_uri())
    artifact.save()
    target = Path(artifact.download()) / "f"
    before = target.stat().st_ino
    artifact.download()
    assert target.stat().st_ino == before
    target.write_bytes(b"LOCAL")
    artifact.download()
    assert target.read_bytes() == b"local"


def test_entries_of_other_artifacts(web: WebServer) -> None:
    first = saved("first", a="one", d__b="two")
    artifact = wandb.Artifact("second", type="dataset")
    (entry,) = artifact.add_reference(first.get_path("a"), name="copied/a")
    artifact.add_reference("artfs://first:latest/d")
    assert entry.path == "copied/a"
    assert entry.ref == "artfs://default/default/first:v0/a"
    artifact.save()
    assert local(artifact.download()) == {"copied/a": b"one", "b": b"two"}
    assert not os.path.exists("artifacts/first:v0")
    artifact.download(recursive=True)
    assert local("artifacts/first:v0") == {"a": b"one", "d/b": b"two"}
    # A reference to a reference is to what that one is to.
    third = wandb.Artifact("third", type="dataset")
    (entry,) = third.add_reference(artifact.get_path("copied/a"))
    assert entry.ref == "artfs://default/default/first:v0/a"


def test_without_a_checksum(web: WebServer) -> None:
    uri = web.write("u", b"first")
    artifact = wandb.Artifact("refs", type="dataset")
    (entry,) = artifact.add_reference(uri, checksum=False)
    assert (entry.size, entry.extra) == (None, {})
    artifact.save()
    web.write("u", b"second", 1_700_000_009)
    assert local(artifact.download()) == {"u": b"second"}
    with artfs.open("refs:v0", "u") as file:
        assert (file.size, file.read(), file.seek(2), file.read(2)) == (6, b"second", 2, b"co")


def test_unknown_schemes(work: Path) -> None:
    artifact = wandb.Artifact("refs", type="dataset")
    with pytest.warns(UnreadableReference, match="tracker://run/7: nothing is known") as warned:
        artifact.add_reference("tracker://run/7")
    assert warned[0].filename == __file__
    with pytest.warns(UnreadableReference):
        (entry,) = artifact.add_reference("tracker://run/", name="other")
    assert (entry.path, entry.size, entry.ref) == ("other", None, "tracker://run/")
    artifact.add_file("model.h5")
    artifact.save()
    assert sorted(artifact.manifest.entries) == ["7", "model.h5", "other"]
    assert sorted(local(artifact.download())) == ["model.h5"]
    with pytest.raises(Unsupported, match="nothing is known of"):
        artifact.get_path("7").download()
    with pytest.raises(OSError, match="nothing is known of"):
        artfs.open("refs:v0", "7")


def test_drafts_keep_and_change_references(web: WebServer) -> None:
    uris = {name: web.write(f"d/{name}", name.encode()) for name in ("a", "b", "c")}
    artifact = wandb.Artifact("refs", type="dataset")
    for uri in uris.values():
        artifact.add_reference(uri)
    artifact.save()
    before = len(web.requests)
    draft = artifact.new_draft()
    draft.remove("a")
    with draft.new_file("b") as file:
        file.write("mine")
    draft.save()
    assert len(web.requests) == before
    found = {path: entry.ref for path, entry in draft.manifest.entries.items()}
    assert found == {"b": None, "c": uris["c"]}


def test_wandb_s_manifest(web: WebServer, bucket: str) -> None:
    first = saved("first", a="one")
    artifact = wandb.Artifact("refs", type="dataset")
    http, s3 = web.write("m", b"hello"), f"s3://{bucket}/model.h5"
    artifact.add_reference(http)
    (in_s3,) = artifact.add_reference(s3)
    artifact.add_reference(first.get_path("a"))
    with pytest.warns(UnreadableReference):
        artifact.add_reference("tracker://run/7")
    artifact.save()
    found = artifact.manifest.to_manifest_json()["contents"]
    etag = in_s3.extra["etag"]
    assert found == {
        "7": {"digest": "tracker://run/7", "ref": "tracker://run/7"},
        "a": {
            "digest": base64.b64encode(hashlib.md5(b"one").digest()).decode(), "ref": "artfs://default/default/first:v0/a",
            "size": 3,
        },
        "m": {"digest": "6553f100-5", "ref": http, "extra": {"etag": '"6553f100-5"'}, "size": 5},
        "model.h5": {"digest": etag, "ref": s3, "extra": {"etag": etag}, "size": 8},
    }  # fmt: skip
    json.dumps(found)


def test_what_cannot_be(web: WebServer, bucket: str, tmp_path: Path) -> None:
    artifact = wandb.Artifact("refs", type="dataset")
    add = artifact.add_reference
    with artifact.new_file("taken/inside") as file:
        file.write("x")
    uri = web.write("f", b"x")
    for arguments, error, why in (
        ((7,), InvalidValue, "neither a URI nor an entry"),
        ((tmp_path,), InvalidValue, "neither a URI nor an entry"),
        (("/a/path",), InvalidValue, "is not a URI"),
        ((f"{web.url}/", None, False), InvalidValue, "no name in it"),
        ((f"{web.url}/nothing",), NotFound, "no such object"),
        ((f"{web.url}/closed",), SourceRefused, "403"),
        ((uri, "../f"), InvalidValue, "leads out of the artifact"),
        ((uri, "taken"), InvalidValue, "is a directory in this artifact"),
        ((uri, "taken/inside/more"), InvalidValue, "cannot be a directory"),
        ((uri, None, True, 0), InvalidValue, "allows for no object"),
        ((f"s3://{bucket}/images", None, True, 1), InvalidValue, "more than 1 objects"),
        ((f"s3://{bucket}/nothing",), NotFound, "none below it"),
        (("tracker://",), InvalidValue, "no name in it"),
        (("http://a b\n/",), InvalidValue, "control characters"),
    ):
        with pytest.raises(error, match=why):
            add(*arguments)
    assert list(artifact.manifest.entries) == ["taken/inside"]
    with pytest.raises(ArtifactNotLoggedError, match="is not logged"):
        add(artifact.manifest.entries["taken/inside"])
    with pytest.raises(InvalidValue, match="is no reference"):
        artifact.manifest.entries["taken/inside"].ref_target()
    artifact.save()
    with pytest.raises(ArtifactFinalizedError):
        add(uri)
    Repository.open(str(tmp_path / "other"), tmp_path / "cache", create=True).close()
    elsewhere = wandb.init(store=tmp_path / "other")
    other = wandb.Artifact("other", type="dataset")
    with pytest.raises(InvalidValue, match="in another store"):
        other.add_reference(artifact.get_path("taken/inside"))
    elsewhere.finish()


def test_images_that_lie_elsewhere(web: WebServer) -> None:
    """A value of a reference becomes a reference in the artifact."""
    pytest.importorskip("PIL")
    from PIL import Image as PILImage

    PILImage.new("RGB", (2, 3)).save(web.root / "cat.png")
    artifact = wandb.Artifact("refs", type="dataset")
    artifact.add(wandb.Image(f"{web.url}/cat.png"), "cat")
    artifact.save()
    refs = [entry.ref for entry in artifact.manifest.entries.values()]
    assert f"{web.url}/cat.png" in refs
    image = artifact.get("cat")
    assert isinstance(image, wandb.Image)
    assert image.path is not None
    assert Path(image.path).read_bytes() == (web.root / "cat.png").read_bytes()
