"""Filling an artifact: what is added is what is logged, and wrong use says what and why."""

from __future__ import annotations

import gc
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import artfs
from artfs import Artifact
from artfs.api.content import Content
from artfs.errors import (
    ArtfsError,
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    Conflict,
    InvalidValue,
    NotFound,
    SourceChanged,
)
from artfs.format import keys
from artfs.repo.repository import Repository
from tests.unit.api.artifacts.contents import made, saved, stored, versions


def paths(artifact: Artifact) -> list[str]:
    return list(artifact.manifest.entries)


def test_a_file_counts_as_it_is_when_it_is_added() -> None:
    artifact = Artifact("data", "dataset")
    artifact.add_file("model.h5")
    artifact.add_dir("images")
    Path("model.h5").write_bytes(b"other")
    for path in Path("images").iterdir():
        path.unlink()
    artifact.save()
    assert stored("data") == {
        "model.h5": b"\x89HDF", "cat.png": b"cat" * 1000, "dog.png": b"dog" * 1000,
    }  # fmt: skip


def test_a_version_equals_one_that_put_makes(work: Path) -> None:
    Path("images/sub/empty").mkdir(parents=True)
    Path("images/link").symlink_to("cat.png")
    Path("images/sub/run").write_text("#!/bin/sh\n")
    Path("images/sub/run").chmod(0o755)
    Path("images/large").write_bytes(os.urandom(3 << 20))
    command = [sys.executable, "-m", "artfs", "put", "by-put", "images"]
    subprocess.run(command, check=True, capture_output=True)
    artifact = Artifact("by-api", "dataset")
    artifact.add_dir("images")
    before = artifact.digest
    artifact.save()
    assert artifact.digest == before == artfs.Api().artifact("by-put").digest
    assert artifact.size == artfs.Api().artifact("by-put").size
    assert stored("by-api") == stored("by-put")


def test_one_file_at_a_time_comes_to_the_same_as_a_directory() -> None:
    whole = Artifact("a", "t")
    whole.add_dir("images", name="deep/er")
    single = Artifact("a", "t")
    for name in ("dog.png", "cat.png"):
        single.add_file(f"images/{name}", name=f"deep/er/{name}")
    assert whole.digest == single.digest
    assert (whole.size, paths(whole)) == (6000, paths(single))


def test_directories_laid_over_one_another() -> None:
    Path("more/sub").mkdir(parents=True)
    Path("more/cat.png").write_bytes(b"new cat")
    Path("more/sub/x").write_bytes(b"x")
    artifact = Artifact("data", "t")
    artifact.add_dir("images")
    artifact.add_dir("images", "more")
    artifact.add_dir("more", merge=True)
    artifact.add_dir("more", "more", merge=True)
    artifact.add_file("model.h5", "more/sub/y")
    artifact.save()
    assert stored("data") == {
        "cat.png": b"new cat", "dog.png": b"dog" * 1000, "sub": None, "sub/x": b"x",
        "more": None, "more/cat.png": b"new cat", "more/dog.png": b"dog" * 1000,
        "more/sub": None, "more/sub/x": b"x", "more/sub/y": b"\x89HDF",
    }  # fmt: skip


def test_no_file_takes_the_place_of_another_unasked() -> None:
    artifact = Artifact("data", "t")
    artifact.add_file("model.h5")
    artifact.add_file("model.h5", overwrite=False)  # the same
    artifact.add_dir("images", "in")
    Path("images/cat.png").write_bytes(b"new cat")
    Path("images/bird.png").write_bytes(b"bird")
    calls: list[Callable[[], object]] = [
        lambda: artifact.add_file("checkpoints/model.h5"),
        lambda: artifact.add_dir("checkpoints"),
        lambda: artifact.add_dir("images", "in"),
        lambda: artifact.add_reference("weird://host/model.h5"),
    ]
    before = artifact.digest
    for call in calls:
        with pytest.raises(InvalidValue, match="was added before, with other content"):
            call()
    with (
        pytest.raises(InvalidValue, match=r"'model.h5': was added before"),
        artifact.new_file("model.h5", "x") as file,
    ):
        file.write("new")
    assert artifact.digest == before
    artifact.add_file("checkpoints/model.h5", overwrite=True)
    artifact.add_dir("images", "in", merge=True)
    artifact.save()
    assert stored("data") == {
        "model.h5": b"\x89HDF in checkpoints", "in": None, "in/cat.png": b"new cat",
        "in/bird.png": b"bird", "in/dog.png": b"dog" * 1000,
    }  # fmt: skip


def test_a_draft_takes_files_in_the_place_of_its_own() -> None:
    draft = saved(cat="old", a__dog="old", bird="old").new_draft()
    Path("new").mkdir()
    Path("new/dog").write_text("dog")
    draft.add_file("model.h5", "cat")
    draft.add_dir("new", "a")
    with pytest.raises(InvalidValue, match="'cat': was added before"):
        draft.add_file("checkpoints/model.h5", "cat")  # this one is in no version
    draft.save()
    assert stored("data") == {"a": None, "a/dog": b"dog", "cat": b"\x89HDF", "bird": b"old"}


def test_a_new_file_that_is_appended_to() -> None:
    artifact = saved(log="one\n").new_draft()
    for line in ("two\n", "three\n"):
        with artifact.new_file("log", "a") as file:
            file.write(line)
    artifact.save()
    assert stored("data") == {"log": b"one\ntwo\nthree\n"}


@pytest.mark.parametrize("add", [Artifact.add_file, Artifact.add_dir])
def test_policies_are_those_of_wandb(add: Callable[..., object]) -> None:
    local = "model.h5" if add is Artifact.add_file else "images"
    artifact = Artifact("data", "t")
    for policy in ("mutable", "immutable", None):
        add(artifact, local, policy=policy, skip_cache=True)
    with pytest.raises(InvalidValue, match="policy 'copy': is neither 'mutable' nor 'immutable'"):
        add(artifact, local, policy="copy")


def test_links_that_lead_out_of_a_directory(home: Path) -> None:
    Path("hub/blobs").mkdir(parents=True)
    Path("hub/snapshot/sub").mkdir(parents=True)
    Path("hub/blobs/1").write_text("weights")
    Path("hub/blobs/more").mkdir()
    Path("hub/blobs/more/x").write_text("x")
    Path("hub/snapshot/..own").write_text("own")
    links = {
        "model": "../blobs/1", "sub/model": os.path.abspath("hub/blobs/1"), "more": "../blobs/more",
        "sub/own": "../..own", "chain": "model", "sub/beside": "../../snapshot/..own",
        "none": "../blobs/none", "sub/up": "..", "out": "../..",
        "../blobs/more/back": "../../snapshot", "../blobs/more/again": "../more",
    }  # fmt: skip
    for name, target in links.items():
        Path("hub/snapshot", name).symlink_to(target)
    artifact = Artifact("data", "model")
    artifact.add_dir("hub/snapshot")
    artifact.save()
    assert stored("data") == {
        "..own": b"own", "model": b"weights", "sub": None, "sub/model": b"weights", "more": None,
        "more/x": b"x", "chain": b"weights", "sub/beside": b"own",
        # What leads to nothing, or to what it is in, stays a link, and so does what stays within.
        "sub/own": "../..own", "none": "../blobs/none", "sub/up": "..", "out": "../..",
        "more/back": "../../snapshot", "more/again": "../more",
    }  # fmt: skip
    Path("hub/snapshot/store").symlink_to(home / "store")
    with pytest.raises(InvalidValue, match="leads to the store"):
        Artifact("other", "model").add_dir("hub/snapshot")


def test_a_directory_goes_with_the_last_file_that_made_it() -> None:
    artifact = made(a__b="1", c="2")
    artifact.remove("a/b")
    assert artifact.digest == made(c="2").digest
    artifact.add_file("model.h5", "a/b/c")  # and `b` may now be a directory
    assert paths(artifact) == ["a/b/c", "c"]


def test_removing_what_was_added() -> None:
    artifact = Artifact("data", "t")
    entry = artifact.add_file("model.h5")
    artifact.add_dir("images", "x/images")
    artifact.remove(entry)
    artifact.remove("x/images/cat.png")
    assert paths(artifact) == ["x/images/dog.png"]
    assert artifact.get_added_local_path_name("model.h5") is None
    assert artifact.get_added_local_path_name("images/cat.png") is None
    assert artifact.get_added_local_path_name("images/dog.png") == "x/images/dog.png"
    artifact.save()
    assert artifact.get_added_local_path_name("images/cat.png") is None
    assert artifact.get_added_local_path_name("images/dog.png") == "x/images/dog.png"


def test_temporary_files_do_not_collide() -> None:
    artifact = Artifact("data", "t")
    Path("other").write_bytes(b"other")
    one = artifact.add_file("model.h5", "in/tmp.tar.gz", is_tmp=True)
    two = artifact.add_file("other", "in/tmp.tar.gz", is_tmp=True)
    again = artifact.add_file("other", "in/tmp.tar.gz", is_tmp=True)
    assert two.path == "in/795f3202b17cb6bc3d4b.tar.gz"  # what wandb calls it
    assert two.path == again.path != one.path
    assert sorted(paths(artifact)) == sorted([one.path, two.path])


def test_a_link_is_followed_by_add_file() -> None:
    Path("link").symlink_to("model.h5")
    artifact = Artifact("data", "t")
    artifact.add_file("link")
    artifact.save()
    assert stored("data") == {"link": b"\x89HDF"}


def test_names_that_are_not_utf8() -> None:
    Path("raw").mkdir()
    Path(os.fsdecode(b"raw/\xff.bin")).write_bytes(b"raw")
    artifact = Artifact("data", "t")
    artifact.add_dir("raw")
    artifact.save()
    [path] = paths(artifact)
    assert path == "\udcff.bin"
    assert Path(artifact.get_path(path).download("out")).read_bytes() == b"raw"


def test_a_new_file_that_fails_is_not_added() -> None:
    artifact = Artifact("data", "t")

    def fail() -> None:
        with artifact.new_file("x") as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert paths(artifact) == []
    with artifact.new_file("x", "wb") as file:
        file.write(b"\xff")
    artifact.save()
    assert stored("data") == {"x": b"\xff"}


def test_an_artifact_without_files() -> None:
    artifact = Artifact("nothing", "t")
    assert (artifact.size, artifact.state, paths(artifact)) == (0, "PENDING", [])
    digest = artifact.digest
    artifact.finalize()
    artifact.save()
    assert (artifact.version, artifact.digest, stored("nothing")) == ("v0", digest, {})


def change(artifact: Artifact) -> list[Callable[[], object]]:
    return [
        lambda: artifact.add_file("model.h5"),
        lambda: artifact.add_dir("images"),
        lambda: artifact.remove("x"),
        lambda: artifact.new_file("y").__enter__(),
    ]


def test_digest_and_size_follow_what_is_added(repository: Repository) -> None:
    artifact = Artifact("data", "t")
    seen = {(artifact.digest, artifact.size)}
    artifact.add_file("model.h5", "a/b")
    seen.add((artifact.digest, artifact.size))
    assert list(repository.store.list(keys.PACKS)) == []  # asking stores nothing
    artifact.add_dir("images", "a")
    seen.add((artifact.digest, artifact.size))
    artifact.remove("a/b")
    seen.add((artifact.digest, artifact.size))
    assert sorted(size for _, size in seen) == [0, 4, 6000, 6004]
    assert len({digest for digest, _ in seen}) == 4


@pytest.mark.parametrize("number", range(4))
def test_a_finalized_artifact_takes_no_changes(number: int) -> None:
    artifact = made(x="x")
    artifact.finalize()
    artifact.finalize()
    with pytest.raises(ArtifactFinalizedError, match="artifact 'data': is finalized"):
        change(artifact)[number]()
    artifact.save()
    with pytest.raises(ArtifactFinalizedError, match=r"data:v0.*is logged") as raised:
        change(artifact)[number]()
    assert "new_draft" in raised.value.hint
    assert stored("data") == {"x": b"x"}


def test_a_file_that_is_open_when_the_artifact_is_finalized() -> None:
    artifact = Artifact("data", "t")
    with pytest.raises(ArtifactFinalizedError), artifact.new_file("x"):
        artifact.finalize()


def attempt(what: str) -> Callable[[], object]:
    big = {str(i): i for i in range(101)}
    loop: list[object] = []
    loop.append(loop)
    return {
        "slash": lambda: Artifact("a/b", "t"),
        "empty": lambda: Artifact("", "t"),
        "version": lambda: Artifact("a:v0", "t"),
        "no type": lambda: Artifact("a", ""),
        "bad type": lambda: Artifact("a", "my type"),
        "keys": lambda: Artifact("a", "t", metadata=big),
        "later keys": lambda: _with_metadata(big).save(),
        "set": lambda: Artifact("a", "t", metadata={"k": {1}}),
        "nan": lambda: Artifact("a", "t", metadata={"k": float("nan")}),
        "number key": lambda: Artifact("a", "t", metadata={"k": {1: 2}}),
        "not utf-8": lambda: Artifact("a", "t", metadata={"k": ["\udcff"]}),
        "bad text": lambda: Artifact("a", "t", description="\udcff"),
        "loop": lambda: Artifact("a", "t", metadata={"k": loop}),
        "list": lambda: Artifact("a", "t", metadata=[1]),  # type: ignore[arg-type]  # on purpose
        "missing": lambda: Artifact("a", "t").add_file("missing"),
        "missing dir": lambda: Artifact("a", "t").add_dir("missing"),
        "dir as file": lambda: Artifact("a", "t").add_file("images"),
        "file as dir": lambda: Artifact("a", "t").add_dir("model.h5"),
        "no path": lambda: Artifact("a", "t").add_file("model.h5", name="/"),
        "up": lambda: Artifact("a", "t").add_file("model.h5", name="a/../../b"),
        "long": lambda: Artifact("a", "t").add_file("model.h5", name="x" * 256),
        "mode": lambda: Artifact("a", "t").new_file("x", "r").__enter__(),
        "remove": lambda: made(x="x").remove("y"),
        "remove below": lambda: made(x="x").remove("x/y"),
        "file on dir": lambda: made(a__b="x").add_file("model.h5", "a"),
        "dir on file": lambda: made(a="x").add_file("model.h5", "a/b"),
        "tree on file": lambda: made(a="x").add_dir("images", "a"),
        "tree in tree": lambda: _images({"in/cat.png/x": "model.h5"}).add_dir("images", "in"),
        "alias v": lambda: artfs.init().log_artifact(made(x="x"), aliases=["v3"]),
        "alias latest": lambda: artfs.init().log_artifact(made(x="x"), aliases=["latest"]),
        "alias text": lambda: saved("other", x="x").link("portfolio", "best"),
        "no run": lambda: artfs.log_artifact(made(x="x")),
        "run name": lambda: artfs.init(project="a b"),
        "number": lambda: Artifact(5, "t"),  # type: ignore[arg-type]  # on purpose
        "no text": lambda: artfs.init().use_artifact(None),  # type: ignore[arg-type]  # on purpose
        "alias number": lambda: artfs.init().log_artifact(made(x="x"), aliases=[3]),  # type: ignore[list-item]  # on purpose
        "project number": lambda: artfs.init(project=3),  # type: ignore[arg-type]  # on purpose
        "two entities": lambda: artfs.init(project="a/b", entity="c"),
    }[what]


def _with_metadata(values: dict[str, int]) -> Artifact:
    artifact = Artifact("a", "t")
    artifact.metadata.update(values)
    return artifact


def _images(more: dict[str, str]) -> Artifact:
    artifact = Artifact("a", "t")
    for path, local in more.items():
        artifact.add_file(local, path)
    return artifact


@pytest.mark.parametrize(
    ("what", "error", "says"),
    [
        ("slash", InvalidValue, "artifact name 'a/b': may hold only letters"),
        ("empty", InvalidValue, "artifact name '': is empty"),
        ("version", InvalidValue, "artifact name 'a:v0': may hold only"),
        ("no type", InvalidValue, "type '': is empty"),
        ("bad type", InvalidValue, "type 'my type': may hold only"),
        ("keys", InvalidValue, "metadata: has 101 keys; 100 are the most"),
        ("later keys", InvalidValue, "metadata: has 101 keys"),
        ("set", InvalidValue, "metadata 'k': is not JSON"),
        ("nan", InvalidValue, "metadata 'k': is not JSON"),
        ("number key", InvalidValue, "metadata 'k': is not JSON .key 1 is not a str"),
        ("not utf-8", InvalidValue, "metadata 'k': is not JSON"),
        ("bad text", InvalidValue, "description: is not valid UTF-8"),
        ("loop", InvalidValue, "metadata 'k': is nested too deeply"),
        ("list", InvalidValue, "metadata: is a list, not a dict"),
        ("missing", NotFound, "missing: no such file"),
        ("missing dir", NotFound, "'missing': no such directory"),
        ("dir as file", InvalidValue, "'images': is a directory"),
        ("file as dir", InvalidValue, "'model.h5': is no directory"),
        ("no path", InvalidValue, "path '/': names no entry"),
        ("up", InvalidValue, "path 'a/../../b': leads out"),
        ("long", InvalidValue, "is longer than"),
        ("mode", InvalidValue, "mode 'r': does not write"),
        ("remove", NotFound, "'y': no such path in this artifact"),
        ("remove below", NotFound, "'x/y': no such path in this artifact"),
        ("file on dir", InvalidValue, "'a': is a directory in this artifact, and cannot be a file"),
        ("dir on file", InvalidValue, "'a': is a file in this artifact, and cannot be a directory"),
        ("tree on file", InvalidValue, "'a': is a file in this artifact"),
        ("tree in tree", InvalidValue, "'in/cat.png': is a directory in this artifact"),
        ("alias v", InvalidValue, "alias 'v3': cannot be set"),
        ("alias latest", InvalidValue, "alias 'latest': cannot be set"),
        ("alias text", InvalidValue, "aliases 'best': is one text"),
        ("no run", InvalidValue, "run: none has begun"),
        ("run name", InvalidValue, "project 'a b': may hold only"),
        ("number", InvalidValue, "artifact name 5: is a int, not text"),
        ("no text", InvalidValue, "ref None: is a NoneType, not text"),
        ("alias number", InvalidValue, "alias 3: is a int, not text"),
        ("project number", InvalidValue, "project 3: is a int, not text"),
        ("two entities", InvalidValue, "project 'a/b': names an entity"),
    ],
)
def test_wrong_use_says_what_and_why(what: str, error: type[ArtfsError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        attempt(what)()
    if error is InvalidValue:
        assert isinstance(raised.value, ValueError)
    assert versions("a") == versions("data") == []


def test_metadata_is_kept_exactly() -> None:
    values: dict[str, object] = {
        "int": 12345678901234567890123, "float": 0.1, "none": None, "text": "\u732b\0",
        "deep": [{"a": [True, 1.5e300]}],
    }  # fmt: skip
    Artifact("data", "t", metadata=values).save()
    assert artfs.Api().artifact("data").metadata == values


def test_a_directory_that_collides_adds_nothing() -> None:
    artifact = _images({"in/dog.png/x": "model.h5"})
    before = artifact.digest
    with pytest.raises(InvalidValue):
        artifact.add_dir("images", "in")
    assert artifact.digest == before


def test_a_directory_that_collides_deep_inside_adds_nothing() -> None:
    artifact = _images({"in/deep/er/x": "model.h5"})
    Path("images/deep").mkdir()
    Path("images/deep/er").write_text("a file")
    before = artifact.digest
    with pytest.raises(InvalidValue, match="'in/deep/er': is a directory"):
        artifact.add_dir("images", "in")
    assert artifact.digest == before


def test_files_that_collide_with_one_another_are_not_added(repository: Repository) -> None:
    content = Content(repository)
    entry = content.store_bytes(b"x")
    with pytest.raises(InvalidValue, match="'a': is a file"):
        content.set_all({(b"x",): entry, (b"a",): entry, (b"a", b"b"): entry})
    assert not content.build().count
    content.close()


def test_metadata_is_as_it_was_when_it_was_given() -> None:
    given: dict[str, Any] = {"list": [1], "pair": (1, 2)}
    artifact = Artifact("data", "t", metadata=given)
    given["list"].append(2)
    assert artifact.metadata == {"list": [1], "pair": [1, 2]}


def test_a_directory_with_a_fifo_adds_nothing() -> None:
    os.mkfifo("images/pipe")
    artifact = made(x="x")
    with pytest.raises(SourceChanged, match="is a FIFO"):
        artifact.add_dir("images")
    assert paths(artifact) == ["x"]


@pytest.fixture
def deep() -> Artifact:
    """A version with 300 directories, one in the other."""
    Path("deep", *["d"] * 300).mkdir(parents=True)
    artifact = made(x="x")
    artifact.add_dir("deep")
    artifact.save()
    return artifact


@pytest.fixture
def little_stack(deep: Artifact) -> Iterator[None]:
    del deep  # made before
    limit = sys.getrecursionlimit()
    gc.disable()  # what others have left to be finalized needs the stack, too
    sys.setrecursionlimit(len(inspect.stack()) + 250)
    yield
    sys.setrecursionlimit(limit)
    gc.enable()


@pytest.mark.usefixtures("little_stack")
def test_a_directory_that_is_too_deep() -> None:
    artifact = made(x="x")
    with pytest.raises(InvalidValue, match="'deep': is nested too deeply"):
        artifact.add_dir("deep")
    assert paths(artifact) == ["x"]


@pytest.mark.usefixtures("little_stack")
def test_a_version_that_is_too_deep(deep: Artifact) -> None:
    assert list(deep.manifest.entries) == ["x"]
    for act in (deep.download, deep.checkout, deep.verify):
        with pytest.raises(InvalidValue, match="'deep': is nested too deeply"):
            act("deep")


def test_one_alias_is_not_its_letters() -> None:
    artifact = saved(x="x")
    artifact.aliases = "best"
    assert artifact.aliases == ["best"]


def test_an_empty_name_is_none() -> None:
    artifact = Artifact("data", "t")
    artifact.add_file("checkpoints/model.h5", name="")
    artifact.add_dir("images", name="")
    assert paths(artifact) == ["cat.png", "dog.png", "model.h5"]


def test_names_may_be_paths() -> None:
    artifact = Artifact("data", "t")
    artifact.add_file(Path("model.h5"), Path("a/b"))
    artifact.add_dir(Path("images"), Path("c"))
    assert paths(artifact) == ["a/b", "c/cat.png", "c/dog.png"]


def test_the_store_is_not_added(home: Path) -> None:
    with pytest.raises(InvalidValue, match="contains the store"):
        Artifact("a", "t").add_dir(home)


def test_one_name_has_one_type() -> None:
    saved(x="x")
    other = Artifact("data", "model")
    with pytest.raises(Conflict, match="artifact 'data': has type 'dataset', not 'model'"):
        other.save()
    with (
        artfs.init() as run,
        pytest.raises(Conflict, match="has type 'dataset', not 'model'"),
    ):
        run.log_artifact(other)  # at once, not when somebody waits
    with pytest.raises(Conflict, match="has type 'dataset', not 'model'"):
        artfs.Api().artifact("data", type="model")


@pytest.mark.parametrize(
    "name",
    ["entity", "project", "version", "source_version", "source_name", "qualified_name",
     "commit_hash", "created_at", "updated_at", "file_count"],
)  # fmt: skip
def test_what_only_a_version_has(name: str) -> None:
    artifact = made(x="x")
    with pytest.raises(ArtifactNotLoggedError, match="artifact 'data': is not logged"):
        getattr(artifact, name)
    artifact.save()
    assert getattr(artifact, name)


@pytest.mark.parametrize("number", range(7))
def test_what_only_a_version_can(number: int) -> None:
    artifact = made(x="x")
    calls: list[Callable[[], object]] = [
        lambda: artifact.get_path("x"), artifact.download, artifact.checkout, artifact.verify,
        artifact.json_encode, artifact.new_draft, artifact.delete,
    ]  # fmt: skip
    with pytest.raises(ArtifactNotLoggedError):
        calls[number]()
    with pytest.raises(ArtifactNotLoggedError):
        artifact.wait()


def test_threads_may_add_to_one_artifact() -> None:
    artifact = Artifact("data", "t")

    def add(number: int) -> None:
        for i in range(20):
            artifact.add_file("model.h5", f"{number % 2}/{number}-{i}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    artifact.save()
    assert artifact.file_count == 160
    assert set(stored("data").values()) == {None, b"\x89HDF"}
