"""Reading references a window at a time, from nginx."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from artfs.errors import SourceChanged
from artfs.repo.reference_file import ReferenceFile
from artfs.repo.references import References, entry_of_found
from artfs.repo.repository import Repository
from artfs.store.options import SourcePolicy, StoreOptions
from artfs.types import Entry
from tests.support.webserver import WebServer
from tests.unit.repo.trees import memory_repository

BIG = random.Random(1).randbytes(16 << 20)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path / "cache") as repository:
        yield repository


@pytest.fixture
def references(repository: Repository) -> Iterator[References]:
    with closing(References(repository.catalog, repository.blobs, StoreOptions())) as references:
        yield references


def _entry(references: References, uri: str) -> Entry:
    (found,) = references.describe(uri)
    return entry_of_found(found, b"name")


def _pieces(file: ReferenceFile, start: int = 0) -> Iterator[bytes]:
    while piece := file.read(start, 128 << 10, 0.0):
        start += len(piece)
        yield piece


def _requests(web: WebServer, path: str) -> int:
    return web.requests.count(f"GET {path} HTTP/1.1")


@pytest.mark.parametrize("place", ["", "plain/"], ids=["ranges", "no-ranges"])
def test_front_to_back(web: WebServer, references: References, place: str) -> None:
    """Of a server without ranges, the fourth request would send what three have sent before."""
    web.write("front", BIG)
    entry = _entry(references, f"{web.url}/{place}front")
    assert b"".join(_pieces(ReferenceFile(references, entry))) == BIG
    assert _requests(web, f"/{place}front") <= 4


def test_pieces_that_are_asked_for_in_another_order(web: WebServer, references: References) -> None:
    """As the kernel does, now and then; what leads on is not another place."""
    web.write("order", BIG)
    file = ReferenceFile(references, _entry(references, f"{web.url}/plain/order"))
    for n in range(0, len(BIG), 256 << 10):
        for start in (n + (128 << 10), n):
            assert file.read(start, 128 << 10, 0.0) == BIG[start : start + (128 << 10)]
    assert _requests(web, "/plain/order") <= 5


def test_more_files_than_requests_may_be_left(web: WebServer, references: References) -> None:
    entry = _entry(references, web.write("many", BIG))
    readers = [_pieces(ReferenceFile(references, entry)) for _ in range(20)]
    for n in range(0, len(BIG), 128 << 10):
        for reader in readers:
            assert next(reader) == BIG[n : n + (128 << 10)]
    readers.clear()
    web.write("one", BIG)
    entry = _entry(references, f"{web.url}/one")
    assert b"".join(_pieces(ReferenceFile(references, entry))) == BIG
    assert _requests(web, "/one") <= 4  # those that were left are given back


def test_a_file_that_is_overwritten_while_it_is_sent(
    web: WebServer, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx has it open, and sends what is there."""
    monkeypatch.setattr("artfs.repo.references._UNPROVEN", 0.0)
    web.write("over", BIG * 2)
    reader = _pieces(ReferenceFile(references, _entry(references, f"{web.url}/over")))
    for _ in range(16):
        next(reader)
    web.write("over", bytes(len(BIG) * 2), 1_700_000_001)
    with pytest.raises(SourceChanged, match="has changed since it was recorded"):
        list(reader)


def test_a_local_file_that_is_overwritten_while_it_is_read(
    repository: Repository, tmp_path: Path
) -> None:
    policy = SourcePolicy(directories=(str(tmp_path),))
    references = References(repository.catalog, repository.blobs, StoreOptions(sources=policy))
    (tmp_path / "big").write_bytes(BIG)
    reader = _pieces(ReferenceFile(references, _entry(references, (tmp_path / "big").as_uri())))
    read = [next(reader) for _ in range(16)]
    with open(tmp_path / "big", "r+b") as file:
        file.seek(8 << 20)
        file.write(b"another")
    with closing(references), pytest.raises(SourceChanged):
        read.extend(reader)
    assert BIG.startswith(b"".join(read))


def test_a_child_process_reads_by_itself(web: WebServer, references: References) -> None:
    """What comes by a connection that both have goes to one of them."""
    reader = _pieces(ReferenceFile(references, _entry(references, web.write("big", BIG))))
    first = b"".join(next(reader) for _ in range(16))
    child = os.fork()
    if child == 0:
        try:
            os._exit(first + b"".join(reader) != BIG)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert first + b"".join(reader) == BIG
