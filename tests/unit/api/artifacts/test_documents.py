"""The samples of the W&B documents, with `artfs` in the place of `wandb`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import artfs as wandb
from tests.support.manual import ROOT
from tests.unit.api.artifacts.contents import local, saved, stored, versions

CAT, DOG = b"cat" * 1000, b"dog" * 1000


def test_overview_versions_of_a_directory(work: Path) -> None:
    run = wandb.init()
    artifact = wandb.Artifact("animals", type="dataset")
    artifact.add_dir("images")
    run.log_artifact(artifact)
    artifact.wait()
    assert (artifact.version, artifact.aliases) == ("v0", ["latest"])

    (work / "images/bird.png").write_bytes(b"bird")
    artifact = wandb.Artifact("animals", type="dataset")
    artifact.add_dir("images")
    run.log_artifact(artifact, aliases=["my-cool-alias"])
    artifact.wait()
    assert (artifact.version, artifact.aliases) == ("v1", ["latest", "my-cool-alias"])
    run.finish()

    run = wandb.init()
    animals = run.use_artifact("animals:latest")
    directory = animals.download()
    run.finish()
    assert local(directory) == {"cat.png": CAT, "dog.png": DOG, "bird.png": b"bird"}
    assert wandb.Api().artifact("animals:v0").aliases == []


def test_reference_basic_usage() -> None:
    Path("mnist").mkdir()
    Path("mnist/x").write_text("x")
    wandb.init()
    artifact = wandb.Artifact("mnist", type="dataset")
    artifact.add_dir("mnist/")
    wandb.log_artifact(artifact)
    wandb.finish()
    assert stored("mnist") == {"x": b"x"}


def test_a_run_that_begins_after_the_artifact() -> None:
    artifact = wandb.Artifact(name="models", type="model")
    artifact.add_file(local_path="model.h5", name="optional-name")
    run = wandb.init(project="artifacts-example", job_type="job-type")
    run.log_artifact(artifact)
    run.finish()
    assert stored("artifacts-example/models") == {"optional-name": b"\x89HDF"}


@pytest.mark.parametrize(
    ("local_path", "name", "path"),
    [
        ("model.h5", None, "model.h5"),
        ("checkpoints/model.h5", None, "model.h5"),
        ("model.h5", "models/mymodel.h5", "models/mymodel.h5"),
    ],
)
def test_the_path_of_a_file(local_path: str, name: str | None, path: str) -> None:
    artifact = wandb.Artifact("a", "t")
    assert artifact.add_file(local_path, name=name).path == path
    assert list(artifact.manifest.entries) == [path]
    assert artifact.get_added_local_path_name(local_path) == path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, ["cat.png", "dog.png"]),
        ("images", ["images/cat.png", "images/dog.png"]),
        ("destination/", ["destination/cat.png", "destination/dog.png"]),
    ],
)
def test_the_paths_of_a_directory(name: str | None, expected: list[str]) -> None:
    artifact = wandb.Artifact("a", "t")
    artifact.add_dir("images", name=name)
    assert list(artifact.manifest.entries) == expected
    assert artifact.get_added_local_path_name("images/dog.png") == expected[1]
    assert artifact.get_added_local_path_name("model.h5") is None


def test_a_new_file() -> None:
    with wandb.init():
        artifact = wandb.Artifact("my_data", type="dataset")
        with artifact.new_file("hello.txt") as f:
            f.write("hello!")
        wandb.log_artifact(artifact)
    assert stored("my_data") == {"hello.txt": b"hello!"}


def test_a_file_downloaded_by_itself() -> None:
    Path("file.txt").write_text("text")
    with wandb.init():
        artifact = wandb.Artifact("my_dataset", type="dataset")
        artifact.add_file("file.txt")
        artifact.add_file("model.h5", name="artifact/path/model.h5")
        wandb.log_artifact(artifact)
    with wandb.init() as r:
        artifact = r.use_artifact("my_dataset:latest")
        path = artifact.get_path("file.txt")
        assert path.download() == "./artifacts/my_dataset:v0/file.txt"
    assert local("artifacts") == {"my_dataset:v0/file.txt": b"text"}


def test_metadata_in_a_loop() -> None:
    with wandb.init() as run:
        for i in range(10):
            a = wandb.Artifact("race", type="dataset", metadata={"index": i})
            with a.new_file("i") as f:
                f.write(str(i))
            run.log_artifact(a)
    api = wandb.Api()
    found = [api.artifact(f"race:v{i}").metadata["index"] for i in range(10)]
    assert found == list(range(10))  # here they are logged in order


def test_a_version_outside_a_run() -> None:
    Path("image1.png").write_bytes(b"1")
    artifact = wandb.Artifact("artifact_name", "artifact_type")
    artifact.add_file("image1.png")
    artifact.save()
    assert (artifact.version, stored("artifact_name")) == ("v0", {"image1.png": b"1"})
    again = wandb.Artifact("artifact_name", "artifact_type")
    again.add_file("image1.png")
    again.save()
    assert (again.version, versions("artifact_name")) == ("v0", [0])


def test_an_incremental_version_inside_a_run() -> None:
    saved("my_artifact", keep="k", dir_to_remove__a="a", dir_to_remove__b="b")
    Path("file_to_add.txt").write_text("new")
    with wandb.init(job_type="modify dataset") as run:
        saved_artifact = run.use_artifact("my_artifact:latest")
        draft_artifact = saved_artifact.new_draft()
        draft_artifact.add_file("file_to_add.txt")
        draft_artifact.remove("dir_to_remove/")
        run.log_artifact(draft_artifact)
    assert draft_artifact.version == "v1"
    assert stored("my_artifact:v1") == {"keep": b"k", "file_to_add.txt": b"new"}
    assert len(stored("my_artifact:v0")) == 4


def test_an_incremental_version_outside_a_run() -> None:
    saved("my_artifact", **{"deleted_file.txt": "d", "modified_file.txt": "old", "kept": "k"})
    Path("modified_file.txt").write_text("new")
    client = wandb.Api()
    saved_artifact = client.artifact("my_artifact:latest")
    draft_artifact = saved_artifact.new_draft()
    draft_artifact.remove("deleted_file.txt")
    draft_artifact.add_file("modified_file.txt")
    draft_artifact.save()
    assert stored("my_artifact:v1") == {"modified_file.txt": b"new", "kept": b"k"}


def test_a_file_removed_and_added() -> None:
    saved("my_artifact", **{"modified_file.txt": "old"})
    Path("modified_file.txt").write_text("new")
    draft_artifact = wandb.Api().artifact("my_artifact:latest").new_draft()
    draft_artifact.remove("modified_file.txt")
    draft_artifact.add_file("modified_file.txt")
    draft_artifact.save()
    assert stored("my_artifact:latest") == {"modified_file.txt": b"new"}


def test_the_sample_of_the_readme(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "images").rename("photos")
    (work / "README.md").write_text("about")
    [sample] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(sample, "README.md", "exec"), {})
    assert capsys.readouterr().out == "animals:v1 6005 ['latest']\n"
    assert stored("zoo/animals:v1") == {
        "cat.png": CAT, "dog.png": DOG, "docs": None, "docs/README.md": b"about",
    }  # fmt: skip
    assert local("artifacts/animals:v0") == {
        "cat.png": CAT, "dog.png": DOG, "labels.txt": b"cat\ndog\n",
    }  # fmt: skip
