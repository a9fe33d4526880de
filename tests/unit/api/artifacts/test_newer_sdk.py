"""What programs written for newer editions of W&B's SDK use beside the reference documents."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import artfs
from artfs import Artifact, errors
from tests.unit.api.artifacts.contents import local, made, saved


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("a/b", ["a/b/x", "a/bc"]), ("a/b/", ["a/b/x"]), ("./a/b/x", ["a/b/x"]), ("z", []),
        ("a/[b]", []), (Path("*"), ["*"]), ("", ["*", "a/b/x", "a/bc", "b"]),
    ],
)  # fmt: skip
def test_part_of_a_version_is_downloaded(prefix: str | Path, found: list[str]) -> None:
    artifact = made(a__b__x="x", a__bc="y", b="z")
    with artifact.new_file("*") as file:
        file.write("star")
    artifact.save()
    assert artifact.download("part", path_prefix=prefix, skip_cache=True) == "part"
    assert sorted(local("part")) == found


def test_references_that_miss_may_be_left_out(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", str(work))
    artifact = made(x="x")
    for name in ("gone", "there"):
        (work / name).write_text(name)
        artifact.add_reference((work / name).as_uri())
    artifact.save()
    (work / "gone").unlink()
    with pytest.raises(errors.SourceChanged, match="it is gone"):
        artifact.download("all")
    artifact.download("some", allow_missing_references=True)
    assert local("some") == {"x": b"x", "there": b"there"}


def test_files() -> None:
    artifact = saved(a__x="xx", b="b")
    assert [(file.name, file.size) for file in artifact.files()] == [("a/x", 2), ("b", 1)]
    [file] = artifact.files(names=["/a/x"])
    with file.download("there") as text:
        assert text.read() == "xx"
    with pytest.raises(errors.InvalidValue, match="'there/a/x': is there already"):
        file.download("there")
    Path("there/a/x").write_text("mine")
    with file.download("there", exist_ok=True) as text:
        assert text.read() == "mine"
    with file.download("there", replace=True) as text:
        assert text.read() == "xx"


def test_an_artifact_of_one_file() -> None:
    assert saved("one", a__x="x").file("there") == "there/a/x"
    with pytest.raises(ValueError, match="artifact 'data:v0': has 2 files, not one"):
        saved(a="a", b="b").file()
    with pytest.raises(artfs.ArtifactNotLoggedError):
        made(a="a").file()


def test_what_is_not_logged_has_no_version() -> None:
    artifact = made(x="x")
    assert artifact.is_draft()
    assert not hasattr(artifact, "version")
    assert getattr(artifact, "entity", None) is None
    artifact.save()
    assert not artifact.is_draft()
    assert artifact.version == "v0"


@pytest.mark.parametrize(
    ("kinds", "act"),
    [
        ((ValueError, artfs.CommError, artfs.Error), lambda: artfs.Api().artifact("none:v1")),
        ((ValueError, artfs.CommError), lambda: artfs.init().use_artifact("data:none")),
        ((ValueError, artfs.CommError), lambda: artfs.Api().artifact("data:v9")),
        ((ValueError,), lambda: artfs.Api().artifact("data", type="model")),
        ((ValueError,), lambda: artfs.init().log_artifact(Artifact("data", "model"))),
        ((ValueError,), lambda: artfs.init().log_artifact("none", "name", "type")),
        ((ValueError,), lambda: Artifact("a", "t").add_file("none")),
        ((ValueError,), lambda: Artifact("a", "t").add_dir("none")),
        ((ValueError, artfs.UsageError), lambda: Artifact("a/b", "t")),
        ((KeyError,), lambda: artfs.Api().artifact("data").get_entry("none")),
        ((KeyError,), lambda: artfs.Api().artifact("data").new_draft().remove("none")),
        ((AttributeError,), lambda: artfs.Api().artifact("data").add_file("model.h5")),
        ((AttributeError,), lambda: Artifact("a", "t").download()),
    ],
)
def test_errors_are_of_the_classes_that_programs_catch(
    kinds: tuple[type[Exception], ...], act: Callable[[], object]
) -> None:
    saved(x="x")
    for kind in kinds:
        with pytest.raises(kind) as raised:
            act()
        assert isinstance(raised.value, errors.ArtfsError)
        assert ": " in str(raised.value)
        assert str(raised.value) == f"{raised.value.what}: {raised.value.why}"
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
