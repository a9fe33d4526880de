"""A program that uses all of the Python API that programs are to use.

test_surface.py has mypy check it, runs it, and sees that nothing is left out. It reads and writes
in the current directory.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import artfs
from artfs import data_types


def write_values() -> artfs.Artifact:
    artifact = artfs.Artifact("values", "dataset")
    classes = artfs.Classes([{"id": 0, "name": "sky"}, {"id": 1, "name": "cat"}])
    boxes = artfs.BoundingBoxes2D({"box_data": []}, "truth")
    mask = artfs.ImageMask({"mask_data": np.zeros((2, 3), np.uint8)}, "guess")
    image = artfs.Image(
        np.zeros((2, 3, 3), np.uint8), caption="black", classes=classes, masks={"guess": mask}
    )
    table = artfs.Table(columns=["id", "image"], data=[["a", image]])
    table.add_data("b", image)
    values: dict[str, data_types.WBValue] = {
        "audio": artfs.Audio([0.0, 0.5], sample_rate=8000),
        "boxes": boxes,
        "classes": classes,
        "html": artfs.Html("<p>"),
        "image": image,
        "mask": mask,
        "points": artfs.Object3D(np.zeros((2, 3))),
        "parts/table": table,
        "partitioned": artfs.PartitionedTable("parts"),
        "joined": artfs.JoinedTable(table, table, "id"),
        "video": artfs.Video(np.zeros((2, 3, 4, 4), np.uint8), fps=2, format="gif"),
    }
    for name, value in values.items():
        artifact[name] = value
    entry: artfs.ArtifactManifestEntry = artifact.add(table, "table")
    assert entry.path == "table.table.json"
    return artifact


def plot() -> artfs.Bokeh:
    from bokeh.plotting import figure

    return artfs.Bokeh(figure(title="a plot"))


def read_values(artifact: artfs.Artifact) -> None:
    table = artifact.get("table")
    assert isinstance(table, artfs.Table)
    rows: list[list[Any]] = table.data
    image = rows[0][1]
    assert isinstance(image, artfs.Image)
    assert image.path.suffix == ".png"
    assert isinstance(artifact["html"], artfs.Html)


def collect() -> artfs.Artifact:
    settings = artfs.Settings(run_group="g")
    with artfs.init(
        project="zoo", entity="me", job_type="collect", name="r", id="r1", settings=settings,
        config={"lr": 0.1}, notes="first", tags=["a"], dir=".", mode="online", reinit=True,
        resume="allow",
    ) as run:  # fmt: skip
        tell(run)
        assert (run.entity, run.project, run.id, run.name) == ("me", "zoo", "r1", "r")
        assert (run.job_type, run.group, artfs.run) == ("collect", "g", run)
        artifact = artfs.Artifact(
            name="data", type="dataset", description="d", metadata={"n": 1}, incremental=False,
            use_as=None,
        )  # fmt: skip
        artifact.description, artifact.metadata["m"] = "about", [1, 2]
        artifact.tags, artifact.ttl = ["clean"], datetime.timedelta(days=30)
        artifact.add_file(
            "file.txt", name="in/file.txt", is_tmp=False, skip_cache=True, policy="immutable",
            overwrite=True,
        )  # fmt: skip
        artifact.add_dir("folder", name="in/folder", skip_cache=True, policy=None, merge=True)
        assert (artifact.is_draft(), artifact.incremental) == (True, False)
        with artifact.new_file("new.txt", mode="w", encoding="utf-8", policy="mutable") as file:
            file.write("new")
        added: str | None = artifact.get_added_local_path_name("file.txt")
        assert added == "in/file.txt"
        artifact.remove("new.txt")
        entries = refer(artifact)
        assert [entry.ref_target() for entry in entries] == ["weird://host/x"]
        artifact.remove(entries[0])
        artifact.finalize()
        logged: artfs.Artifact = run.log_artifact(artifact, aliases=["best"]).wait(timeout=60)
        values = artfs.log_artifact(write_values())
        values.wait()
        used = run.use_artifact("values:latest", type="dataset", use_as="input")
        assert run.get("table") is not None
        read_values(used)
        read_values(artfs.use_artifact("values"))
        portfolio = run.link_artifact(logged, "portfolio", aliases=["good"])
        assert portfolio.is_link
        assert portfolio.source_artifact.name == logged.name
        run.upsert_artifact(part("a"), distributed_id="d")
        run.finish_artifact(part("b"), distributed_id="d").wait()
    artfs.finish()
    current: artfs.Run | None = artfs.run
    assert current is None
    return logged


def tell(run: artfs.Run) -> None:
    artfs.login()
    artfs.log({"loss": 0.5}, step=0, commit=True)
    run.log({"loss": 0.25})
    for place in (artfs, run):
        place.watch(run)
        place.unwatch(run)
        place.define_metric("loss", summary="min")
    rate: float = artfs.config.lr
    artfs.config.update({"depth": 3}, allow_val_change=True)
    artfs.summary["best"] = run.summary["loss"] * rate
    run.config.setdefaults({"depth": 4})
    assert (run.step, run.resumed, run.notes, run.tags, run.url) == (
        2,
        False,
        "first",
        ("a",),
        None,
    )
    assert (run.path, run.project_name()) == ("me/zoo/r1", "zoo")
    directory: str = run.dir
    assert directory.endswith("r1/files")


def models() -> None:
    with artfs.init(project="zoo", entity="me") as run:
        run.log_model("file.txt", name="net", aliases=["best"])
        linked: artfs.Artifact = run.link_model("file.txt", "Net", name="net", aliases=["good"])
        assert linked.is_link
        path: str = run.use_model("net:best")
        assert path.endswith("file.txt")
        code: artfs.Artifact | None = run.log_code(".", name="code", include_fn=lambda _: False)
        assert code is None
    api = artfs.Api(overrides={"entity": "me", "project": "zoo"}, timeout=10)
    assert "model" in [one.name for one in api.artifact_types()]
    [net] = api.artifact_type("model").collections()
    assert (net.name, net.artifacts()[0].version) == ("net", "v0")
    assert [one.name for one in api.artifact_collections("me/zoo", "model")] == ["net"]
    assert api.artifact_collection("model", "net").aliases == ["latest", "best"]
    versions: list[artfs.Artifact] = api.artifacts("model", "net", per_page=10, tags=None)
    assert len(versions) == len(api.artifact_versions("model", "net")) == 1
    assert api.artifact_exists("net:best")
    assert api.artifact_collection_exists("net", "model")


def part(name: str) -> artfs.Artifact:
    artifact = artfs.Artifact("together", "dataset")
    with artifact.new_file(name) as file:
        file.write(name)
    return artifact


def look_at(artifact: artfs.Artifact) -> None:
    texts: list[str] = [
        artifact.name, artifact.type, artifact.version, artifact.entity, artifact.project,
        artifact.qualified_name, artifact.digest, artifact.commit_hash, artifact.state,
        artifact.created_at, artifact.updated_at, artifact.description, artifact.source_name,
        artifact.source_entity, artifact.source_project, artifact.source_version,
        artifact.source_qualified_name, artifact.id or "", *artifact.tags,
    ]  # fmt: skip
    assert all(texts)
    numbers: list[int] = [artifact.size, artifact.file_count, len(artifact.metadata)]
    assert all(numbers)
    assert artifact.ttl == datetime.timedelta(days=30)
    encoded: dict[str, Any] = artifact.json_encode()
    assert encoded["version"] == artifact.version
    manifest: artfs.ArtifactManifest = artifact.manifest
    assert list(manifest.entries) == ["in/file.txt", "in/folder/x"]
    assert manifest.get_entry_by_path("none") is None
    document: dict[str, Any] = manifest.to_manifest_json()
    assert len(document["contents"]) == 2
    assert len(manifest.digest()) == 32
    linked: list[artfs.Artifact] = artifact.linked_artifacts
    assert [one.project for one in linked] == ["zoo"]


def use(artifact: artfs.Artifact) -> None:
    folder: str = artifact.download(root="there", recursive=True)
    assert artifact.verify(root=folder)
    assert artifact.checkout(root=folder) == folder
    artifact.download(
        root="part", allow_missing_references=True, skip_cache=True, path_prefix="in/f",
        multipart=None,
    )  # fmt: skip
    files = artifact.files(names=["in/file.txt"], per_page=10)
    assert [(one.name, one.size, len(one.digest)) for one in files] == [("in/file.txt", 4, 64)]
    with files[0].download(root="one", replace=True, exist_ok=True) as text:
        assert text.read() == "text"
    entry = artifact.get_path("in/file.txt")
    assert (entry.size, entry.path, entry.local_path) == (4, "in/file.txt", None)
    assert len(entry.digest) == 64
    extra: dict[str, str] = entry.extra
    assert (entry.ref, extra) == (None, {})
    assert entry.ref_url().startswith("artfs://me/zoo/data:v0/")
    assert artifact.get_entry("in/file.txt").digest == entry.digest
    downloaded: str = entry.download(root="alone", skip_cache=True)
    assert downloaded == "alone/in/file.txt"
    with artfs.open(artifact.qualified_name, "in/file.txt", "r") as file:
        assert file.read() == "text"
    with artfs.open(artifact.qualified_name, "in/file.txt") as raw:
        data: bytes = raw.read()
    assert data == b"text"


def trace(artifact: artfs.Artifact) -> None:
    run = artifact.logged_by()
    assert run is not None
    assert (run.id, run.entity, run.project, run.group, run.job_type) == (
        "r1", "me", "zoo", "g", "collect"
    )  # fmt: skip
    assert (run.config, run.notes, run.tags) == ({"lr": 0.1, "depth": 3}, "first", ["a"])
    assert run.summary["loss"] == 0.25
    assert (run.path, run.name, run.state) == (["me", "zoo", "r1"], "r", "finished")
    assert (run.exit_code, bool(run.host and run.user and run.command)) == (0, True)
    assert run.created_at <= (run.ended_at or "")
    assert artifact.name in [one.name for one in run.logged_artifacts()]
    assert {one.name for one in run.used_artifacts()} == {"values:v0"}
    api = artfs.Api(project="zoo", entity="me")
    assert [one.id for one in api.artifact("values").used_by()] == [api.run("r1").id]
    assert len(api.runs()) == 1


def change(artifact: artfs.Artifact) -> None:
    draft = artifact.new_draft()
    draft.remove("in/folder")
    draft.aliases = ["small"]
    draft.save(settings=artfs.Settings(run_job_type="clean"))
    draft.aliases.append("tiny")
    draft.ttl = artfs.ArtifactTTL.INHERIT
    draft.save(project=None)
    portfolio = draft.link("portfolio")
    portfolio.unlink()
    draft.delete(delete_aliases=True)
    assert draft.state == "DELETED"


def refuse(artifact: artfs.Artifact) -> None:
    said: list[str] = []
    try:
        artifact.add_file("file.txt")
    except artfs.ArtifactFinalizedError as error:
        said.append(error.hint)
    try:
        artfs.Artifact("new", "dataset").get("table")
    except artfs.ArtifactNotLoggedError as error:
        said.append(error.why)
    try:
        artfs.Api().artifact("none")
    except (artfs.CommError, artfs.UsageError) as error:
        said += [error.what, str(error)]
    try:
        artifact.file(root="only")
    except artfs.Error as error:
        said.append(error.hint if issubclass(artfs.Error, artfs.ArtfsError) else "")
    assert all(said)
    assert len(said) == 5


def mount(artifact: artfs.Artifact) -> None:
    with artfs.mounted(artifact.qualified_name) as path:
        assert (path / "in/file.txt").read_text() == "text"


def refer(artifact: artfs.Artifact) -> Sequence[artfs.ArtifactManifestEntry]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", artfs.UnreadableReference)
        return artifact.add_reference("weird://host/x", name="r", checksum=False, max_objects=1)


def main() -> None:
    artifact = collect()
    for step in (look_at, use, trace, change, refuse):
        step(artifact)
    models()
