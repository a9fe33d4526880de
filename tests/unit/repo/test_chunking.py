"""A file re-chunked around its changes is the file chunked whole; and the rest is not touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artfs.format.build import Root
from artfs.repo.chunking import AVERAGE, MAX, MIN, rechunk_file, store_file
from artfs.repo.packing import PackWriter
from artfs.repo.reading import content
from artfs.repo.repository import Repository
from tests.unit.repo.trees import file_entry, memory_repository, noise, reader

Ranges = Sequence[tuple[int, int]]

_NOISE = noise(3 << 20)
_SIZES = [0, 1, MIN - 1, MIN, MIN + 1, AVERAGE, MAX - 1, MAX, MAX + 1, 2 * MAX, 5 * MAX + 17]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with memory_repository(tmp_path_factory.mktemp("cache")) as opened:
        yield opened


def store(repository: Repository, data: bytes) -> tuple[Root, int]:
    """A file stored whole, and the bytes that were new."""
    with PackWriter(repository) as writer:
        root = store_file(reader(data), len(data), writer)
        writer.finish()
    return root, writer.stored


class Edited:
    """A file re-chunked: its root, the bytes read of it, the bytes stored anew."""

    def __init__(self, repository: Repository, base: Root, new: bytes, dirty: Ranges) -> None:
        self.read = 0

        def read(offset: int, length: int) -> bytes:
            self.read += length
            return reader(new)(offset, length)

        with PackWriter(repository) as writer:
            self.root = rechunk_file(
                file_entry(base), len(new), dirty, read, writer, repository.blobs
            )
            writer.finish()
        self.stored = writer.stored


class Edit(NamedTuple):
    """What to make of a file: stretches of noise (named by a number) and of zeros (None); then
    its new size; then ranges that count as changed, with what is written there ("" for nothing)."""

    stretches: list[tuple[int | None, int]]
    size: int
    ranges: list[tuple[int, int, str]]

    def contents(self) -> tuple[bytes, bytes]:
        old = b"".join(
            bytes(size) if seed is None else _NOISE[seed : seed + size]
            for seed, size in self.stretches
        )
        new = bytearray(old[: self.size].ljust(self.size, b"x"))
        for start, end, fill in self.ranges:
            size = min(end, self.size) - start
            if fill == "zeros":
                new[start : start + size] = bytes(size)
            elif fill == "noise":
                new[start : start + size] = (_NOISE[5000:] + _NOISE)[:size]
        return old, bytes(new)


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    sizes = st.sampled_from(_SIZES)
    seeds = st.none() | st.integers(0, 1000)
    stretches = draw(st.lists(st.tuples(seeds, sizes), max_size=3))
    old = sum(size for _, size in stretches)
    size = draw(
        st.just(old) | sizes | st.integers(0, old + MAX) | st.integers(max(0, old - 3), old + 3)
    )
    offsets = st.integers(0, size) | sizes.map(lambda n: min(n, size))
    ends = sorted(draw(st.sets(offsets, max_size=8)))
    fills = st.sampled_from(["", "zeros", "noise"])
    ranges = [(a, b, draw(fills)) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    return Edit(stretches, size, ranges)


@settings(max_examples=150)
@given(edits())
@example(Edit([(0, 800_000)], 790_000, [(780_000, 790_000, "zeros")])).via("cut twice at the end")
@example(Edit([(None, 9 << 20)], 9 << 20, [(4 << 20, 5 << 20, "")]))
def test_rechunked_is_stored_whole(repository: Repository, edit: Edit) -> None:
    old, new = edit.contents()
    dirty = [(start, end) for start, end, _ in edit.ranges]
    edited = Edited(repository, store(repository, old)[0], new, dirty).root
    assert edited == store(repository, new)[0]
    assert read_back(repository, edited) == sha256(new).digest()


def read_back(repository: Repository, root: Root) -> bytes:
    """A hash, because a difference of megabytes is nothing to look at."""
    return sha256(b"".join(content(file_entry(root), repository.blobs))).digest()


def test_a_dirty_range_behind_the_new_end_counts_for_nothing(repository: Repository) -> None:
    base = _NOISE[: 1 << 20]
    root, _ = store(repository, base)
    edited = Edited(repository, root, base[:300_000], [(400_000, 500_000)])
    assert edited.root == store(repository, base[:300_000])[0]


@pytest.mark.slow
def test_one_byte_of_64_mib(repository: Repository) -> None:
    base = noise(64 << 20)
    root, _ = store(repository, base)
    at = 40_000_000
    new = base[:at] + bytes([base[at] ^ 1]) + base[at + 1 :]
    edited = Edited(repository, root, new, [(at, at + 1)])
    assert 0 < edited.stored < 1 << 20
    assert edited.read <= 4 << 20
    assert edited.root == store(repository, new)[0]


@pytest.mark.slow
def test_a_byte_in_front_of_20_mib(repository: Repository) -> None:
    base = noise(20 << 20, "front")
    store(repository, base)
    assert store(repository, b"!" + base)[1] < 1 << 20


def test_appending_reads_and_stores_the_end_alone(repository: Repository) -> None:
    base = noise(8 << 20, "append")
    root, _ = store(repository, base)
    edited = Edited(repository, root, base + b"more", [])
    assert edited.read <= MAX + 4
    assert edited.stored < MAX + (32 << 10)
    assert edited.root == store(repository, base + b"more")[0]


def test_two_far_changes_leave_the_middle_unread(repository: Repository) -> None:
    base = noise(16 << 20, "two")
    root, _ = store(repository, base)
    new = bytearray(base)
    new[100:110] = new[-110:-100] = b"0123456789"
    edited = Edited(repository, root, bytes(new), [(100, 110), (len(base) - 110, len(base) - 100)])
    assert edited.read <= 6 << 20
    assert edited.root == store(repository, bytes(new))[0]


def test_a_long_run_of_zeros_is_changed_without_reading_it(tmp_path: Path) -> None:
    zeros = 256 << 20
    with memory_repository(tmp_path) as repository:
        with PackWriter(repository) as writer:
            root = store_file(lambda _, length: bytes(length), zeros, writer)
            writer.finish()
        assert writer.stored < 64 << 10
        read = 0

        def new(offset: int, length: int) -> bytes:
            nonlocal read
            read += length
            data = bytearray(length)
            if offset <= zeros // 2 < offset + length:
                data[zeros // 2 - offset] = 1
            return bytes(data)

        with PackWriter(repository) as writer:
            dirty = [(zeros // 2, zeros // 2 + 1)]
            rechunk_file(file_entry(root), zeros, dirty, new, writer, repository.blobs)
            writer.finish()
    assert read <= 4 << 20
    assert writer.stored < 64 << 10
