"""What a directory store promises beyond the contract: durability, crashes, errors of the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artfs.errors import AlreadyExists, InvalidValue, NotFound, Unreachable
from artfs.store import durable
from artfs.store.directory import DirectoryStore
from artfs.store.location import open_store
from tests.support.disks import small_disk

REPO = Path(__file__).parents[3]

Write = Callable[[DirectoryStore], None]


def write_object(store: DirectoryStore) -> None:
    writer = store.writer("packs/aa/one")
    writer.write([b"data"])
    writer.commit()


def put_object(store: DirectoryStore) -> None:
    store.put_if_absent("packs/aa/one", b"data")


def set_record(store: DirectoryStore) -> None:
    store.compare_and_set("packs/aa/one", b"data", None)


WRITES = [write_object, put_object, set_record]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore.create(tmp_path / "store")


def temporaries(store: DirectoryStore) -> list[Path]:
    directory = Path(store.url, ".tmp")
    return list(directory.iterdir()) if directory.exists() else []


@pytest.fixture
def steps(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the store asks of the kernel from now on, such as 'fsync packs' and 'name packs/aa/x'.

    A file in `.tmp` is called TEMP.
    """
    recorded: list[str] = []

    def short(path: str) -> str:
        relative = os.path.relpath(path, store.url)
        return "TEMP" if relative.startswith(".tmp/") else relative

    def record(module_name: str, describe: Callable[..., str]) -> None:
        real = getattr(os, module_name)

        def wrapper(*args: object) -> object:
            text = describe(*args)
            result = real(*args)
            recorded.append(text)
            return result

        monkeypatch.setattr(os, module_name, wrapper)

    record("fsync", lambda fd: "fsync " + short(os.readlink(f"/proc/self/fd/{fd}")))
    record("link", lambda source, target: f"name {short(target)} as {short(source)}")
    record("rename", lambda source, target: f"name {short(target)} as {short(source)}")
    record("mkdir", lambda path: "mkdir " + short(path))
    record("unlink", lambda path: "unlink " + short(path))
    return recorded


@pytest.mark.parametrize("write", WRITES)
def test_data_is_synced_before_it_is_named_and_the_name_after(
    store: DirectoryStore, steps: list[str], write: Write
) -> None:
    write(store)
    assert [s for s in steps if not s.startswith("unlink")] == [
        "mkdir .tmp",
        "fsync .",
        "fsync TEMP",
        "mkdir packs",
        "fsync .",
        "mkdir packs/aa",
        "fsync packs",
        "name packs/aa/one as TEMP",
        "fsync packs/aa",
    ]


def test_directories_made_by_others_are_synced_once(
    store: DirectoryStore, steps: list[str]
) -> None:
    put_object(store)
    steps.clear()
    other = DirectoryStore(Path(store.url))
    other.put_if_absent("packs/aa/two", b"")
    first = steps.copy()
    steps.clear()
    other.put_if_absent("packs/aa/three", b"")
    assert [s for s in first if s.startswith("fsync")] == [
        "fsync .", "fsync TEMP", "fsync .", "fsync packs", "fsync packs/aa",
    ]  # fmt: skip
    assert [s for s in steps if s.startswith("fsync")] == ["fsync TEMP", "fsync packs/aa"]


def test_link_whose_answer_was_lost_counts(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(source: str, target: str) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "link", link)
    put_object(store)
    assert store.get("packs/aa/one") == b"data"


def test_deletes_are_durable(store: DirectoryStore, steps: list[str]) -> None:
    put_object(store)
    revision = store.compare_and_set("packs/r", b"", None)
    steps.clear()
    store.delete("packs/aa/one")
    store.delete_record("packs/r", revision)
    assert steps == ["unlink packs/aa/one", "fsync packs/aa", "unlink packs/r", "fsync packs"]


def test_create_syncs_the_parents_it_makes(
    store: DirectoryStore, steps: list[str], tmp_path: Path
) -> None:
    DirectoryStore.create(Path(store.url, "x", "y"))
    assert steps == ["mkdir x", "fsync .", "mkdir x/y", "fsync x"]
    steps.clear()
    DirectoryStore.create(Path(store.url, "x", "y"))
    assert steps == []


@pytest.mark.parametrize("write", WRITES)
def test_success_leaves_no_temporary_file(store: DirectoryStore, write: Write) -> None:
    write(store)
    assert temporaries(store) == []
    with contextlib.suppress(Exception):
        write(store)
    assert temporaries(store) == []


CRASH = """
import os, signal, sys
sys.path.insert(0, sys.argv[4])
import test_directory
from artfs.store.location import open_store
from tests.support.disks import small_disk

write, syscall, url = sys.argv[1:4]
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
store = open_store(url)
setattr(os, syscall, die)
getattr(test_directory, write)(store)
"""


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("syscall", ["writev", "fsync", "name"])
def test_killed_writer_leaves_nothing_visible(
    store: DirectoryStore, write: Write, syscall: str
) -> None:
    store.put_if_absent("packs/aa/before", b"")
    name = write.__name__
    if syscall == "name":
        syscall = "link" if name == "put_object" else "rename"
    child = subprocess.run(
        [sys.executable, "-c", CRASH, name, syscall, store.url, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert [o.key for o in store.list("")] == ["packs/aa/before"]
    assert store.list_names("") == ["packs"]
    if syscall != "fsync":
        assert len(temporaries(store)) == 1
    write(store)
    assert store.get("packs/aa/one") == b"data"


def test_stale_temporaries_are_swept_by_the_first_writer(store: DirectoryStore) -> None:
    put_object(store)
    directory = Path(store.url, ".tmp")
    old, young = directory / "old", directory / "young"
    for path, age in ((old, durable.STALE_SECONDS + 60), (young, durable.STALE_SECONDS - 3600)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    store.put_if_absent("packs/aa/two", b"")
    assert old.exists()
    DirectoryStore(Path(store.url)).writer("packs/aa/three").abort()
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    ("umask", "file_mode", "dir_mode"), [(0o002, 0o664, 0o775), (0o077, 0o600, 0o700)]
)
@pytest.mark.parametrize("write", WRITES)
def test_modes_are_the_umasks_business(
    store: DirectoryStore, write: Write, umask: int, file_mode: int, dir_mode: int
) -> None:
    before = os.umask(umask)
    try:
        write(store)
    finally:
        os.umask(before)
    root = Path(store.url)
    assert (root / "packs/aa/one").stat().st_mode & 0o7777 == file_mode
    for name in ("packs", "packs/aa", ".tmp"):
        assert (root / name).stat().st_mode & 0o7777 == dir_mode


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("syscall", ["writev", "fsync", "name"])
def test_refusals_surface_unchanged(
    store: DirectoryStore,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    number: int,
    syscall: str,
) -> None:
    store.put_if_absent("packs/aa/before", b"")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("link", "rename") if syscall == "name" else (syscall,):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write(store)
    assert caught.value.errno == number
    assert [o.key for o in store.list("")] == ["packs/aa/before"]
    assert temporaries(store) == []


def test_disk_that_fails_is_unreachable(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = store.writer("packs/aa/one")
    writer.write([b"data"])

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unreachable, match="packs/aa/one: Input/output error"):
        writer.commit()
    with pytest.raises(ValueError, match="packs/aa/one"):
        writer.commit()
    assert not store.exists("packs/aa/one")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 1 MiB."""
    with small_disk(tmp_path / "small", 1 << 20) as disk:
        yield disk


def test_full_disk(full_disk: Path) -> None:
    store = DirectoryStore(full_disk)
    writer = store.writer("packs/aa/one")
    with pytest.raises(OSError, match="No space left") as caught:
        writer.write([b"x" * 700_000, b"y" * 700_000])
    assert caught.value.errno == errno.ENOSPC
    assert list(store.list("")) == []
    assert temporaries(store) == []
    with pytest.raises(ValueError, match="packs/aa/one"):
        writer.commit()
    free = store.free_bytes()
    assert free is not None
    assert 0 < free <= 1 << 20
    write_object(store)
    assert store.get("packs/aa/one") == b"data"


def test_short_writes_are_continued(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: real(fd, [bytes(parts[0])[:3]]))
    writer = store.writer("a")
    writer.write([b"0123456789", b"", b"ab", memoryview(b"cdefg")])
    writer.commit()
    assert store.get("a") == b"0123456789abcdefg"


def test_writeback_covers_every_byte_once(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges: list[tuple[int, int]] = []
    monkeypatch.setattr("artfs.store.files.WRITEBACK_BYTES", 100)
    monkeypatch.setattr(
        "artfs.store.files.start_writeback",
        lambda _, offset, length: ranges.append((offset, length)),
    )
    writer = store.writer("a")
    for _ in range(5):
        writer.write([b"x" * 60])
    writer.commit()
    assert ranges == [(0, 120), (120, 120)]


def test_missing_root_does_not_pass_for_an_empty_store(store: DirectoryStore) -> None:
    put_object(store)
    Path(store.url).rename(store.url + ".away")
    calls: list[Callable[[], object]] = [
        lambda: store.get("packs/aa/one"),
        lambda: store.open("packs/aa/one"),
        lambda: store.exists("packs/aa/one"),
        lambda: list(store.list("")),
        lambda: store.list_names("packs/"),
        lambda: store.put_if_absent("packs/aa/two", b""),
        lambda: store.compare_and_set("r", b"", None),
        lambda: store.writer("packs/aa/two"),
        store.free_bytes,
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            call()
    assert not Path(store.url).exists()


def test_foreign_files_are_not_objects(store: DirectoryStore) -> None:
    put_object(store)
    store.compare_and_set("r", b"", None)
    directory = Path(store.url, "packs", "aa")
    (directory / ".nfs000000000123456700000001").touch()
    (directory / "ä").touch()
    (directory / "dangling").symlink_to("nowhere")
    os.mkfifo(directory / "pipe")
    assert [o.key for o in store.list("")] == ["packs/aa/one", "r"]
    assert store.list_names("packs/aa/") == ["one"]
    assert store.list_names("") == ["packs", "r"]


def test_read_cached_does_not_wait(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_object(store)
    reader = store.open("packs/aa/one")
    outcomes: list[OSError | int] = [BlockingIOError(), OSError(errno.EOPNOTSUPP, ""), 3]

    def preadv(*args: object) -> int:
        assert args[-1] == os.RWF_NOWAIT
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(os, "preadv", preadv)
    assert [reader.read_cached(0, 4) for _ in range(3)] == [None] * 3
    assert outcomes == []
    assert reader.read(0, 4) == b"data"
    reader.close()
    assert reader.read_cached(4, 1) == b""


def test_read_cached_may_ask_for_a_moment(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_object(store)
    reader = store.open("packs/aa/one")
    asked: list[object] = []

    def preadv(fd: int, views: list[memoryview], offset: int, flags: int) -> int:
        asked.append(flags)
        if len(asked) < 3:
            raise BlockingIOError
        views[0][:] = b"data"
        return 4

    monkeypatch.setattr(os, "preadv", preadv)
    assert reader.read_cached(0, 4, patience=60.0) == b"data"
    assert asked == [os.RWF_NOWAIT] * 3
    del asked[:]

    def nothing(*_: object) -> int:
        asked.append(0)
        return 0

    monkeypatch.setattr(os, "preadv", nothing)
    assert reader.read_cached(0, 4, patience=0.001) is None
    assert len(asked) > 1


def test_open_files_are_closed(store: DirectoryStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for write in WRITES:
        with contextlib.suppress(Exception):
            write(store)
    store.open("packs/aa/one").close()
    with contextlib.suppress(NotFound):
        store.open("packs")
    store.writer("x").abort()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_lock_that_is_never_given(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds it may be stopped, or on a machine that is gone: there is an end to waiting."""
    monkeypatch.setattr("artfs.store.directory._PATIENCE", 0.01)
    revision = store.compare_and_set("a", b"1", None)
    with open(f"{store.url}/.lock", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unreachable, match="another process holds the lock") as caught:
            store.compare_and_set("a", b"2", revision)
    assert ".lock shows which" in caught.value.hint
    store.compare_and_set("a", b"2", revision)


# location


def test_open_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no store there") as caught:
        open_store("a b")
    assert caught.value.hint == "artfs init makes one"
    assert open_store("a b", create=True).url == str(tmp_path / "a b")
    assert open_store("a b").url == str(tmp_path / "a b")
    assert open_store(f"file://{tmp_path}/a%20b").url == str(tmp_path / "a b")
    (tmp_path / "file").touch()
    with pytest.raises(AlreadyExists):
        open_store("file/below", create=True)
    with pytest.raises(NotFound):
        open_store("file")


@pytest.mark.parametrize(
    "url", ["", "http://x/y", "file://host/x", "file://", "a\0b", "file:///x?y"]
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(InvalidValue):
        open_store(url)
