"""Artifacts that refer to entries of others: values there, and what is downloaded with them."""

from __future__ import annotations

import gc
import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import artfs
from artfs import Artifact, Image, JoinedTable, PartitionedTable, Table
from artfs.errors import NotFound, SourceChanged, UnreadableReference
from tests.support.webserver import WebServer
from tests.unit.api.artifacts.contents import local, saved

np = pytest.importorskip("numpy")
pytest.importorskip("PIL.Image")


def picture() -> Image:
    return Image(np.full((2, 3, 3), 7, np.uint8))


@pytest.fixture(autouse=True)
def first(work: Path) -> Artifact:
    """Tables in `first:v0`, one with an image."""
    artifact = Artifact("first", "dataset")
    artifact.add(Table(["a", "i"], [[1, picture()]]), "in/one")
    artifact["two"] = Table(["a"], [[1], [2]])
    artifact.save()
    return artifact


def test_a_value_of_another_artifact() -> None:
    artifact = Artifact("second", "dataset")
    artifact.add_reference("artfs://first:v0/in/one.table.json", "mine.table.json")
    artifact.save()
    value = artfs.Api().artifact("second")["mine"]
    assert value == Table(["a", "i"], [[1, picture()]])
    assert isinstance(value, Table)
    assert value.data[0][1].path.is_file()  # whose name is one of the other artifact


def test_tables_of_another_artifact_in_others() -> None:
    artifact = Artifact("second", "dataset")
    artifact.add_reference("artfs://first:v0/in", "parts")
    artifact.add_reference("artfs://first:v0/two.table.json", "two.table.json")
    artifact["whole"] = PartitionedTable("parts")
    artifact["joined"] = JoinedTable("parts/one.table.json", "two.table.json", "a")
    artifact.save()
    whole, joined = artifact["whole"], artifact["joined"]
    assert isinstance(whole, PartitionedTable)
    assert [row for _, row in whole.iterrows()] == [[1, picture()]]
    assert isinstance(joined, JoinedTable)
    assert joined.table2 == Table(["a"], [[1], [2]])


def test_media_that_lie_elsewhere(web: WebServer) -> None:
    image = picture()
    uri = web.write("api/cat.png", image.path.read_bytes())
    artifact = Artifact("second", "dataset")
    artifact["cat"] = Image(uri, caption="elsewhere")
    artifact.save()
    [media] = [path for path in artifact.manifest.entries if path.startswith("media/")]
    assert media.endswith("/cat.png")
    value = artfs.Api().artifact("second")["cat"]
    assert isinstance(value, Image)
    assert value.path.read_bytes() == image.path.read_bytes()
    missing = Artifact("second", "dataset")
    with pytest.raises(NotFound):
        missing["dog"] = Image(f"{web.url}/api/dog.png")
    assert list(missing.manifest.entries) == []


def test_the_manifest_of_wandb_has_references(web: WebServer, wandb: ModuleType) -> None:
    uris = {
        "etag": web.write("api/a.bin", b"a" * 1000),
        "no etag": f"{web.url}/undated/api/a.bin",
        "unknown": "weird://host/c",
    }
    ours = Artifact("second", "dataset")
    for name, uri in uris.items():
        with pytest.warns(UnreadableReference) if name == "unknown" else nullcontext():
            ours.add_reference(uri, name)
    ours.add_reference(uris["etag"], "unchecked", checksum=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # connections that wandb leaves open
        expected, digest = said_by(wandb, uris)
        gc.collect()
    assert ours.manifest.to_manifest_json() == expected
    assert ours.manifest.digest() == digest


def said_by(wandb: ModuleType, uris: dict[str, str]) -> tuple[dict[str, Any], str]:
    artifact = wandb.Artifact("second", "dataset")
    for name, uri in uris.items():
        artifact.add_reference(uri, name)
    artifact.add_reference(uris["etag"], "unchecked", checksum=False)
    return artifact.manifest.to_manifest_json(), artifact.digest


def test_entries_of_other_artifacts_have_the_digest_of_their_content(first: Artifact) -> None:
    artifact = Artifact("second", "dataset")
    artifact.add_reference("artfs://first:v0/two.table.json", "x")
    row = artifact.manifest.to_manifest_json()["contents"]["x"]
    there = first.manifest.to_manifest_json()["contents"]["two.table.json"]
    assert row == {**there, "ref": "artfs://default/default/first:v0/two.table.json"}


@pytest.mark.parametrize("name", ["a b%20c?#.txt", "d/\u732b", os.fsdecode(b"d/\xff")])
def test_an_entry_is_referred_to_whatever_its_name(name: str) -> None:
    saved("base", **{name: "x"})
    uri = artfs.Api().artifact("base").get_path(name).ref_url()
    artifact = Artifact("top", "dataset")
    artifact.add_reference(uri, "y")
    artifact.save()
    assert uri.isascii()
    assert local(artifact.download("out")) == {"y": b"x"}


def test_download_of_what_it_depends_on() -> None:
    saved("base", x="x")
    middle = Artifact("middle", "dataset")
    middle.add_reference("artfs://base:v0/x", "from/base")
    middle.save()
    top = Artifact("top", "dataset")
    top.add_reference("artfs://middle:v0/from", "in")
    top.add_reference("artfs://first:v0/two.table.json", "two")
    top.save()
    assert top.download() == "./artifacts/top:v0"
    assert {path.name for path in Path("artifacts").iterdir()} == {"top:v0"}
    top.download("out", recursive=True)
    # `middle` has x of `base`, and so has `top`: what they refer to is base itself.
    assert {path.name for path in Path("artifacts").iterdir()} == {"top:v0", "base:v0", "first:v0"}
    assert local("artifacts/base:v0") == {"x": b"x"}
    assert local("out").keys() == {"in/base", "two"}
    assert len(local("artifacts/first:v0")) == 3


def test_a_value_whose_artifact_was_deleted(first: Artifact) -> None:
    artifact = Artifact("second", "dataset")
    artifact.add_reference("artfs://first:v0/two.table.json", "two.table.json")
    artifact.save()
    first.delete()
    with pytest.raises((SourceChanged, artfs.ArtfsError), match="first:v0"):
        artifact.get("two")
