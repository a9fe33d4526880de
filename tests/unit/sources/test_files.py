"""References to local files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from artfs.errors import InvalidValue, NotFound, SourceChanged, SourceRefused
from artfs.format.reference import Reference, entry_of, reference_of
from artfs.repo.references import References
from artfs.sources import files
from tests.unit.sources.conftest import Recorded


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory that may be read."""
    (tmp_path / "open").mkdir()
    return tmp_path / "open"


def test_a_file(place: Path, recorded: Recorded) -> None:
    path = place / "a b?#%.txt"
    path.write_bytes(b"hello")
    path.chmod(0o640)
    (found,) = recorded.references.describe(path.as_uri())
    assert (found.path, found.size, found.mode) == (path.name, 5, 0o640)
    assert found.reference.checksum == f"blake3:{blake3(b'hello').hexdigest()}"
    assert found.mtime_ns == found.reference.mtime_ns == path.stat().st_mtime_ns
    entry = recorded.entry(path.as_uri())
    assert recorded.read(entry) == b"hello"
    assert recorded.read(entry, 1, 3) == b"el"


def test_content_decides(place: Path, recorded: Recorded) -> None:
    path = place / "f"
    path.write_bytes(b"one")
    entry = recorded.entry(f"file://{path}")
    unchecked = recorded.entry(f"file://{path}", checksum=False)
    os.utime(path, ns=(1, 1))
    assert recorded.read(entry, 1, 2) == b"n"
    path.write_bytes(b"two")
    for end in (3, 0):
        with pytest.raises(SourceChanged, match="its content is another"):
            recorded.read(entry, 0, end)
    # As cp -p and rsync -t do, or somebody who hides it: same size, same time of modification.
    path.write_bytes(b"six")
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    for end in (3, 2, 0):
        with pytest.raises(SourceChanged, match="its content is another"):
            recorded.read(entry, 0, end)
    path.write_bytes(b"longer")
    with pytest.raises(SourceChanged, match="has 6 bytes, not 3"):
        recorded.read(entry)
    assert recorded.read(unchecked) == b"longer"
    assert recorded.read(unchecked, 4, 10) == b"er"
    assert recorded.references.size(unchecked) == 6
    path.unlink()
    with pytest.raises(SourceChanged, match="it is gone"):
        recorded.read(entry)


@pytest.mark.parametrize(("age", "is_known"), [(15_000_000, False), (25_000_000, True)])
def test_a_file_is_read_again_unless_its_times_tell(
    place: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, age: int, is_known: bool
) -> None:
    """One that was written a moment before may be written again and keep its times."""
    path = place / "f"
    path.write_bytes(b"one")
    monkeypatch.setattr("artfs.sources.files.time.time_ns", lambda: path.stat().st_ctime_ns + age)
    entry = recorded.entry(f"file://{path}")
    assert bool(reference_of(entry).ctime_ns) == is_known
    hashed: list[int] = []
    real = files._hash

    def counted(fd: int) -> str:
        hashed.append(fd)
        return real(fd)

    monkeypatch.setattr(files, "_hash", counted)
    assert recorded.read(entry, 1, 2) == b"n"
    assert bool(hashed) != is_known


def test_a_time_that_no_version_has(place: Path, recorded: Recorded) -> None:
    path = place / "f"
    path.write_bytes(b"one")
    os.utime(path, (4e10, 4e10))  # in the year 3237; ext4 has up to 2446
    entry = recorded.entry(path.as_uri())
    assert entry.mtime_ns == reference_of(entry).mtime_ns == 2**63 - 1
    assert recorded.read(entry) == b"one"


def test_directories(place: Path, references: References) -> None:
    (place / "d" / "sub").mkdir(parents=True)
    (place / "d" / "b").write_bytes(b"b")
    (place / "d" / "sub" / "c").write_bytes(b"c")
    (place / "d" / "sub" / "link").symlink_to("c")
    bad = os.fsencode(place / "d") + b"/\xff"
    with open(bad, "wb"):
        pass
    found = references.describe(f"file://{place}/d")
    assert [one.path for one in found] == ["b", "sub/c", "sub/link", "\udcff"]
    assert [one.link for one in found] == [None, None, b"c", None]
    assert found[3].reference.uri.endswith("/d/%FF")
    assert len(references.describe(f"file://{place}/d", max_objects=4)) == 4
    with pytest.raises(InvalidValue, match="more than 3 objects"):
        references.describe(f"file://{place}/d", max_objects=3)
    os.mkfifo(place / "d" / "fifo")
    with pytest.raises(SourceChanged, match="no regular file"):
        references.describe(f"file://{place}/d")


def test_only_below_the_directories_named(place: Path, tmp_path: Path, recorded: Recorded) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "openly").write_bytes(b"secret")
    (place / "link").symlink_to(secret)
    (place / "good").write_bytes(b"good")
    (place / "inside").symlink_to("good")
    for uri in (
        f"file://{secret}", f"file://{tmp_path}/openly", f"file://{place}/link",
        f"file://{place}/../secret", f"file://{place}/%2e%2e/secret", "file:///etc/passwd",
    ):  # fmt: skip
        entry = recorded.entry(uri)
        with pytest.raises(SourceRefused, match="not below a directory that references may read"):
            recorded.read(entry)
    assert recorded.read(recorded.entry(f"file://{place}/inside")) == b"good"


def test_a_file_that_is_written_to_while_it_is_read(place: Path, recorded: Recorded) -> None:
    path = place / "f"
    path.write_bytes(bytes(3 << 20))
    entry = recorded.entry(f"file://{path}")
    pieces = recorded.references.content(entry, 1, 3 << 20)
    assert not any(next(pieces))
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(SourceChanged, match="somebody writes to it"):
        b"".join(pieces)


def test_what_is_no_file_any_more(place: Path, recorded: Recorded) -> None:
    path = place / "f"
    path.write_bytes(b"x")
    entry = recorded.entry(f"file://{path}")
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    with pytest.raises(SourceChanged, match="no regular file"):
        recorded.read(entry)


def test_what_cannot_be(place: Path, references: References) -> None:
    with pytest.raises(NotFound, match="no such file"):
        references.describe(f"file://{place}/nothing")
    (place / "here").touch()
    with pytest.raises(NotFound, match=r"/here\?not: no such file"):
        references.describe(f"file://{place}/here?not")
    with pytest.raises(InvalidValue, match="names a host"):
        references.describe("file://server/share/x")
    with pytest.raises(InvalidValue, match="is not a URI"):
        references.describe("/just/a/path")


def test_what_has_no_path(place: Path, recorded: Recorded) -> None:
    reading, writing = os.pipe()
    try:
        entry = entry_of(b"x", Reference(f"file:///proc/self/fd/{reading}"), 1, 0)
        with pytest.raises(SourceRefused, match="is not below a directory"):
            recorded.read(entry)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("uri", ["file://[x/y", "mystery://[x/y"])
def test_what_is_no_uri(recorded: Recorded, uri: str) -> None:
    with pytest.raises(InvalidValue):
        recorded.entry(uri)
