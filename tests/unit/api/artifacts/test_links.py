"""Portfolios from Python, as the W&B documents have them."""

from __future__ import annotations

import pytest

import artfs
from artfs import Artifact
from artfs.errors import ArtifactNotLoggedError, Conflict, InvalidValue, NotFound
from tests.unit.api.artifacts.contents import made, saved, stored, versions


def fetched(ref: str) -> Artifact:
    return artfs.Api().artifact(ref)


def test_link_and_unlink() -> None:
    one = saved(a="1")
    linked = one.link("models/best", aliases=["production"])
    assert (linked.name, linked.project, linked.aliases) == (
        "best:v0", "models", ["latest", "production"],
    )  # fmt: skip
    assert linked.is_link
    assert not one.is_link
    for link in (linked, fetched("models/best:production"), fetched("models/best")):
        assert link.qualified_name == "default/models/best:v0"
        assert (link.source_entity, link.source_project) == ("default", "default")
        assert (link.source_name, link.source_version) == ("data:v0", "v0")
        assert link.source_qualified_name == "default/default/data:v0"
        assert link.source_artifact.name == "data:v0"
        assert (link.digest, link.type, link.state) == (one.digest, "dataset", "COMMITTED")
    for each in (one, linked):
        names = [link.qualified_name for link in each.linked_artifacts]
        assert names == ["default/models/best:v0"]
    assert stored("models/best") == {"a": b"1"}
    with pytest.raises(InvalidValue, match="is a version and not a link"):
        one.unlink()
    linked.unlink()
    assert linked.state == "DELETED"
    assert one.linked_artifacts == []
    with pytest.raises(NotFound):
        fetched("models/best")
    with pytest.raises(NotFound, match="was deleted"):
        linked.unlink()


def test_paths_of_portfolios() -> None:
    one = saved(a="1")
    assert one.link("best").qualified_name == "default/default/best:v0"
    assert one.link("me/mine/best").qualified_name == "me/mine/best:v0"
    with artfs.init(project="mine", entity="me"):
        assert one.link("best:good").qualified_name == "me/mine/best:v0"
    assert fetched("me/mine/best:good").name == "best:v0"
    for path, why in (
        ("a/b/c/d", "may hold only"), ("best:v1", "names a version"), ("best@" + "0" * 12, "names"),
        ("", "is empty"),
    ):  # fmt: skip
        with pytest.raises(InvalidValue, match=why):
            one.link(path)
    for alias in ("latest", "v3", "a/b"):
        with pytest.raises(InvalidValue, match="alias"):
            one.link("best", aliases=[alias])
    with pytest.raises(InvalidValue, match="is one text"):
        one.link("best", aliases="good")
    model = Artifact("m", "model")
    model.save()
    with pytest.raises(Conflict, match="has type 'dataset', not 'model'"):
        model.link("best")
    with pytest.raises(ArtifactNotLoggedError):
        made(a="1").link("best")


def test_a_run_links_what_it_logs() -> None:
    with artfs.init(project="p") as run:
        linked = run.link_artifact(made(a="1"), "other/best", aliases=["good"])
        assert linked.source_qualified_name == "default/p/data:v0"
        again = run.link_artifact(run.use_artifact("data:v0"), "other/best")
        assert again.name == "best:v0"
    with pytest.raises(InvalidValue, match="has finished"):
        run.link_artifact(linked, "third/best")


def test_labels_of_a_link_are_those_of_the_version() -> None:
    one = saved(a="1")
    linked = one.link("best")
    linked.metadata["n"] = 1
    linked.aliases.append("good")
    linked.save()
    assert fetched("data").metadata == {"n": 1}
    assert fetched("data").aliases == ["latest"]
    assert fetched("best:good").metadata == {"n": 1}


def test_a_draft_of_a_link_is_one_of_the_version() -> None:
    saved(a="1").link("best")
    draft = fetched("best").new_draft()
    with draft.new_file("b") as file:
        file.write("2")
    draft.save()
    assert draft.qualified_name == "default/default/data:v1"
    assert stored("data:v1") == {"a": b"1", "b": b"2"}
    with pytest.raises(Conflict, match="is a portfolio, which holds links"):
        saved("best", a="2")


def test_deleting() -> None:
    one = saved(a="1")
    one.link("best", aliases=["production"])
    with pytest.raises(Conflict, match="has a link in default/default/best:v0") as raised:
        one.delete()
    assert "delete_aliases=True" in raised.value.hint
    linked = fetched("best:production")
    linked.delete()  # only the link
    assert versions("data") == [0]
    other = one.link("best")
    assert other.name == "best:v1"
    one.delete(delete_aliases=True)
    assert one.state == "DELETED"
    for ref in ("data", "best:v1"):
        with pytest.raises(NotFound):
            fetched(ref)
    with pytest.raises(NotFound, match="was deleted"):
        one.link("third")
