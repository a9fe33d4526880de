"""References to entries of other artifacts, and to what nothing is known of."""

from __future__ import annotations

import pytest

from artfs.errors import Damaged, InvalidValue, NotFound, SourceChanged, Unsupported
from artfs.format.reference import Reference, entry_of, reference_of
from artfs.repo.deletion import delete
from artfs.repo.references import References
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind
from tests.unit.repo.trees import KEY, Tree, commit_tree, noise
from tests.unit.sources.conftest import Recorded

BIG = noise(1 << 20)
TREE: Tree = {b"f": BIG, b"d": {b"a%\xff": b"odd", b"e": {b"l": "../a", b"x": b"x"}}, b"link": "f"}


def test_an_entry(repository: Repository, recorded: Recorded) -> None:
    commit_tree(repository, TREE)
    entry = recorded.entry("artfs://animals:latest/f")
    reference = reference_of(entry)
    assert reference.uri == "artfs://default/default/animals:v0/f"
    assert reference.checksum_kind == "artfs"
    assert entry.size == len(BIG)
    assert recorded.read(entry) == BIG
    assert recorded.read(entry, 5, 300_000) == BIG[5:300_000]
    commit_tree(repository, {b"f": b"another"})
    assert recorded.read(entry, 0, 9) == BIG[:9]


def test_directories(repository: Repository, references: References) -> None:
    commit_tree(repository, TREE)
    found = references.describe("artfs://default/animals:v0/d")
    assert [one.path for one in found] == ["a%\udcff", "e/l", "e/x"]
    assert found[0].reference.uri == "artfs://default/default/animals:v0/d/a%25%FF"
    assert found[1].link == b"../a"
    with pytest.raises(InvalidValue, match="more than 2 objects"):
        references.describe("artfs://animals:v0/d", max_objects=2)


def test_a_version_that_is_gone(repository: Repository, recorded: Recorded) -> None:
    commit_tree(repository, TREE)
    entry = recorded.entry("artfs://animals:v0/f")
    other = entry_of(
        b"n", Reference("artfs://default/default/animals:v0/f", "artfs:" + "0" * 64), 5, 0
    )
    with pytest.raises(SourceChanged, match="digest is another"):
        recorded.read(other)
    delete(repository, KEY, repository.catalog.version(KEY, 0))
    with pytest.raises(SourceChanged, match="was deleted"):
        recorded.read(entry)


def test_what_cannot_be(repository: Repository, references: References) -> None:
    commit_tree(repository, TREE)
    for uri, error, why in (
        ("artfs://animals/f", InvalidValue, "names no version"),
        ("artfs://animals:v0/nothing", NotFound, "no such path"),
        ("artfs://animals:v7/f", NotFound, "no such version"),
        ("artfs://animals:v0/link", InvalidValue, "is a symbolic link"),
    ):
        with pytest.raises(error, match=why):
            references.describe(uri)


def test_unknown_schemes(recorded: Recorded) -> None:
    (found,) = recorded.references.describe("tracker://run/7?x=1")
    assert (found.path, found.reference.sized) == ("7", False)
    entry = recorded.entry("tracker://run/7")
    with pytest.raises(Unsupported, match="nothing is known of 'tracker:'"):
        recorded.read(entry)
    other = recorded.entry("tracker://run/8")
    assert entry.digest != other.digest


def test_records_of_others() -> None:
    def entry(target: bytes) -> Entry:
        return Entry(b"r", Kind.REFERENCE, 0o644, 0, 5, 0, b"\0" * 32, target=target)

    newer = reference_of(entry(b'{"uri":"x://y","checksum":"etag:1","signed":{"by":"me"}}'))
    assert newer == Reference("x://y", "etag:1")
    assert reference_of(entry(b"x://bare")) == Reference("x://bare")
    for damaged in (b'{"uri":7}', b"{", b"\xff", b"{}"):
        with pytest.raises(Damaged, match="'r': cannot be decoded"):
            reference_of(entry(damaged))
