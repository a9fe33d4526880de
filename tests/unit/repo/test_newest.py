"""The newest version is found at one price however many there are, and whatever a floor says."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from artfs.errors import NotFound, Refused, Unreachable
from artfs.format import keys, record
from artfs.format.record import FloorRecord, RootRecord, VersionRecord
from artfs.repo.catalog import Catalog
from artfs.repo.editing import empty_directory
from artfs.repo.newest import STEP
from artfs.store.base import Store
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey, Ref
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import KEY, commit_tree, memory_repository

CHANGES = ("writer", "put_if_absent", "compare_and_set", "delete", "delete_record")


def version(number: int) -> VersionRecord:
    return VersionRecord(
        version=number, commit=uuid.uuid4().hex, root=RootRecord.of(empty_directory()), created=""
    )


def filled(count: int, floor: bytes | int | None = None) -> FaultyStore:
    """A store with the records of so many versions."""
    store = MemoryStore()
    for number in range(count):
        store.put(keys.version(KEY, number), record.encode(version(number)))
    if floor is not None:
        data = floor if isinstance(floor, bytes) else record.encode(FloorRecord(floor))
        store.put(keys.floor(KEY), data)
    return FaultyStore(store)


def floor_of(store: Store) -> int | None:
    data = store.get_all([keys.floor(KEY)])
    return record.decode(data[keys.floor(KEY)], FloorRecord, "").version if data else None


def commit(catalog: Catalog, numbers: Sequence[int]) -> None:
    for number in numbers:
        assert catalog.newest_number(KEY) == number - 1
        catalog.record_version(KEY, version(number))


def test_a_hundred_thousand_cost_what_a_thousand_do() -> None:
    costs = []
    for count in (1_050, 100_050):
        store = filled(count, count - count % STEP)
        assert Catalog(store).resolve(Ref(KEY, "latest")).version == count - 1
        costs.append(+store.calls)
    assert costs[0] == costs[1]
    assert costs[0].total() <= 20


def test_floors_are_raised_by_hundreds() -> None:
    store = filled(0)
    catalog = Catalog(store)
    commit(catalog, range(STEP))
    assert floor_of(store) is None
    commit(catalog, range(STEP, 2 * STEP + 3))
    assert floor_of(store) == 2 * STEP
    assert store.calls["compare_and_set"] == 2
    commit(Catalog(store), range(2 * STEP + 3, 3 * STEP + 1))
    assert floor_of(store) == 3 * STEP
    assert store.calls["compare_and_set"] == 3


def test_a_commit_raises_the_floor_after_its_commit_point(tmp_path: Path) -> None:
    store = filled(STEP)
    store.fail("compare_and_set", error=KeyboardInterrupt)
    with memory_repository(tmp_path / "a", store) as repository, pytest.raises(KeyboardInterrupt):
        commit_tree(repository, {b"f": b"1"}, aliases=("best",))
    assert floor_of(store) is None
    with memory_repository(tmp_path / "b", store) as repository:
        assert repository.catalog.latest(KEY) == STEP
        assert commit_tree(repository, {b"f": b"1"}, aliases=("best",)).version == STEP
        assert repository.catalog.aliases(KEY) == {"best": STEP}
        assert floor_of(store) is None
        assert commit_tree(repository, {b"f": b"2"}).version == STEP + 1
    assert floor_of(store) == STEP
    store.verify_all_hit()


@pytest.mark.parametrize("method", ["read_record", "compare_and_set"])
@pytest.mark.parametrize(
    "error", [Unreachable("s", "is away"), Refused("s", "no"), OSError(28, "disk full")]
)
def test_a_floor_that_cannot_be_raised_harms_nobody(method: str, error: Exception) -> None:
    store = filled(STEP)
    catalog = Catalog(store)
    assert catalog.newest_number(KEY) == STEP - 1
    store.fail(method, error=error)
    catalog.record_version(KEY, version(STEP))
    store.verify_all_hit()
    assert floor_of(store) is None
    assert Catalog(store).newest_number(KEY) == STEP
    commit(Catalog(store), [STEP + 1])
    assert floor_of(store) == STEP


@pytest.mark.parametrize("count", [0, 1, 50, 1_234])
@pytest.mark.parametrize(
    "floor",
    [0, 40, 1_200, 1_233, 1_234, 1_300, 10**10 - 1, b"", b"\xff\x00", b'{"version": 10000000000}',
     b'{"version": -3}', b'{"version": "1200"}', b'{"version": 12.5}', b'{}', b'[' * 10_000,
     b'{"format": 2, "version": 0}'],
)  # fmt: skip
def test_no_floor_is_believed(count: int, floor: bytes | int) -> None:
    """Neither an old one, nor one that somebody made up, or that was copied before the versions."""
    store = filled(count, floor)
    catalog = Catalog(store)
    for _ in range(2):
        assert catalog.newest_number(KEY) == count - 1
    assert not set(store.calls) & set(CHANGES)  # whoever may only read can do so
    commit(catalog, [count])
    right = count - count % STEP
    if isinstance(floor, int) and right < floor <= count:
        right = floor  # it is none that we would have made, but true
    assert floor_of(store) == right
    assert Catalog(store).newest_number(KEY) == count


def test_a_store_without_floors_gets_one_by_the_next_commit() -> None:
    store = filled(5_000)
    before = Catalog(store)
    assert before.newest_number(KEY) == 4_999
    dear = store.calls["info"]
    commit(Catalog(store), [5_000])
    assert floor_of(store) == 5_000
    store.calls.clear()
    assert Catalog(store).newest_number(KEY) == 5_000
    assert store.calls["info"] < dear / 3


def test_an_old_floor_does_not_replace_a_newer_one() -> None:
    store = filled(STEP - 1)
    slow, quick = Catalog(store), Catalog(store)
    assert slow.newest_number(KEY) == STEP - 2
    commit(quick, range(STEP - 1, 2 * STEP + 1))
    slow.record_version(KEY, version(2 * STEP + 1))
    assert floor_of(store) == 2 * STEP
    assert store.calls["compare_and_set"] == 2


def mark(store: FaultyStore, numbers: Sequence[int]) -> None:
    for number in numbers:
        store.inner.put_if_absent(keys.deletion(KEY, number), b"{}\n")


@pytest.mark.parametrize("gone", [1, 3, 900, 901, 2_500])
def test_newest_versions_that_are_deleted(gone: int) -> None:
    """A few of them cost one listing of few marks, however many others are deleted."""
    store = filled(5_000, 4_900)
    mark(store, range(5_000 - gone, 5_000))
    mark(store, range(1_000))
    catalog = Catalog(store)
    assert catalog.latest(KEY) == 4_999 - gone
    assert store.calls["list_names"] == (1 if gone <= 900 else 2)
    assert Catalog(store).resolve(Ref(KEY, "latest")).version == 4_999 - gone
    assert catalog.latest_version(KEY).version == 4_999 - gone
    assert catalog.versions(KEY) == list(range(1_000, 5_000 - gone))


def test_all_versions_are_deleted() -> None:
    store = filled(3)
    mark(store, range(3))
    catalog = Catalog(store)
    for ask in (catalog.latest, catalog.latest_version):
        with pytest.raises(NotFound, match="all its versions are deleted"):
            ask(KEY)
    catalog.require(KEY)


def test_an_artifact_that_is_not_there() -> None:
    store = filled(0)
    catalog = Catalog(store)
    assert catalog.newest_number(KEY) == -1
    for ask in (catalog.latest, catalog.latest_version, catalog.require, catalog.artifact):
        with pytest.raises(NotFound, match="no such artifact"):
            ask(KEY)
    catalog.record_version(KEY, version(0))
    assert catalog.newest_number(KEY) == 0
    catalog.require(KEY)
    assert floor_of(store) is None


def test_records_are_read_in_the_order_that_was_asked() -> None:
    store = filled(200)
    catalog = Catalog(store)
    numbers = [7, 3, 199, 7, *range(100, 180), 3]
    assert [found.version for found in catalog.records(KEY, iter(numbers))] == numbers
    some = catalog.records(KEY, [1, 500, 2])
    assert next(some).version == 1
    with pytest.raises(NotFound, match="v500: no such version"):
        next(some)


def test_a_digest_is_looked_for_in_many_records_at_once() -> None:
    """One for each version would be a round trip each."""
    store = MemoryStore()
    for number in range(300):
        made = version(number)
        if number in (5, 6):
            made = replace(made, root=replace(made.root, digest="77" * 32))
        store.put(keys.version(KEY, number), record.encode(made))
    counted = Batches(store)
    assert Catalog(counted).resolve(Ref(KEY, digest="77" * 6)).version == 6
    assert counted.batches <= 6


def test_the_newest_of_several_artifacts_are_looked_for_at_once() -> None:
    store = Meeting()
    artifacts = [ArtifactKey("default", "default", f"a{n}") for n in range(16)]
    for number, key in enumerate(artifacts):
        for n in range(number):
            store.put(keys.version(key, n), b"{}")
    found = Catalog(store).latest_numbers(artifacts)
    assert list(found.items()) == [(key, number - 1) for number, key in enumerate(artifacts)]
    store.meeting.abort()
    with pytest.raises(threading.BrokenBarrierError):
        Catalog(store).latest_numbers(artifacts)
    assert Catalog(store).latest_numbers([]) == {}


def test_the_newest_of_several_that_are_not_deleted() -> None:
    store = MemoryStore()
    artifacts = [ArtifactKey("default", "default", f"a{n}") for n in range(3)]
    for key, gone in zip(artifacts, ([], [2, 1], [0, 1, 2]), strict=True):
        for number in range(3):
            store.put(keys.version(key, number), b"{}")
        for number in gone:
            Catalog(store).mark_deleted(key, number)
    assert list(Catalog(store).latest_numbers(artifacts).values()) == [2, 0, -1]


class Meeting(MemoryStore):
    """Looks for the end of no series before it is asked for that of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(16, timeout=10)

    def last_of(self, key: Callable[[int], str], after: int = -1, hint: int = -1) -> int:
        self.meeting.wait()
        return super().last_of(key, after, hint)


class Batches(FaultyStore):
    """Counts how often several objects were asked for at once."""

    batches = 0

    def get_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        self.batches += 1
        return super().get_all(keys)
