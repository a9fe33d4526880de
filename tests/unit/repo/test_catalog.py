"""What a person's words for versions mean; numbers, aliases and `latest` are kept right."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from artfs.errors import Conflict, Damaged, InvalidValue, NotFound, UnsupportedFormat
from artfs.format import keys, record
from artfs.format.record import RootRecord, VersionRecord
from artfs.format.runs import RunArtifacts
from artfs.repo.catalog import Catalog
from artfs.repo.editing import empty_directory
from artfs.repo.labels import Labels
from artfs.repo.records import now
from artfs.repo.repository import Repository
from artfs.store.directory import DirectoryStore
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey, Ref, RunKey, parse_ref
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import KEY, commit_tree, memory_repository, read_version

PROJECT = ("default", "default")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as opened:
        yield opened


def put(repository: Repository, *contents: bytes) -> None:
    for content in contents:
        commit_tree(repository, {b"f": content})


def delete(repository: Repository, number: int) -> None:
    """Mark a version as deleted."""
    repository.store.put_if_absent(keys.deletion(KEY, number), b"{}\n")


def version_record(number: int) -> VersionRecord:
    return VersionRecord(
        version=number, commit=uuid.uuid4().hex, root=RootRecord.of(empty_directory()),
        created=now(),
    )  # fmt: skip


def test_the_newest_of_100_000_is_found_by_few_probes() -> None:
    store = FaultyStore(MemoryStore())
    data = record.encode(version_record(0))
    for number in range(100_000):
        store.inner.put_if_absent(keys.version(KEY, number), data)
    catalog = Catalog(store)
    assert catalog.newest_number(KEY) == 99_999
    assert store.calls["info"] <= 40
    store.calls.clear()
    assert catalog.newest_number(KEY) == 99_999
    assert store.calls == {"info": 1}
    store.calls.clear()
    store.inner.put_if_absent(keys.version(KEY, 100_000), data)
    assert catalog.newest_number(KEY) == 100_000
    assert store.calls["info"] <= 3


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8, 9, 31, 33])
def test_newest_number_of_few(count: int) -> None:
    store = MemoryStore()
    for number in range(count):
        store.put_if_absent(keys.version(KEY, number), record.encode(version_record(number)))
    assert Catalog(store).newest_number(KEY) == count - 1


def _commit_some(root: Path, cache: Path, worker: int) -> None:
    with memory_repository(cache, DirectoryStore(root)) as repository:
        for n in range(4):
            commit_tree(repository, {b"f": b"%d %d" % (worker, n)})


def test_racing_processes_leave_no_gap_and_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "store"
    DirectoryStore.create(root)
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_commit_some, args=(root, tmp_path / "cache", n)) for n in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    with memory_repository(tmp_path / "cache", DirectoryStore(root)) as repository:
        assert repository.store.list_names(keys.versions(KEY)) == [
            f"{number:010d}.json" for number in range(32)
        ]
        found = {bytes(str(read_version(repository, n)[b"f"]), "ascii") for n in range(32)}
        assert found == {str(b"%d %d" % (w, n)).encode() for w in range(8) for n in range(4)}


def test_latest_is_stored_nowhere(repository: Repository) -> None:
    put(repository, b"0", b"1")
    assert repository.catalog.latest(KEY) == 1
    assert repository.catalog.aliases(KEY) == {}
    stored = [info.key for info in repository.store.list("")]
    assert not [key for key in stored if "latest" in key]
    with pytest.raises(InvalidValue, match="latest"):
        repository.catalog.set_alias(KEY, "latest", 0)


def test_deleted_versions_are_passed_over(repository: Repository) -> None:
    put(repository, b"0", b"1", b"2", b"3")
    for number in (1, 3):
        delete(repository, number)
    catalog = repository.catalog
    assert catalog.latest(KEY) == 2
    assert catalog.versions(KEY) == [0, 2]
    assert catalog.newest_number(KEY) == 3
    with pytest.raises(NotFound, match="deleted"):
        catalog.version(KEY, 3)
    put(repository, b"4")
    assert catalog.versions(KEY) == [0, 2, 4]
    with pytest.raises(NotFound):
        catalog.resolve(Ref(KEY, "v1"))


def test_an_artifact_goes_on_after_all_its_versions_were_deleted(repository: Repository) -> None:
    put(repository, b"0", b"1")
    for number in (0, 1):
        delete(repository, number)
    with pytest.raises(NotFound, match="deleted"):
        repository.catalog.latest(KEY)
    put(repository, b"1")
    assert repository.catalog.versions(KEY) == [2]
    with pytest.raises(Conflict):
        commit_tree(repository, {b"f": b"x"}, base=0)


@pytest.mark.parametrize("gone", [[1], [2], [1, 2]])
def test_a_base_is_compared_with_the_newest_version_that_is_left(
    repository: Repository, gone: list[int]
) -> None:
    put(repository, b"0", b"1", b"2")
    for number in gone:
        delete(repository, number)
    left = repository.catalog.latest(KEY)
    for base in {-1, 0, 1, 2} - {left}:
        with pytest.raises(Conflict, match="v2"):
            commit_tree(repository, {b"f": b"x"}, base=base)
    assert commit_tree(repository, {b"f": b"x"}, base=left).version == 3


def test_equal_content_makes_no_version(repository: Repository) -> None:
    put(repository, b"0", b"1")
    done = commit_tree(repository, {b"f": b"1"})
    assert (done.version, done.changed) == (1, False)
    assert commit_tree(repository, {b"f": b"0"}).version == 2  # equal to an older one


def test_one_commit_id_makes_one_version(repository: Repository) -> None:
    first = commit_tree(repository, {b"f": b"0"}, commit_id="c1")
    again = commit_tree(repository, {b"f": b"0"}, commit_id="c1")
    assert first == again
    put(repository, b"1", b"2")
    done = commit_tree(repository, {b"f": b"3"}, commit_id="c2", base=2)
    put(repository, b"4")
    assert commit_tree(repository, {b"f": b"3"}, commit_id="c2", base=2) == done


def test_aliases_move_by_compare_and_set(repository: Repository) -> None:
    put(repository, b"0", b"1")
    catalog = repository.catalog
    catalog.set_alias(KEY, "best", 0)
    with pytest.raises(Conflict, match="is at v0, not at v1"):
        catalog.set_alias(KEY, "best", 1, expect=1)
    with pytest.raises(Conflict, match="is unset, not at v0"):
        catalog.set_alias(KEY, "other", 1, expect=0)
    catalog.set_alias(KEY, "best", 1, expect=0)
    assert catalog.aliases(KEY) == {"best": 1}
    assert catalog.resolve(Ref(KEY, "best")).version == 1
    with pytest.raises(NotFound, match="v7"):
        catalog.set_alias(KEY, "best", 7)
    catalog.delete_alias(KEY, "best")
    assert catalog.aliases(KEY) == {}
    with pytest.raises(NotFound, match="not set"):
        catalog.delete_alias(KEY, "best")


def test_an_alias_moved_by_another_meanwhile_is_tried_again(tmp_path: Path) -> None:
    store = FaultyStore(MemoryStore())
    with memory_repository(tmp_path, store) as repository:
        put(repository, b"0", b"1")
        store.fail("compare_and_set", error=Conflict("record", "moved"))
        repository.catalog.set_alias(KEY, "best", 1)
        store.verify_all_hit()
        assert repository.catalog.aliases(KEY) == {"best": 1}
        for n in range(100):
            store.fail("compare_and_set", n + 1, error=Conflict("record", "moved"))
        with pytest.raises(Conflict, match="all the time"):
            repository.catalog.set_alias(KEY, "best", 0)


@pytest.mark.parametrize("alias", ["a b", "ü", "%2F", "100%", "a~b", "ä" * 40, "x" * 128, "…"])
def test_unusual_aliases(repository: Repository, alias: str) -> None:
    put(repository, b"0")
    repository.catalog.set_alias(KEY, alias, 0)
    assert repository.catalog.aliases(KEY) == {alias: 0}
    assert repository.catalog.resolve(parse_ref(f"animals:{alias}", PROJECT)).version == 0


def test_refs(repository: Repository) -> None:
    put(repository, b"0", b"1", b"2")
    catalog = repository.catalog
    catalog.set_alias(KEY, "best", 1)
    digest = catalog.version(KEY, 0).digest
    meant = {
        "animals": 2, "animals:latest": 2, "animals:v0": 0, "animals:best": 1,
        f"animals@{digest}": 0, f"animals@{digest[:12]}": 0, "default/animals:v1": 1,
        "default/default/animals:v1": 1,
    }  # fmt: skip
    for text, number in meant.items():
        assert catalog.resolve(parse_ref(text, PROJECT)).version == number, text


@pytest.mark.parametrize("ref", [
    "animals:v3", "animals:nosuch", "animals@000000000000", "plants", "plants:v0", "plants:best",
    "plants@000000000000", "other/animals", "other/default/animals",
])  # fmt: skip
def test_refs_to_nothing(repository: Repository, ref: str) -> None:
    put(repository, b"0")
    with pytest.raises(NotFound):
        repository.catalog.resolve(parse_ref(ref, PROJECT))


def test_a_digest_prefers_the_newest_version_that_has_it(repository: Repository) -> None:
    put(repository, b"0", b"1", b"0")
    digest = repository.catalog.version(KEY, 0).digest
    assert repository.catalog.resolve(Ref(KEY, digest=digest[:12])).version == 2
    delete(repository, 2)
    assert repository.catalog.resolve(Ref(KEY, digest=digest[:12])).version == 0


def test_types(repository: Repository) -> None:
    put(repository, b"0")
    catalog = repository.catalog
    assert catalog.artifact(KEY).type == "dataset"
    with pytest.raises(Conflict, match="has type 'dataset', not 'model'"):
        catalog.create_artifact(KEY, "model")
    assert catalog.create_artifact(KEY, "").type == "dataset"


def test_artifacts_and_projects(repository: Repository) -> None:
    put(repository, b"0")
    other = ArtifactKey("me", "mine", "plants")
    commit_tree(repository, {b"f": b"x"}, other)
    catalog = repository.catalog
    catalog.create_artifact(ArtifactKey("me", "mine", "announced"), "dataset")
    assert catalog.projects() == [("default", "default"), ("me", "mine")]
    assert catalog.artifacts("me", "mine") == [other]
    assert catalog.artifacts("me", "nothing") == []


def spoilt(field: str, value: object) -> bytes:
    fields = msgspec.json.decode(record.encode(version_record(0)))
    (fields["root"] if field in fields["root"] else fields)[field] = value
    return msgspec.json.encode(fields)


BAD_RECORDS = {
    "nothing": b"", "text": b"hello", "binary": bytes(range(256)), "list": b"[]", "object": b"{}",
    "digest": spoilt("digest", "zz"), "short": spoilt("digest", "ab" * 31),
    "node": spoilt("node", "xy"), "offset": spoilt("offset", -1),
    "stored": spoilt("stored", 10**15), "version": spoilt("version", 5),
    "height": spoilt("height", -1),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_version_record_that_is_garbage(repository: Repository, name: str) -> None:
    repository.store.put_if_absent(keys.version(KEY, 0), BAD_RECORDS[name])
    with pytest.raises(Damaged, match=r"versions/0000000000\.json"):
        repository.catalog.version(KEY, 0).root.entry()


def test_a_version_record_of_a_newer_format(repository: Repository) -> None:
    repository.store.put_if_absent(keys.version(KEY, 0), spoilt("format", 2))
    with pytest.raises(UnsupportedFormat, match="format 2"):
        repository.catalog.version(KEY, 0)


def test_the_newest_version_is_found_however_many_there_are() -> None:
    store = MemoryStore()
    for count in range(150):
        catalog = Catalog(store)
        assert catalog.newest_number(KEY) == count - 1
        assert catalog.newest_number(KEY) == count - 1
        store.put_if_absent(keys.version(KEY, count), b"{}")
        assert catalog.newest_number(KEY) == count


def test_names_that_other_programs_leave_are_passed_over(repository: Repository) -> None:
    """What rsync, editors and file managers put beside objects is none."""
    put(repository, b"0", b"1")
    delete(repository, 0)
    run = RunKey("default", "default", "r")
    repository.runs.add(run, RunArtifacts(), 0)
    [pack, *_] = [info.key for info in repository.store.list(keys.PACKS)]
    folder, _, name = pack.rpartition("/")
    for key in (
        f"{folder}/.{name}.Ab3dEf", f"{folder}/{name[:8]}", f"{keys.PACKS}zz/{name}",
        f"{keys.artifact(KEY)}deleted/0000000001.json~", f"{keys.artifact(KEY)}deleted/.DS_Store",
        f"{keys.all_labels(KEY)}x.json", f"{keys.run_artifacts(run)}0000000007.json.part",
        *(f"{keys.aliases(KEY)}{name}.json" for name in ("..%2F..%2Fx", "%1B[31m", "v1", "latest")),
    ):  # fmt: skip
        repository.store.put_if_absent(key, b'{"version":1}')
    assert repository.catalog.deleted(KEY) == {0}
    assert repository.catalog.aliases(KEY) == {}
    assert repository.catalog.labels.reader(KEY)(version_record(1)) == Labels()
    assert repository.runs.next_part(run) == 1
    assert repository.runs.artifacts(run) == RunArtifacts()
    repository.known.forget(keys.pack_of(pack))
    assert repository.known.refresh(9)
    assert commit_tree(repository, {b"f": b"2"}).version == 2
