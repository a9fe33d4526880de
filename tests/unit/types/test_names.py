"""Names, aliases and refs: what is right, and that nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artfs.errors import InvalidValue
from artfs.format import keys
from artfs.store.keys import check_key
from artfs.types import (
    LATEST,
    ArtifactKey,
    Ref,
    check_alias,
    check_name,
    parse_artifact,
    parse_project,
    parse_ref,
    parse_version,
)

PROJECT = ("someone", "things")
letters = st.sampled_from("abzAZ09_-.")
names = st.text(letters, min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
selectors = st.just(LATEST) | names.filter(lambda s: s != LATEST) | st.integers(0, 10**9).map(
    lambda n: f"v{n}"
)  # fmt: skip


@given(names)
def test_names(name: str) -> None:
    assert check_name(name) == name
    key = ArtifactKey(name, name, name)
    assert parse_artifact(f"{name}/{name}/{name}", PROJECT) == key
    check_key(keys.version(key, 10**10 - 1))


@pytest.mark.parametrize("name", [
    "", ".", "..", "a b", "a/b", "a:b", "a@b", "ä", "a\n", "a\0", "x" * 129, "\udcff", "a\\b",
])  # fmt: skip
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidValue):
        check_name(name)


def test_the_longest_name() -> None:
    assert check_name("x" * 128)


@given(st.text(max_size=200))
@example("x" * 128)
@example("ä" * 64)
@example("v0")
@example("v01")
def test_whatever_is_accepted_as_alias_can_be_stored_and_found(alias: str) -> None:
    try:
        check_alias(alias)
    except InvalidValue:
        return
    key = keys.alias(ArtifactKey("e", "p", "n"), alias)
    check_key(key)
    assert keys.alias_of(key.rpartition("/")[2]) == alias
    assert parse_ref(f"n:{alias}", PROJECT).selector == alias


@pytest.mark.parametrize("alias", [
    "", ".", "..", LATEST, "v0", "v17", "a/b", "a:b", "a@b", "a\n", "\x7f", "\udcff", "x" * 129,
])  # fmt: skip
def test_bad_aliases(alias: str) -> None:
    with pytest.raises(InvalidValue):
        check_alias(alias)


@given(names, names, names, selectors)
def test_refs_are_read_as_written(entity: str, project: str, name: str, selector: str) -> None:
    full = f"{entity}/{project}/{name}:{selector}"
    assert parse_ref(full, PROJECT) == Ref(ArtifactKey(entity, project, name), selector)
    assert parse_ref(f"{name}:{selector}", PROJECT).artifact == ArtifactKey(*PROJECT, name)
    assert parse_ref(f"{project}/{name}", PROJECT) == Ref(ArtifactKey("default", project, name))
    assert parse_project(f"{entity}/{project}") == (entity, project)
    assert parse_project(project) == ("default", project)


@given(names, st.text("0123456789abcdef", min_size=12, max_size=64))
def test_refs_by_digest(name: str, digest: str) -> None:
    ref = parse_ref(f"{name}@{digest}", PROJECT)
    assert (ref.digest, ref.artifact.name) == (digest, name)
    assert parse_ref(str(ref), PROJECT) == parse_ref(ref.full, ("other", "one")) == ref


@pytest.mark.parametrize("text", [
    "", ":", "@", "a:", "a@", "a:b:c", "a@00", "a@" + "0" * 65, "a@ABCDEF012345", "/a", "a/", "//",
    "a/b/c/d", "a:b/c", "../a", "a/../b", "a:v1@000000000000", "a b", "a:..", "a\n:v1", "a:v1\n",
])  # fmt: skip
def test_bad_refs(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_ref(text, PROJECT)


@given(st.text("v0123456789/:@.a\n", max_size=9))
def test_any_text_is_a_ref_or_refused(text: str) -> None:
    try:
        ref = parse_ref(text, PROJECT)
    except InvalidValue:
        return
    assert parse_ref(str(ref), (ref.artifact.entity, ref.artifact.project)) == ref


@given(st.integers(0, 10**10 - 1))
def test_versions(number: int) -> None:
    assert parse_version(f"v{number}") == number


@pytest.mark.parametrize("text", ["v", "v-1", "v01", "V1", "1", "v1 ", "v1\n", "v" + "1" * 11])
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None
