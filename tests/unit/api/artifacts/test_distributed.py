"""One version made by several runs, as the W&B documents have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import artfs as wandb
from artfs import Artifact
from artfs.errors import ArtifactNotLoggedError, CommitConflict, Conflict, InvalidValue
from artfs.format import keys
from artfs.repo.deletion import reclaimable
from artfs.repo.distributed import Distributed, part_roots
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, RunKey
from tests.unit.api.artifacts.contents import made, saved, stored, versions

KEY = ArtifactKey("default", "default", "data")


def upsert(group: str = "g", id: str | None = None, **files: str | bytes) -> Artifact:  # noqa: A002  # as of init
    with wandb.init(group=group, id=id) as run:
        return run.upsert_artifact(made("data", **files))


def finish(group: str = "g", **files: str | bytes) -> Artifact:
    with wandb.init(group=group) as run:
        return run.finish_artifact(made("data", **files))


def test_the_sample_of_the_documents() -> None:
    for name in ("image1.png", "image2.png", "image3.png"):
        Path(name).write_text(name)
    with wandb.init() as run:
        artifact = wandb.Artifact("artifact_name", "artifact_type")
        artifact.add_file("image1.png")
        run.upsert_artifact(artifact, distributed_id="my_dist_artifact")
    with wandb.init() as run:
        artifact = wandb.Artifact("artifact_name", "artifact_type")
        artifact.add_file("image2.png")
        run.upsert_artifact(artifact, distributed_id="my_dist_artifact")
    assert versions("artifact_name") == []
    assert artifact.state == "PENDING"
    with pytest.raises(ArtifactNotLoggedError):
        _ = artifact.version
    with wandb.init() as run:
        artifact = wandb.Artifact("artifact_name", "artifact_type")
        artifact.add_file("image3.png")
        run.finish_artifact(artifact, distributed_id="my_dist_artifact")
    assert (artifact.version, artifact.state) == ("v0", "COMMITTED")
    assert stored("artifact_name") == {
        f"image{n}.png": f"image{n}.png".encode() for n in (1, 2, 3)
    }  # fmt: skip


def test_nothing_is_stored_again_when_it_is_finished(repository: Repository) -> None:
    data = os.urandom(1_000_000)
    for n in range(3):
        with wandb.init(group="g") as run:
            run.upsert_artifact(made("data", **{f"parts/{n}": data[n * 300_000 :][:300_000]}))
    before = {info.key for info in repository.store.list(keys.PACKS)}
    done = finish()
    new = [info.size for info in repository.store.list(keys.PACKS) if info.key not in before]
    assert sum(new) < 2000  # the directories that meet
    assert done.size == 900_000


def test_what_was_stored_for_it_is_that_of_all_its_writers(repository: Repository) -> None:
    upsert(id="w", a=os.urandom(100_000))
    upsert(id="w", b=os.urandom(100_000))
    upsert(c=os.urandom(100_000))
    done = finish(d=os.urandom(100_000))
    record = repository.catalog.version(KEY, 0)
    assert done.size == 400_000
    assert 400_000 < record.stored < 410_000


def test_what_a_run_adds_to_a_draft_leaves_it_one() -> None:
    """The version is put on what others have logged meanwhile."""
    saved(a="0")
    with wandb.init(group="g", id="w") as run:
        run.upsert_artifact(draft(lambda d: d.remove("a")))
    upsert(id="w", more="1")
    saved(a="0", theirs="2")
    finish()
    assert stored("data") == {"more": b"1", "theirs": b"2"}


def test_what_parts_hold_is_not_reclaimable(repository: Repository) -> None:
    data = os.urandom(100_000)
    saved(a=data)
    doomed = [(KEY, repository.catalog.version(KEY, 0))]
    assert reclaimable(repository, doomed).size > 100_000
    upsert(b=data)
    assert reclaimable(repository, doomed).size < 1000


def test_who_was_overtaken_does_not_remove_what_others_add(repository: Repository) -> None:
    """It has opened the version again, and another goes on to finish it."""
    upsert(a="1")
    version = Distributed(repository, KEY, "g")
    first = version.seal("one")
    version.unseal(first)
    second = version.seal("two")
    version.close(first, saved("other", a="1")._logged().record, made=True)
    assert version.begun() == second
    assert second.version < 0
    assert len(list(part_roots(repository))) == 1


def test_labels_and_aliases_of_all_come_together() -> None:
    with wandb.init(group="g") as run:
        first = made(a="1")
        first.description, first.metadata, first.tags = "first", {"n": 1, "a": 1}, ["raw"]
        run.upsert_artifact(first, aliases=["one"])
    with wandb.init(group="g") as run:
        last = made(b="2")
        last.metadata, last.tags = {"n": 2}, ["good"]
        run.finish_artifact(last, aliases=["two"])
    found = wandb.Api().artifact("data:v0")
    assert (found.description, found.tags) == ("first", ["raw", "good"])
    assert found.metadata["a"] == 1
    assert found.aliases == ["latest", "one", "two"]


def test_every_run_that_added_to_it_has_made_it(repository: Repository) -> None:
    upsert(id="w1", a="1")
    upsert(id="w2", b="2")
    with wandb.init(group="g", id="last") as run:
        run.finish_artifact(made(c="3"))
    for name in ("w1", "w2", "last"):
        [output] = repository.runs.artifacts(RunKey("default", "default", name)).outputs
        assert (str(output), output.made) == ("data:v0", True)
    assert repository.catalog.version(ArtifactKey("default", "default", "data"), 0).run.endswith(
        "/last"
    )


def test_ids_and_artifacts_are_apart() -> None:
    upsert("g/1 é", a="1")
    upsert("g 2", b="2")
    with wandb.init(group="g/1 é") as run:
        run.upsert_artifact(made("other", c="3"))
    assert finish("g/1 é").version == "v0"
    assert stored("data:v0") == {"a": b"1"}
    assert finish("g 2").version == "v1"
    assert stored("data:v1") == {"b": b"2"}
    assert versions("other") == []


def test_one_run_may_add_more_than_once() -> None:
    with wandb.init(group="g") as run:
        run.upsert_artifact(made(a="1", same="old"))
        run.upsert_artifact(made(b="2", same="new"))
        one = run.upsert_artifact(made("single", c="3")).wait()
        run.upsert_artifact(one).wait()
        run.finish_artifact(one)
    assert stored("single") == {"c": b"3"}
    finish()
    assert stored("data") == {"a": b"1", "b": b"2", "same": b"new"}


def test_a_writer_that_died_and_runs_again() -> None:
    upsert(id="w1", part="half", log="first try")
    upsert(part2="2")
    upsert(id="w1", part="whole", log="second try")
    upsert(part2="2")  # under another id: the same content
    finish()
    assert stored("data") == {"part": b"whole", "part2": b"2", "log": b"second try"}


def test_two_writers_of_one_path_are_reported_and_can_put_it_right() -> None:
    upsert(id="w1", d__f="1", ok="k")
    upsert(id="w2", d__f="2", ok="k")
    with pytest.raises(Conflict, match="different content for one path: d/f by runs w1, w2"):
        finish()
    assert versions("data") == []
    upsert(id="w2", d__f="1")
    with pytest.raises(Conflict, match="ok by runs"):
        finish(ok="mine")
    finish(more="m")
    assert stored("data") == {"d": None, "d/f": b"1", "ok": b"k", "more": b"m"}


def test_what_cannot_be() -> None:
    with wandb.init() as run:
        for call in (run.upsert_artifact, run.finish_artifact):
            with pytest.raises(InvalidValue, match="distributed_id: is not given"):
                call(made(a="1"))
            for wrong in ("", "..", "x" * 251, "a\n"):
                with pytest.raises(InvalidValue, match="distributed_id"):
                    call(made(a="1"), distributed_id=wrong)
        with pytest.raises(InvalidValue, match="is logged, and cannot be a part"):
            run.upsert_artifact(saved("there", a="1").wait(), distributed_id="g")
        with pytest.raises(InvalidValue, match="alias 'latest'"):
            run.upsert_artifact(made(a="1"), aliases=["latest"], distributed_id="g")
    with pytest.raises(InvalidValue, match="has finished"):
        run.upsert_artifact(made(a="1"), distributed_id="g")
    upsert(a="1")
    with (
        wandb.init(group="g") as run,
        pytest.raises(Conflict, match="has type 'dataset', not 'model'"),
    ):
        run.upsert_artifact(Artifact("data", "model"))


def test_an_upsert_after_the_finish_is_refused() -> None:
    upsert(a="1")
    first = finish()
    late = r"distributed version 'g' of artifact 'data': was finished by run '\w+' as v0"
    with wandb.init(group="g") as run, pytest.raises(Conflict, match=late):
        run.upsert_artifact(made(b="2"))
    again = finish()
    assert (again.version, again.digest) == ("v0", first.digest)
    with pytest.raises(Conflict, match="was finished as v0 by another run, without all that"):
        finish(b="2")
    assert finish(a="1").version == "v0"
    assert versions("data") == [0]


def test_content_that_is_there_makes_no_version() -> None:
    saved(a="1", b="2")
    upsert(a="1")
    assert finish(b="2").version == "v0"
    assert versions("data") == [0]
    with wandb.init(group="g") as run, pytest.raises(Conflict, match="was finished"):
        run.upsert_artifact(made(c="3"))


def draft(change: Callable[[Artifact], object], ref: str = "data") -> Artifact:
    found = wandb.Api().artifact(ref).new_draft()
    change(found)
    return found


def test_an_incremental_version_of_several() -> None:
    saved(keep="k", gone="g", d__x="0", d__y="0")
    Path("x").write_text("1")
    with wandb.init(group="g") as run:
        run.upsert_artifact(draft(lambda a: a.add_file("x", "d/x")))
    with wandb.init(group="g") as run:
        run.upsert_artifact(draft(lambda a: a.remove("gone")))
    upsert(new="n")  # not incremental: only adds
    saved(keep="k", gone="g", d__x="0", d__y="0", meanwhile="m")
    with wandb.init(group="g") as run:
        run.finish_artifact(draft(lambda a: a.add_file("x", "x"), "data:v0"))
    assert stored("data:v2") == {
        "keep": b"k", "d": None, "d/x": b"1", "d/y": b"0", "new": b"n", "x": b"1",
        "meanwhile": b"m",
    }  # fmt: skip


def test_parts_over_different_bases() -> None:
    saved(a="0", b="0")
    Path("a").write_text("1")
    with wandb.init(group="g") as run:
        run.upsert_artifact(draft(lambda d: d.add_file("a")))
    saved(a="0", b="1")
    Path("c").write_text("1")
    with wandb.init(group="g", id="w2") as run:
        run.upsert_artifact(draft(lambda d: d.add_file("c")))
    finish()
    assert stored("data:v2") == {"a": b"1", "b": b"1", "c": b"1"}
    with wandb.init(group="h", id="w1") as run:
        run.upsert_artifact(draft(lambda d: d.add_file("a", "b"), "data:v0"))
    Path("a").write_text("2")
    with wandb.init(group="h", id="w2") as run:
        run.upsert_artifact(draft(lambda d: d.add_file("a", "b"), "data:v1"))
    with pytest.raises(Conflict, match="b by runs w1, w2"):
        finish("h")


def test_a_finish_over_what_others_changed_the_same() -> None:
    saved(a="0")
    Path("a").write_text("1")
    with wandb.init(group="g") as run:
        run.upsert_artifact(draft(lambda d: d.add_file("a")))
    saved(a="2")
    with pytest.raises(CommitConflict, match="changed on both sides: a"):
        finish()
    Path("a").write_text("2")
    upsert(b="still open")


def test_an_incremental_artifact_of_nothing() -> None:
    for name in ("a", "b"):
        with wandb.init(group="g") as run:
            artifact = Artifact("data", "dataset", incremental=True)
            with artifact.new_file(name) as file:
                file.write(name)
            run.upsert_artifact(artifact)
    finish()
    assert stored("data") == {"a": b"a", "b": b"b"}


def test_a_directory_or_file_by_its_path() -> None:
    with wandb.init(group="g") as run:
        run.upsert_artifact("images", name="data", type="dataset")
        run.finish_artifact("model.h5", name="data", type="dataset")
    assert sorted(stored("data")) == ["cat.png", "dog.png", "model.h5"]
