"""What every store must do: the executable form of `artfs.store.base`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.errors import AlreadyExists, Conflict, InvalidValue, ObjectNotFound
from artfs.store.base import Store
from tests.contract.conftest import StoreFactory

REPO = Path(__file__).parents[2]


def keys(store: Store, prefix: str = "") -> list[str]:
    return [o.key for o in store.list(prefix)]


def put(store: Store, key: str, *parts: bytes) -> None:
    writer = store.writer(key)
    writer.write(parts)
    writer.commit()


def race(count: int, work: Callable[[int], None]) -> None:
    """Run work(0), work(1), … in threads that start at one moment; a failure fails the test."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def race_processes(url: str | None, count: int, body: str) -> list[str]:
    """Run `body` (it has `store` and `number`) in processes started at one moment; their output."""
    if url is None:
        pytest.skip("this store lives in one process")
    script = (
        "import sys\n"
        "from artfs.errors import AlreadyExists, Conflict\n"
        "from artfs.store.location import open_store\n"
        "store, number = open_store(sys.argv[1]), int(sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n" + body
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env={**os.environ, "PYTHONPATH": str(REPO)},
        )
        for number in range(count)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=60)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0] * count
    return outputs


# Objects


def test_object_is_read_back(store: Store) -> None:
    store.put_if_absent("packs/aa/one", b"hello")
    assert store.get("packs/aa/one") == b"hello"
    assert store.info("packs/aa/one").key == "packs/aa/one"
    assert store.info("packs/aa/one").size == 5
    assert store.exists("packs/aa/one")


def test_other_handle_sees_object(store_factory: StoreFactory) -> None:
    store_factory.open().put_if_absent("a/b", b"x")
    assert store_factory.open().get("a/b") == b"x"


@pytest.mark.parametrize("key", ["none", "a/none", "a", "a/b/none"])
def test_missing_object(store: Store, key: str) -> None:
    store.put_if_absent("a/b", b"x")
    assert not store.exists(key)
    for method in (store.get, store.open, store.info, store.read_record):
        with pytest.raises(ObjectNotFound) as caught:
            method(key)
        assert caught.value.key == key


def test_empty_object(store: Store) -> None:
    put(store, "a/written")
    store.put_if_absent("a/put", b"")
    assert store.get("a/written") == store.get("a/put") == b""
    assert store.info("a/written").size == 0
    reader = store.open("a/written")
    assert reader.read(0, 10) == b""
    assert reader.read_cached(0, 10) == b""
    reader.close()


def test_object_of_5_mib(store: Store) -> None:
    data = hashlib.shake_256(b"artfs").digest(5 << 20)
    put(store, "packs/aa/big", *(data[i : i + 4000] for i in range(0, len(data), 4000)))
    assert store.get("packs/aa/big") == data
    assert store.info("packs/aa/big").size == len(data)
    reader = store.open("packs/aa/big")
    assert reader.read(0, len(data)) == data
    assert reader.read_cached(0, len(data)) in (data, None)
    reader.close()


# Writers


def test_writer_shows_object_only_after_commit(store: Store) -> None:
    writer = store.writer("packs/aa/one")
    writer.write([b"hel", bytearray(b"lo"), b"", memoryview(b" world")[:3]])
    writer.write([])
    assert not store.exists("packs/aa/one")
    assert keys(store) == []
    assert store.list_names("packs/") == []
    writer.commit()
    assert store.get("packs/aa/one") == b"hello wo"
    writer.abort()
    assert store.get("packs/aa/one") == b"hello wo"


def test_abort_leaves_nothing(store: Store) -> None:
    writer = store.writer("packs/aa/one")
    writer.write([b"x" * 1000])
    writer.abort()
    writer.abort()
    assert keys(store) == []
    assert store.list_names("") == []
    with pytest.raises(ValueError, match="packs/aa/one"):
        writer.commit()
    assert keys(store) == []


def test_writer_takes_more_parts_than_one_system_call(store: Store) -> None:
    parts = [b"%d," % n for n in range(5000)]
    put(store, "a/b", *parts)
    assert store.get("a/b") == b"".join(parts)


def test_writer_keeps_its_own_copy(store: Store) -> None:
    buffer = bytearray(b"before")
    writer = store.writer("a/b")
    writer.write([buffer])
    buffer[:] = b"after!"
    writer.commit()
    assert store.get("a/b") == b"before"


# Readers


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 10, b"0123456789"),
        (3, 4, b"3456"),
        (0, 0, b""),
        (8, 10, b"89"),
        (9, 1, b"9"),
        (10, 1, b""),
        (1000, 5, b""),
    ],
)
def test_read_ranges(store: Store, offset: int, length: int, expected: bytes) -> None:
    store.put_if_absent("a/b", b"0123456789")
    reader = store.open("a/b")
    reader.prefetch(offset, length)
    assert reader.read(offset, length) == expected
    assert reader.read_cached(offset, length) in (expected, None)
    reader.close()
    reader.close()


def test_results_of_read_cached_are_independent(store: Store) -> None:
    store.put_if_absent("a/b", b"0123456789")
    reader = store.open("a/b")
    first, second = reader.read_cached(0, 5), reader.read_cached(5, 5)
    assert (first, second) in ((b"01234", b"56789"), (None, None))
    assert isinstance(first, bytes | None)
    reader.close()


def test_one_reader_in_many_threads(store: Store) -> None:
    data = hashlib.shake_256(b"threads").digest(1 << 20)
    put(store, "a/b", data)
    reader = store.open("a/b")

    def work(number: int) -> None:
        for offset in range(number * 1000, len(data), 50_000):
            assert reader.read(offset, 3000) == data[offset : offset + 3000]
            assert reader.read_cached(offset, 3000) in (data[offset : offset + 3000], None)

    race(8, work)
    reader.close()


def test_reader_after_delete_reads_or_says_gone(store: Store) -> None:
    store.put_if_absent("a/b", b"0123456789")
    reader = store.open("a/b")
    store.delete("a/b")
    with contextlib.suppress(ObjectNotFound):
        assert reader.read(2, 3) == b"234"
    assert reader.read_cached(2, 3) in (b"234", None)
    reader.close()


# put_if_absent


def test_put_if_absent_keeps_the_first(store: Store) -> None:
    store.put_if_absent("a/b", b"first")
    with pytest.raises(AlreadyExists) as caught:
        store.put_if_absent("a/b", b"second")
    assert caught.value.what == "a/b"
    assert store.get("a/b") == b"first"
    assert keys(store) == ["a/b"]


def test_put_if_absent_of_racing_threads_has_one_winner(store_factory: StoreFactory) -> None:
    won: list[int] = []

    def work(number: int) -> None:
        try:
            store_factory.open().put_if_absent("versions/1", b"%d" % number)
        except AlreadyExists:
            return
        won.append(number)

    race(16, work)
    assert len(won) == 1
    assert store_factory.open().get("versions/1") == b"%d" % won[0]


def test_put_if_absent_of_racing_processes_has_one_winner(store_factory: StoreFactory) -> None:
    body = """
won = []
for n in range(20):
    try:
        store.put_if_absent(f"versions/{n}", b"%d" % number)
    except AlreadyExists:
        continue
    won.append(str(n))
print(*won)
"""
    outputs = race_processes(store_factory.url, 8, body)
    assert sorted(int(n) for out in outputs for n in out.split()) == list(range(20))
    store = store_factory.open()
    for number, out in enumerate(outputs):
        assert all(store.get(f"versions/{n}") == b"%d" % number for n in out.split())


# Records


def test_record_is_created_and_replaced(store: Store) -> None:
    first = store.compare_and_set("a/r.json", b"1", None)
    assert store.read_record("a/r.json") == (b"1", first)
    second = store.compare_and_set("a/r.json", b"2", first)
    assert second != first
    assert store.read_record("a/r.json") == (b"2", second)
    assert keys(store) == ["a/r.json"]


def test_conflict_changes_nothing(store: Store) -> None:
    first = store.compare_and_set("a/r.json", b"1", None)
    second = store.compare_and_set("a/r.json", b"2", first)
    for stale in (None, first, "nonsense"):
        with pytest.raises(Conflict) as caught:
            store.compare_and_set("a/r.json", b"3", stale)
        assert caught.value.what == "a/r.json"
    assert store.read_record("a/r.json") == (b"2", second)


def test_conflict_if_the_record_is_gone(store: Store) -> None:
    revision = store.compare_and_set("a/r.json", b"1", None)
    store.delete_record("a/r.json", revision)
    with pytest.raises(Conflict):
        store.compare_and_set("a/r.json", b"2", revision)
    assert keys(store) == []


def test_delete_record(store: Store) -> None:
    first = store.compare_and_set("a/r.json", b"1", None)
    second = store.compare_and_set("a/r.json", b"2", first)
    with pytest.raises(Conflict):
        store.delete_record("a/r.json", first)
    assert store.get("a/r.json") == b"2"
    store.delete_record("a/r.json", second)
    with pytest.raises(ObjectNotFound):
        store.read_record("a/r.json")
    with pytest.raises(Conflict):
        store.delete_record("a/r.json", second)
    store.compare_and_set("a/r.json", b"3", None)
    assert store.get("a/r.json") == b"3"


def test_racing_increments_of_threads_lose_none(store_factory: StoreFactory) -> None:
    store_factory.open().compare_and_set("counter", b"0", None)

    def work(_: int) -> None:
        store = store_factory.open()
        for _ in range(5):
            while True:
                value, revision = store.read_record("counter")
                try:
                    store.compare_and_set("counter", b"%d" % (int(value) + 1), revision)
                except Conflict:
                    continue
                break

    race(8, work)
    assert store_factory.open().get("counter") == b"40"


def test_racing_increments_of_processes_lose_none(store_factory: StoreFactory) -> None:
    store_factory.open().compare_and_set("counter", b"0", None)
    body = """
for _ in range(5):
    while True:
        value, revision = store.read_record("counter")
        try:
            store.compare_and_set("counter", b"%d" % (int(value) + 1), revision)
        except Conflict:
            continue
        break
"""
    race_processes(store_factory.url, 8, body)
    assert store_factory.open().get("counter") == b"40"


# delete, list


def test_delete_is_idempotent(store: Store) -> None:
    store.put_if_absent("a/b/c", b"x")
    store.delete("a/b/c")
    store.delete("a/b/c")
    store.delete("never/was")
    assert not store.exists("a/b/c")
    assert keys(store) == []
    store.put_if_absent("a/b/c", b"y")
    assert store.get("a/b/c") == b"y"


def test_delete_of_a_prefix_deletes_nothing(store: Store) -> None:
    store.put_if_absent("a/b/c", b"x")
    store.delete("a/b")
    store.delete("a/b/c/d")
    assert keys(store) == ["a/b/c"]


def test_list_is_in_order_of_keys(store: Store) -> None:
    names = ["o/a/b", "o/a-", "o/a.x", "o/a0", "o/B", "o/a/a/z", "p", "a", "o/ab/c", "o/a.d/e"]
    for number, key in enumerate(names):
        store.put_if_absent(key, b"x" * number)
    assert keys(store) == sorted(names)
    assert keys(store, "o/") == sorted(k for k in names if k.startswith("o/"))
    assert keys(store, "o/a/") == ["o/a/a/z", "o/a/b"]
    assert {o.key: o.size for o in store.list("")} == {k: n for n, k in enumerate(names)}
    assert next(store.list("o/a/")) == store.info("o/a/a/z")


def test_list_of_a_missing_prefix_is_empty(store: Store) -> None:
    store.put_if_absent("a/b", b"x")
    assert keys(store, "none/") == keys(store, "a/b/") == keys(store, "a/none/") == []
    assert store.list_names("none/") == store.list_names("a/b/") == []


def test_list_names(store: Store) -> None:
    for key in ("o/a/b", "o/a/c", "o/a-", "o/b", "o/c/d/e", "x"):
        store.put_if_absent(key, b"")
    assert store.list_names("o/") == ["a", "a-", "b", "c"]
    assert store.list_names("o/c/") == ["d"]
    assert store.list_names("") == ["o", "x"]


def test_list_names_after_one(store: Store) -> None:
    for key in ("o/a/b", "o/a/c", "o/a-", "o/b", "o/c/d/e", "x"):
        store.put_if_absent(key, b"")
    for after in ("", "0", "a", "a-", "a/b", "aa", "b", "c", "d"):
        assert store.list_names("o/", after) == [n for n in ("a", "a-", "b", "c") if n > after]
    assert store.list_names("o/c/", "c") == ["d"]
    assert store.list_names("none/", "a") == []


def test_names_without_objects_are_not_listed(store: Store) -> None:
    store.put_if_absent("o/a/b/c", b"x")
    store.put_if_absent("o/d", b"x")
    store.delete("o/a/b/c")
    assert store.list_names("o/") == ["d"]
    store.delete("o/d")
    assert store.list_names("") == []


def test_list_while_objects_come_and_go(store: Store) -> None:
    for n in range(50):
        store.put_if_absent(f"a/{n:02}/x", b"")
    found = []
    for number, info in enumerate(store.list("a/")):
        found.append(info.key)
        if number == 0:
            for n in range(1, 50, 2):
                store.delete(f"a/{n:02}/x")
    assert found == sorted(set(found))
    assert set(found) >= {f"a/{n:02}/x" for n in range(0, 50, 2)}


# Several at once


def test_existing(store: Store) -> None:
    for n in range(0, 40, 2):
        store.put_if_absent(f"a/{n}", b"")
    assert store.existing(f"a/{n}" for n in range(40)) == {f"a/{n}" for n in range(0, 40, 2)}
    assert store.existing(["a/1"]) == store.existing([]) == set()
    assert store.existing(["a", "a/0/b"]) == set()


def test_get_all(store: Store) -> None:
    there = {f"a/{n}": b"%d" % n * n for n in range(0, 40, 2)}
    for key, data in there.items():
        store.put_if_absent(key, data)
    assert store.get_all(f"a/{n}" for n in range(40)) == there
    assert store.get_all(["a/1", "a", "a/0/b"]) == store.get_all([]) == {}
    assert store.get_all(["a/2", "a/1"]) == {"a/2": b"22"}


def series(number: int) -> str:
    return f"versions/{number:010}.json"


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 11, 30])
def test_last_of_a_series(store: Store, length: int) -> None:
    for n in range(length):
        store.put_if_absent(series(n), b"")
    store.put_if_absent("versions/0000000003.jsonx", b"")
    store.put_if_absent("deleted/0000000099.json", b"")
    for after in range(-1, length):
        assert store.last_of(series, after) == length - 1
        for hint in {-1, 0, 1, length - 2, length - 1, length, length + 1, 98, 10**10}:
            assert store.last_of(series, after, hint) == length - 1


# Keys


BAD_KEYS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a\0b", "a\nb", "ä",
    "a" * 256, ".tmp", ".tmp/a", ".lock",
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused(store: Store, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.open(key),
        lambda: store.info(key),
        lambda: store.exists(key),
        lambda: store.writer(key),
        lambda: store.put_if_absent(key, b""),
        lambda: store.read_record(key),
        lambda: store.compare_and_set(key, b"", None),
        lambda: store.delete_record(key, "x"),
        lambda: store.delete(key),
    ]
    for call in calls:
        with pytest.raises(InvalidValue):
            call()
    assert keys(store) == []


@pytest.mark.parametrize("prefix", ["a", "/", "/a/", "../", "a/../", "a//", ".tmp/"])
def test_bad_prefixes_are_refused(store: Store, prefix: str) -> None:
    with pytest.raises(InvalidValue):
        store.list(prefix)
    with pytest.raises(InvalidValue):
        store.list_names(prefix)


@pytest.mark.parametrize("key", ["a b", "x/.hidden", "~!@#$%^&*()", "a/..b", "x/.tmp", "a" * 255])
def test_odd_keys_are_accepted(store: Store, key: str) -> None:
    store.put_if_absent(key, b"x")
    assert store.get(key) == b"x"
    assert keys(store) == [key]


# The rest


def test_free_bytes(store: Store) -> None:
    free = store.free_bytes()
    assert free is None or free > 0


def test_close_is_idempotent(store: Store) -> None:
    store.close()
    store.close()
