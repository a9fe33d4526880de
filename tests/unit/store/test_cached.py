"""The cache on the local disk: what is here is not asked for again, and never believed."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.errors import ObjectNotFound, Unreachable
from artfs.store.base import ObjectReader
from artfs.store.cached import counts
from artfs.store.cached.blockfile import BLOCK, BlockFile
from artfs.store.cached.flights import URGENT, Arrival, Flight
from artfs.store.cached.overview import clean, overview
from artfs.store.cached.store import CachedStore
from tests.support.disks import MIB, filled, small_disk
from tests.support.mounts import wait_for
from tests.support.remote import RemoteStore

KEY = "packs/aa/aa01"
OTHER = "packs/aa/aa02"
DATA = random.Random(1).randbytes(5 * MIB + 12_345)


@pytest.fixture
def far() -> RemoteStore:
    store = RemoteStore()
    store.inner.put_if_absent(KEY, DATA)
    store.inner.put_if_absent(OTHER, DATA)
    return store


def cached(
    far: RemoteStore, cache: Path, size: int = 1 << 30, requests: int = 4, name: str = "id"
) -> CachedStore:
    def is_fixed(key: str) -> bool:
        return key.startswith("fixed/")

    return CachedStore(far, cache / name, "packs/", is_fixed, size=size, requests=requests)


def settled(store: CachedStore) -> None:
    """Wait until nothing is being fetched."""
    flights = store._flights

    def is_idle() -> bool:
        with flights.lock:  # else a flight goes from one to the other between two looks
            return not flights._running and not flights._queue

    wait_for(is_idle, what="end of fetching")


def block_file(cache: Path, key: str = KEY) -> Path:
    return cache / "id" / "packs" / key.rpartition("/")[2]


def test_reads_are_what_is_stored(far: RemoteStore, tmp_path: Path) -> None:
    reader, rng = cached(far, tmp_path).reader(KEY), random.Random(2)
    for _ in range(500):
        offset, length = rng.randrange(len(DATA) + 10), rng.choice((1, 100, 70_000, 300_000))
        assert reader.read(offset, length) == DATA[offset : offset + length]
        assert reader.read_cached(offset, length) in (None, DATA[offset : offset + length])


def test_what_was_read_is_here_for_other_processes_and_mounts(
    far: RemoteStore, tmp_path: Path
) -> None:
    first = cached(far, tmp_path)
    assert first.reader(KEY).read(0, len(DATA)) == DATA
    settled(first)
    first.close()
    before = far.requests
    reader = cached(far, tmp_path).reader(KEY)
    assert reader.read_cached(7, 100_000) == DATA[7:100_007]
    assert reader.read(0, len(DATA)) == DATA
    assert far.requests == before


def test_a_single_read_fetches_only_its_block(far: RemoteStore, tmp_path: Path) -> None:
    store = cached(far, tmp_path)
    store.reader(KEY).read(3 * BLOCK + 5, 100)
    settled(store)
    assert far.ranges == [(KEY, 3 * BLOCK, BLOCK)]


def test_reads_in_random_order_have_the_whole_pack_soon(far: RemoteStore, tmp_path: Path) -> None:
    store, rng = cached(far, tmp_path), random.Random(4)
    reader = store.reader(KEY)
    for _ in range(60):
        offset = rng.randrange(len(DATA) - 10)
        assert reader.read(offset, 10) == DATA[offset : offset + 10]
        settled(store)
    assert len(far.ranges) < 20
    # One request may be behind the end, which is not known before it was met.
    got = [max(0, min(length, len(DATA) - at)) for _, at, length in far.ranges]
    assert sum(got) == len(DATA)


def test_what_is_ahead_is_fetched_in_large_pieces(far: RemoteStore, tmp_path: Path) -> None:
    store = cached(far, tmp_path)
    reader = store.reader(KEY)
    reader.prefetch(0, 4 * MIB)
    settled(store)
    assert far.ranges == [(KEY, 0, 4 * MIB)]
    assert reader.read_cached(0, 4 * MIB) == DATA[: 4 * MIB]
    far.inner.put_if_absent("packs/bb/bb01", bytes(33 * MIB))
    store.reader("packs/bb/bb01").prefetch(0, 33 * MIB)
    settled(store)
    assert [length for _, _, length in far.ranges[1:]] == [33 * MIB // 2] * 2


def test_readers_of_one_block_fetch_it_once(far: RemoteStore, tmp_path: Path) -> None:
    """Tasks of one process, and two processes: these lock blocks in the file."""
    far.latency = 0.05
    readers = [cached(far, tmp_path).reader(KEY) for _ in range(2)] * 3
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda r=r: found.append(r.read(0, 100))) for r in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA[:100]] * 6
    assert len(far.ranges) == 1


def flip(path: Path) -> None:
    """A bit of the first block is not what was written."""
    data = bytearray(path.read_bytes())
    data[BLOCK + 50] ^= 1
    path.write_bytes(data)


def tear(path: Path) -> None:
    """After a reset, the states may be on disk and the blocks not."""
    size = path.stat().st_size
    os.truncate(path, BLOCK)
    os.truncate(path, size)


def cut(path: Path) -> None:
    """Or the file has lost its end."""
    os.truncate(path, BLOCK + 10)


@pytest.mark.parametrize("damage", [flip, tear, cut])
def test_a_damaged_block_is_given_up_and_fetched_again(
    far: RemoteStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store = cached(far, tmp_path)
    store.reader(KEY).read(0, 100)
    settled(store)
    damage(block_file(tmp_path))
    reader = cached(far, tmp_path).reader(KEY)
    if damage is not cut:  # short reads are found out here, the rest by digests
        assert reader.read(0, 100) != DATA[:100]
        assert reader.distrust(0, 100)
        assert reader.read_cached(0, 100) is None
    assert reader.read(0, 100) == DATA[:100]
    assert cached(far, tmp_path).reader(KEY).read(0, 100) == DATA[:100]
    assert len(far.ranges) == 2


def test_killed_while_filling_the_block_is_absent(far: RemoteStore, tmp_path: Path) -> None:
    """The data is written before the state that says so: stop between the two."""
    path = block_file(tmp_path)
    script = (
        "import os, sys; from pathlib import Path; from artfs.store.cached import blockfile\n"
        "write, done = os.pwrite, []\n"
        "def pwrite(*args):\n"
        "    if done: os.kill(os.getpid(), 9)\n"
        "    done.append(write(*args)); return done[-1]\n"
        "file = blockfile.BlockFile(Path(sys.argv[1]))\n"
        "os.pwrite = pwrite\n"
        "file.write(0, b'x' * blockfile.BLOCK); file.fill(0, 1, None)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.stat().st_size == 2 * BLOCK
    reader = cached(far, tmp_path).reader(KEY)
    assert reader.read_cached(0, 100) is None
    assert reader.read(0, 100) == DATA[:100]


def test_the_cache_is_bounded_and_keeps_what_was_used_last(
    far: RemoteStore, tmp_path: Path
) -> None:
    store = cached(far, tmp_path, size=20 * MIB)
    for n in range(12):
        key = f"packs/bb/bb{n:02}"
        far.inner.put_if_absent(key, DATA)
        reader = store.reader(key)
        assert reader.read(0, len(DATA)) == DATA
        settled(store)
        path = block_file(tmp_path, key)
        if path.exists():
            os.utime(path, (n, n))
        if n:
            first = block_file(tmp_path, "packs/bb/bb00")
            if first.exists():
                os.utime(first)
    [found] = overview(tmp_path)
    assert 8 * MIB < found.size <= 22 * MIB
    assert block_file(tmp_path, "packs/bb/bb00").exists()
    assert not block_file(tmp_path, "packs/bb/bb03").exists()


def test_a_reader_goes_on_when_its_blocks_are_taken_away(far: RemoteStore, tmp_path: Path) -> None:
    store = cached(far, tmp_path)
    reader = store.reader(KEY)
    reader.read(0, len(DATA))
    settled(store)
    assert clean(tmp_path) >= len(DATA)
    assert sum(one.size for one in overview(tmp_path)) == 0
    for _ in range(2):
        assert reader.read(0, len(DATA)) == DATA
    settled(store)
    before = far.requests
    assert cached(far, tmp_path).reader(KEY).read(0, len(DATA)) == DATA
    assert far.requests == before


def test_nothing_can_be_kept_in_a_home_that_is_read_only(far: RemoteStore, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no directory")
    store = cached(far, tmp_path / "home")
    reader = store.reader(KEY)
    assert reader.read(0, len(DATA)) == DATA
    before = len(far.ranges)
    assert reader.read_cached(MIB, 1000) == DATA[MIB : MIB + 1000], "kept in memory for a moment"
    assert reader.read(MIB, 1000) == DATA[MIB : MIB + 1000]
    assert len(far.ranges) == before
    far.inner.put_if_absent("fixed/a", b"a")
    assert store.get("fixed/a") == b"a"
    store.close()


def test_a_cache_of_no_size_keeps_nothing(far: RemoteStore, tmp_path: Path) -> None:
    store = cached(far, tmp_path, size=0)
    assert store.reader(KEY).read(0, len(DATA)) == DATA
    assert sum(one.size for one in overview(tmp_path)) <= 8192


def test_a_full_disk_means_no_cache_and_no_error(far: RemoteStore, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 * MIB) as disk:
        store = cached(far, disk)
        reader = store.reader(KEY)
        reader.read(0, 100)
        with filled(disk):
            assert reader.read(0, len(DATA)) == DATA
            assert store.reader(OTHER).read(0, len(DATA)) == DATA
        store.close()


def test_a_tenth_of_the_disk_stays_free(far: RemoteStore, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 * MIB) as disk:
        store = cached(far, disk, size=16 * MIB)
        for n in range(6):
            far.inner.put_if_absent(f"packs/cc/cc{n:02}", DATA)
            assert store.reader(f"packs/cc/cc{n:02}").read(0, len(DATA)) == DATA
        settled(store)
        status = os.statvfs(disk)
        assert status.f_bavail >= status.f_blocks * 0.1
        assert overview(disk)[0].size > 4 * MIB
        store.close()


def test_no_more_requests_at_once_than_allowed(far: RemoteStore, tmp_path: Path) -> None:
    keys = [f"packs/dd/dd{n:02}" for n in range(12)]
    far.hanging = set(keys)  # so that they meet, however slowly the threads come
    store = cached(far, tmp_path, requests=3)
    for key in keys:
        far.inner.put_if_absent(key, DATA)
    readers = [store.reader(key) for key in keys]
    for reader in readers:
        reader.prefetch(0, len(DATA))
    arrivals = [reader.fetch(0, len(DATA)) for reader in readers]
    wait_for(lambda: far.most >= 3, what="requests under way")
    far.let_go.set()
    for reader, arrival in zip(readers, arrivals, strict=True):
        assert arrival is not None
        arrival.result(30)
        assert reader.read(0, len(DATA)) == DATA
    assert far.most == 3


def test_a_thread_that_cannot_be_started_costs_no_place(
    far: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cached(far, tmp_path, requests=2)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                store.reader(KEY).fetch(0, 10)
    arrival = store.reader(KEY).fetch(0, 10)
    assert arrival is not None
    arrival.result(10)


def test_who_waits_goes_before_what_is_ahead(far: RemoteStore, tmp_path: Path) -> None:
    far.hanging = {KEY}
    store = cached(far, tmp_path, requests=1)
    store.reader(KEY).prefetch(0, 10)
    wait_for(lambda: far.ranges)
    other = store.reader(OTHER)
    other.prefetch(0, BLOCK)
    arrival = other.fetch(20 * BLOCK, 10)
    assert arrival is not None
    far.let_go.set()
    arrival.result(10)
    settled(store)
    assert [at for _, at, _ in far.ranges] == [0, 20 * BLOCK, 0]


def test_what_nobody_waits_for_any_more_is_not_fetched(far: RemoteStore, tmp_path: Path) -> None:
    far.hanging = {KEY}
    store = cached(far, tmp_path, requests=1)
    store.reader(KEY).prefetch(0, 10)
    wait_for(lambda: far.ranges)
    arrival = store.reader(OTHER).fetch(0, 10)
    assert arrival is not None
    arrival.cancel()
    far.let_go.set()
    settled(store)
    assert [key for key, _, _ in far.ranges] == [KEY]


def test_a_request_that_all_have_given_up_frees_its_place(far: RemoteStore, tmp_path: Path) -> None:
    far.hanging = {KEY}
    store = cached(far, tmp_path, requests=1)
    reader = store.reader(KEY)
    first, second = reader.fetch(0, 10), reader.fetch(BLOCK - 10, 10)
    assert first is not None
    assert second is not None
    wait_for(lambda: far.ranges)
    first.cancel()
    other = store.reader(OTHER).fetch(0, 10)
    assert other is not None
    assert not other.done(), "the second one still waits"
    second.cancel()
    other.result(10)
    assert far.most == 2
    again = reader.fetch(0, 10)
    assert again is not None
    far.let_go.set()
    again.result(10)
    assert reader.read(0, BLOCK) == DATA[:BLOCK]
    settled(store)
    assert [key for key, _, _ in far.ranges] == [KEY, OTHER, KEY]


def test_a_request_that_somebody_has_got_some_of_is_not_given_up() -> None:
    class Nowhere:
        def bring(self, flight: Flight) -> None: ...

        def landed(self, flight: Flight) -> None: ...

    flight = Flight(Nowhere(), 0, 40, URGENT)
    served, gone = Arrival(lambda: None), Arrival(lambda: None)
    flight.join(served, 1)
    flight.join(gone, 40)
    assert flight.reached(1) == [served]
    gone.cancel()
    assert flight.is_wanted()
    assert not flight.is_awaited()


def test_what_is_ahead_of_need_ends_when_the_store_is_closed(
    far: RemoteStore, tmp_path: Path
) -> None:
    far.hanging = {KEY, OTHER}
    store = cached(far, tmp_path)
    store.reader(KEY).prefetch(0, 10)
    arrival = store.reader(OTHER).fetch(0, 10)
    assert arrival is not None
    wait_for(lambda: len(far.ranges) == 2)
    ahead, urgent = sorted(store._flights._under_way, key=lambda flight: -flight.priority)
    store.close()
    assert ahead.dropped
    assert not urgent.dropped
    far.let_go.set()
    arrival.result(10)


def test_an_object_that_hangs_does_not_hold_up_others(far: RemoteStore, tmp_path: Path) -> None:
    far.hanging = {KEY}
    store = cached(far, tmp_path, requests=4)
    reader = store.reader(KEY)
    for n in range(8):
        assert reader.fetch(n * 10 * BLOCK, 10) is not None
    assert store.reader(OTHER).read(0, 100) == DATA[:100]
    far.let_go.set()
    settled(store)


def test_who_waits_for_the_first_blocks_need_not_wait_for_the_last(
    far: RemoteStore, tmp_path: Path
) -> None:
    """And what came before a request broke off is kept."""
    go_on = threading.Event()

    class Slow(ObjectReader):
        def read(self, offset: int, length: int) -> bytes:
            raise AssertionError

        def read_cached(self, offset: int, length: int, patience: float = 0.0) -> None:
            return None

        def prefetch(self, offset: int, length: int) -> None: ...

        def close(self) -> None: ...

        def copy(self, offset: int, length: int, write: Callable[[bytes], object]) -> None:
            far.ranges.append((KEY, offset, length))
            write(DATA[offset : offset + 2 * MIB])
            assert go_on.wait(30)
            raise Unreachable("store", "is down")

    store = cached(far, tmp_path)
    store._shared.open = lambda _: Slow()
    reader = store.reader(KEY)
    reader.prefetch(0, 4 * MIB)
    assert reader.read(MIB - 10, 10) == DATA[MIB - 10 : MIB]
    last = reader.fetch(3 * MIB, 10)
    assert last is not None
    go_on.set()
    with pytest.raises(Unreachable):
        last.result(10)
    assert reader.read_cached(0, 2 * MIB) == DATA[: 2 * MIB]
    assert far.ranges == [(KEY, 0, 4 * MIB)]


def test_a_failure_reaches_who_waits_and_is_not_remembered(
    far: RemoteStore, tmp_path: Path
) -> None:
    reader = cached(far, tmp_path).reader(KEY)
    far.fail("reader.read", 1, Unreachable("store", "is down"))
    with pytest.raises(Unreachable):
        reader.read(0, 100)
    assert reader.read(0, 100) == DATA[:100]


def test_a_pack_that_is_missing_is_so_when_it_is_read(far: RemoteStore, tmp_path: Path) -> None:
    reader = cached(far, tmp_path).reader("packs/ff/ff")
    with pytest.raises(ObjectNotFound):
        reader.read(0, 100)


def test_small_objects_are_asked_for_once_and_proved(far: RemoteStore, tmp_path: Path) -> None:
    far.inner.put_if_absent("fixed/a", b"what it is")
    assert [cached(far, tmp_path).get("fixed/a") for _ in range(3)] == [b"what it is"] * 3
    assert far.calls["get"] == 1
    [path] = (tmp_path / "id" / "objects").iterdir()
    path.write_bytes(path.read_bytes().replace(b"what", b"that"))
    assert cached(far, tmp_path).get("fixed/a") == b"what it is"
    assert far.calls["get"] == 2


def test_what_changes_is_always_asked_for(far: RemoteStore, tmp_path: Path) -> None:
    store = cached(far, tmp_path)
    store.compare_and_set("record", b"1", None)
    assert store.read_record("record")[0] == b"1"
    far.inner.compare_and_set("record", b"2", far.inner.read_record("record")[1])
    assert store.read_record("record")[0] == b"2"
    assert store.get("record") == b"2"


def test_counts_are_those_of_all_processes(far: RemoteStore, tmp_path: Path) -> None:
    for _ in range(2):
        store = cached(far, tmp_path)
        store.reader(KEY).read(0, 100)
        store.reader(KEY).read(BLOCK - 1, 1)
        settled(store)
        store.close()
    assert counts.read(tmp_path / "id" / "counts") == counts.Counts(3, 1, 1, BLOCK)


def test_another_process_that_holds_a_lock_for_ever(
    far: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while it looks through the cache, or adds to the counts: reads go on without it."""
    for module in ("room", "counts"):
        monkeypatch.setattr(f"artfs.store.cached.{module}._PATIENCE", 0.01)
    with open(tmp_path / "room.lock", "w") as room:
        fcntl.flock(room, fcntl.LOCK_EX)
        store = cached(far, tmp_path)
        assert store.reader(KEY).read(0, 100) == DATA[:100]
        settled(store)
        assert DATA[:100] not in block_file(tmp_path).read_bytes()
        with open(tmp_path / "id" / "counts", "ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            store.close()


def test_a_file_that_is_no_block_file_is_begun_anew(far: RemoteStore, tmp_path: Path) -> None:
    path = block_file(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\1" * (3 * BLOCK))
    assert cached(far, tmp_path).reader(KEY).read(0, 100) == DATA[:100]
    assert BlockFile(path).states(0, 3) == b"\1\0\0"
