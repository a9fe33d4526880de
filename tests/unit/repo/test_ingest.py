"""From local files to a version: everything that belongs in, and nothing half done."""

from __future__ import annotations

import os
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artfs.errors import ArtfsError, InvalidValue, NotFound, SourceChanged
from artfs.repo import ingest
from artfs.repo.commit import commit
from artfs.repo.ingest import Ingest, at_prefix, onto
from artfs.repo.packing import PackWriter
from artfs.repo.reading import entries
from artfs.repo.repository import Repository
from artfs.store.directory import DirectoryStore
from artfs.types import Entry, Kind
from tests.support.users import as_nobody, public_directory
from tests.unit.repo.trees import KEY, commit_tree, flat, memory_repository, noise, read_version


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "sub").mkdir(parents=True)
    (path / "a.txt").write_bytes(b"hello")
    (path / "sub/b.txt").write_bytes(b"world")
    return path


def put(
    repository: Repository,
    *paths: Path | str,
    exclude: tuple[str, ...] = (),
    at: str = "",
    base: int | None = None,
    forbidden: str | None = None,
) -> int:
    """As `artfs put` does it."""
    with PackWriter(repository) as writer:
        root = Ingest(writer, exclude, forbidden).paths([str(path) for path in paths])
        if at:
            root = at_prefix(root, at, writer)
        if base is not None:
            old = repository.catalog.version(KEY, base).root.entry()
            root = onto(old, root, writer, repository.blobs)
        return commit(repository, KEY, root, writer, commit_id=uuid.uuid4().hex).version


def by_path(repository: Repository, number: int = 0) -> dict[bytes, Entry]:
    root = repository.catalog.version(KEY, number).root.entry()
    return dict(entries(root, repository.blobs))


def refused(
    repository: Repository, error: type[ArtfsError], why: str, *paths: Path | str,
    exclude: tuple[str, ...] = (), at: str = "", forbidden: str | None = None,
) -> None:  # fmt: skip
    """Putting raises, and leaves the store as it was."""
    before = [info.key for info in repository.store.list("")]
    with pytest.raises(error, match=why):
        put(repository, *paths, exclude=exclude, at=at, forbidden=forbidden)
    assert [info.key for info in repository.store.list("")] == before


def test_every_kind_of_entry(repository: Repository, tmp_path: Path) -> None:
    source = os.fsencode(tmp_path / "s")
    os.makedirs(source + b"/none")
    os.makedirs(source + b"/\xff\xfe")
    expected: dict[bytes, object] = {b"none": None, b"\xff\xfe": None}
    for name, data in {
        b"empty": b"", b"text": b"hello", b"\xff\xfe/\x80": b"x", b"l\xc3\xa4": b"y",
        b"long" * 63: b"z", b"new\nline": b"n", b"big": noise(700_000), b"huge": noise(5 << 20),
    }.items():  # fmt: skip
        with open(source + b"/" + name, "wb") as file:
            file.write(data)
        os.chmod(source + b"/" + name, 0o644)
        expected[name] = data
    for name, target in ((b"link", b"text"), (b"dangling", b"/no/where"), (b"todir", b"none")):
        os.symlink(target, source + b"/" + name)
        expected[name] = target.decode()
    put(repository, tmp_path / "s")
    assert read_version(repository, 0) == expected


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o444, 0o4755, 0o1777, 0o000])
def test_modes_and_times_are_kept(repository: Repository, source: Path, mode: int) -> None:
    if os.getuid() != 0 and not mode & 0o400:
        pytest.skip("only root can read that file")
    when = 1_234_567_890_123_456_789
    (source / "link").symlink_to("a.txt")
    for name in ("a.txt", "sub", "link"):
        if name != "link" and not (name == "sub" and mode & 0o500 != 0o500):
            (source / name).chmod(mode)
        os.utime(source / name, ns=(1, when), follow_symlinks=False)
    os.utime(source, ns=(1, 77))
    put(repository, source)
    found = by_path(repository)
    assert {found[name].mtime_ns for name in (b"a.txt", b"sub", b"link")} == {when}
    assert found[b"a.txt"].mode == mode
    if mode & 0o500 == 0o500:
        assert found[b"sub"].mode == mode
    root = repository.catalog.version(KEY, 0).root
    assert (root.mode, root.mtime_ns) == (stat.S_IMODE(source.stat().st_mode), 77)


def test_times_before_1970(repository: Repository, source: Path) -> None:
    os.utime(source / "a.txt", ns=(0, -5_000_000_001))
    put(repository, source)
    assert by_path(repository)[b"a.txt"].mtime_ns == -5_000_000_001


def test_times_that_no_version_has(repository: Repository, source: Path) -> None:
    for name in ("a.txt", "sub"):
        os.utime(source / name, (4e10, 4e10))  # in the year 3237; ext4 has up to 2446
    (source / "link").symlink_to("a.txt")
    os.utime(source / "link", (4e10, 4e10), follow_symlinks=False)
    put(repository, source)
    entries = by_path(repository)
    assert {entries[name].mtime_ns for name in (b"a.txt", b"sub", b"link")} == {2**63 - 1}


def make_socket(path: Path) -> None:
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def make_device(path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root makes devices")
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices in this container")


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo, "a socket": make_socket, "a device": make_device,
}  # fmt: skip


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("place", ["x", "sub/x"])
def test_special_files_are_refused(
    repository: Repository, source: Path, kind: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)  # and back at the end
    SPECIAL[kind](source / place)
    refused(repository, SourceChanged, rf"source/{place}: is {kind}", source)
    refused(repository, SourceChanged, rf"source/{place}: is {kind}", source / place)
    put(repository, source, exclude=("x",))
    assert read_version(repository, 0).keys() == {b"a.txt", b"sub", b"sub/b.txt"}


def test_a_special_file_is_not_even_opened(
    repository: Repository, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a device may do something: rewind a tape, start a watchdog."""
    os.mkfifo(source / "fifo")
    opened: list[object] = []
    real = os.open

    def watched(path: bytes, *args: int) -> int:
        opened.append(path)
        return real(path, *args)

    monkeypatch.setattr(os, "open", watched)
    refused(repository, SourceChanged, "fifo: is a FIFO", source)
    assert os.fsencode(source / "fifo") not in opened


@pytest.mark.parametrize("name", ["a.txt", "sub", "sub/b.txt"])
def test_what_cannot_be_read_is_named(repository: Repository, name: str) -> None:
    with public_directory() as source:
        (source / "sub").mkdir(mode=0o755)
        for path in (source / "a.txt", source / "sub/b.txt"):
            path.write_bytes(b"x")
        (source / name).chmod(0)

        def attempt() -> None:
            with memory_repository(source / "cache") as inner:
                refused(inner, SourceChanged, f"{name}: Permission denied", source)

        as_nobody(attempt)


def test_a_link_that_goes_while_its_directory_is_read(
    repository: Repository, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "link").symlink_to("a.txt")
    real = os.readlink

    def gone(path: bytes) -> bytes:
        os.unlink(path)
        return real(path)

    monkeypatch.setattr(os, "readlink", gone)
    refused(repository, SourceChanged, "link: No such file or directory", source)
    assert not (source / "link").is_symlink()


@pytest.mark.parametrize("path", ["missing", "sub/missing", "a.txt/x", "missing/x"])
def test_paths_that_are_not_there(repository: Repository, source: Path, path: str) -> None:
    refused(repository, NotFound, f"{path}: no such file or directory", source, source / path)


class Meddled:
    """`os.fstat` of the source's files, with something done to them before each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[int], None]) -> None:
        self.calls = 0
        fstat = os.fstat

        def meddled(fd: int) -> os.stat_result:
            self.calls += 1
            meddle(self.calls)
            return fstat(fd)

        monkeypatch.setattr(os, "fstat", meddled)


@pytest.mark.parametrize("size", [100, 9 << 20])
def test_a_file_that_keeps_growing(
    repository: Repository, source: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source / "a.txt"
    path.write_bytes(bytes(size))

    def grow(_call: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    meddled = Meddled(monkeypatch, grow)
    refused(repository, SourceChanged, "a.txt: keeps changing while it is read", source)
    assert meddled.calls >= 2 * ingest._TRIES


@pytest.mark.parametrize(("size", "last"), [(100, 2), (9 << 20, 3)])
def test_a_file_that_changed_once_is_read_again(
    repository: Repository, source: Path, size: int, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `last` fstat is the one after the file was read for the first time."""
    path = source / "a.txt"
    path.write_bytes(bytes(size))

    def change(call: int) -> None:
        if call == last:
            path.write_bytes(bytes(size - 1) + b"x")
            os.utime(path, ns=(1, 1))

    Meddled(monkeypatch, change)
    put(repository, path)
    monkeypatch.undo()
    assert read_version(repository, 0) == {b"a.txt": bytes(size - 1) + b"x"}
    assert by_path(repository)[b"a.txt"].mtime_ns == 1


@pytest.mark.parametrize("size", [100, 9 << 20])
def test_a_file_that_shrinks_while_it_is_read(
    repository: Repository, source: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source / "a.txt"
    path.write_bytes(noise(size))
    read, pread = os.read, os.pread
    shrunk: list[bool] = []

    def shrink() -> None:
        if not shrunk:
            shrunk.append(True)
            os.truncate(path, size // 2)

    def shrinking_read(fd: int, length: int) -> bytes:
        shrink()
        return read(fd, length)

    def shrinking_pread(fd: int, length: int, offset: int) -> bytes:
        shrink()
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "read", shrinking_read)
    monkeypatch.setattr(os, "pread", shrinking_pread)
    put(repository, path)
    monkeypatch.undo()
    assert shrunk
    assert read_version(repository, 0) == {b"a.txt": noise(size)[: size // 2]}


def test_exclude(repository: Repository, source: Path) -> None:
    for name in ("sub/x.tmp", "y.tmp", "sub/keep", "cache"):
        (source / name).write_bytes(b"x")
    put(repository, source, exclude=("*.tmp", "sub/b.*", "cache"))
    assert read_version(repository, 0).keys() == {b"a.txt", b"sub", b"sub/keep"}
    put(repository, source, exclude=("sub",))
    assert read_version(repository, 1).keys() == {b"a.txt", b"y.tmp", b"cache"}


def test_prefix(repository: Repository, source: Path) -> None:
    put(repository, source / "a.txt", at="data/raw")
    assert read_version(repository, 0) == {
        b"data": None, b"data/raw": None, b"data/raw/a.txt": b"hello",
    }  # fmt: skip


@pytest.mark.parametrize("prefix", [".", "..", "a/../b", "a//b", "x" * 256, "/"])
def test_bad_prefixes(repository: Repository, source: Path, prefix: str) -> None:
    refused(repository, InvalidValue, "is not a path inside a version", source, at=prefix)


def test_onto_a_base(repository: Repository, source: Path) -> None:
    commit_tree(repository, {b"old": b"1", b"a.txt": b"old", b"sub": {b"c": b"2"}, b"z": {}})
    (source / "z").write_bytes(b"a file now")
    put(repository, source, base=0)
    assert read_version(repository, 1) == flat(
        {
            b"old": b"1", b"a.txt": b"hello", b"sub": {b"b.txt": b"world", b"c": b"2"},
            b"z": b"a file now",
        }
    )  # fmt: skip


def test_files_and_directories_together(repository: Repository, source: Path) -> None:
    put(repository, source / "sub", source / "a.txt")
    assert read_version(repository, 0) == {b"a.txt": b"hello", b"b.txt": b"world"}


def test_two_paths_that_claim_one_name(repository: Repository, source: Path) -> None:
    (source / "sub/a.txt").write_bytes(b"other")
    refused(
        repository, InvalidValue, r"'a\.txt': comes from two", source / "a.txt", source / "sub"
    )  # fmt: skip


def test_the_store_is_not_put_into_itself(tmp_path: Path, source: Path) -> None:
    root = source / "sub" / "store"
    with memory_repository(tmp_path, DirectoryStore.create(root)) as repository:
        (tmp_path / "alias").symlink_to(source)
        for path in (source, source / "sub", root, root / "packs", tmp_path / "alias"):
            path.mkdir(exist_ok=True)
            refused(repository, InvalidValue, "the store", path, forbidden=str(root))
        (source / "other").mkdir()
        put(repository, source / "other", forbidden=str(root))


def test_a_link_to_a_directory_given_by_name_is_followed(
    repository: Repository, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(source)
    (source / "self").symlink_to(".")
    put(repository, tmp_path / "link")
    found = by_path(repository)
    assert found.keys() == {b"a.txt", b"self", b"sub", b"sub/b.txt"}
    assert found[b"self"].kind == Kind.SYMLINK


def test_the_order_on_disk_does_not_matter(repository: Repository, tmp_path: Path) -> None:
    names = [b"%d" % (n * 7919 % 200) for n in range(200)]
    for place, order in (("one", names), ("two", sorted(names))):
        (tmp_path / place).mkdir()
        for name in order:
            (tmp_path / place / name.decode()).write_bytes(name)
    assert put(repository, tmp_path / "one") == put(repository, tmp_path / "two") == 0
