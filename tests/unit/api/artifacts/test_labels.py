"""Description, metadata, tags and ttl: given, changed and saved, by several at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import artfs
from artfs import Artifact
from artfs.errors import ArtifactNotLoggedError, InvalidValue
from artfs.repo import labels
from tests.unit.api.artifacts.contents import made, saved, versions


def fetched(ref: str = "data") -> Artifact:
    return artfs.Api().artifact(ref)


def test_labels_of_a_new_artifact_become_those_of_the_version() -> None:
    artifact = made(a="1")
    artifact.description, artifact.metadata["n"] = "about", 1
    artifact.tags = ["raw", "raw", "two words"]
    artifact.ttl = timedelta(days=2, microseconds=5)
    with artfs.init() as run:
        run.log_artifact(artifact, tags=["logged", "raw"])
    for one in (artifact, fetched()):
        assert (one.description, one.metadata) == ("about", {"n": 1})
        assert one.tags == ["raw", "two words", "logged"]
        assert one.ttl == timedelta(days=2)
        assert one.updated_at == one.created_at


def test_changes_of_a_version_are_saved() -> None:
    one = saved(a="1")
    one.description = "new"
    one.metadata["deep"] = {"list": [1]}
    one.tags.append("good")
    one.ttl = timedelta(hours=1)
    assert fetched().tags == []
    one.save()
    found = fetched()
    assert (found.description, found.metadata) == ("new", {"deep": {"list": [1]}})
    assert (found.tags, found.ttl) == (["good"], timedelta(hours=1))
    assert found.updated_at >= found.created_at
    assert versions("data") == [0]
    found.metadata["deep"]["list"].append(2)
    found.tags.clear()
    found.ttl = None
    found.save()
    assert fetched().metadata == {"deep": {"list": [1, 2]}}
    assert (fetched().tags, fetched().ttl) == ([], None)
    assert fetched().commit_hash == one.commit_hash


def test_changes_of_two_are_both_kept() -> None:
    saved(a="1").description = "unsaved"
    start = fetched()
    start.metadata = {"both": 0, "gone": 0, "mine": 0}
    start.tags = ["a", "b"]
    start.save()
    one, two = fetched(), fetched()
    one.metadata |= {"mine": 1, "new": 1, "both": 1}
    one.tags = ["b", "one", "other"]
    one.save()
    del two.metadata["gone"]
    two.metadata["both"] = 2
    two.tags += ["two", "one"]
    two.description = "two"
    two.save()
    found = fetched()
    assert found.metadata == {"both": 2, "mine": 1, "new": 1}
    assert found.tags == ["b", "one", "other", "two"]
    assert found.description == "two"
    assert two.metadata == found.metadata


def test_what_was_not_changed_stays_as_others_have_saved_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved(a="1")
    one, two = fetched(), fetched()
    monkeypatch.setattr(labels, "now", lambda: "2030-01-02T03:04:05Z")
    one.description, one.ttl = "about", timedelta(hours=1)
    one.save()
    two.tags = ["two"]
    two.save()
    for found in (two, fetched()):
        assert (found.description, found.ttl, found.tags) == ("about", timedelta(hours=1), ["two"])
        assert found.created_at < found.updated_at == "2030-01-02T03:04:05Z"


def test_a_draft_has_the_labels_that_the_version_has_now() -> None:
    one = saved(a="1")
    one.description, one.metadata = "new", {"n": 1}
    one.save()
    draft = fetched().new_draft()
    assert (draft.description, draft.metadata) == ("new", {"n": 1})


def test_unchanged_content_gets_the_tags() -> None:
    saved(a="1")
    again = made(a="1")
    again.tags = ["good"]
    again.save()
    assert (again.version, fetched().tags) == ("v0", ["good"])
    with artfs.init() as run:
        run.log_artifact(fetched(), tags=["more"])
    assert fetched().tags == ["good", "more"]


@pytest.mark.parametrize("tags", [["a/b"], [""], [" a"], ["a "], ["a,b"], ["x" * 129]])
def test_tags_that_cannot_be(tags: list[str]) -> None:
    artifact = made(a="1")
    with pytest.raises(InvalidValue, match="tag"):
        artifact.tags = tags
    with pytest.raises(InvalidValue, match="tags 'tag': is one text"):
        artifact.tags = "tag"
    artifact.tags.extend(tags)
    with pytest.raises(InvalidValue, match="tag"):
        artifact.save()
    one = saved("other", a="1")
    one.tags.append("a:b")
    with pytest.raises(InvalidValue, match="tag 'a:b': may hold only words"):
        one.save()
    assert fetched("other").tags == []


def test_metadata_that_cannot_be_saved() -> None:
    one = saved(a="1")
    one.metadata.update({str(n): n for n in range(101)})
    with pytest.raises(InvalidValue, match="has 101 keys"):
        one.save()
    one.metadata = {"set": 1}
    one.metadata["set"] = {1}
    with pytest.raises(InvalidValue, match="metadata 'set': is not JSON"):
        one.save()
    assert fetched().metadata == {}


def test_ttl() -> None:
    artifact = made(a="1")
    assert artifact.ttl is None
    artifact.ttl = timedelta(days=1)
    artifact.ttl = artfs.ArtifactTTL.INHERIT
    assert artifact.ttl is None
    wrong: list[Any] = [3600, "1d", timedelta(0), timedelta(days=-1), timedelta(days=365_251)]
    for ttl in wrong:
        with pytest.raises(InvalidValue, match="ttl"):
            artifact.ttl = ttl
    with pytest.raises(ArtifactNotLoggedError):
        _ = artifact.updated_at
