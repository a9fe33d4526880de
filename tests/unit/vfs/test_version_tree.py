"""Committed versions as a filesystem, without a mount."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from artfs.aio.fetch import Fetcher
from artfs.aio.references import ReferenceReads
from artfs.errors import Damaged, Unsupported
from artfs.repo.repository import Repository
from artfs.store.memory import MemoryStore
from artfs.types import Entry, Kind
from artfs.vfs.attributes import Owner
from artfs.vfs.errors import (
    NameTooLong,
    NoAttribute,
    NoEntry,
    NotADirectory,
    ReadOnly,
)
from artfs.vfs.remembering import Remembering, Version
from artfs.vfs.tree import ROOT, Attrs, Caller, DirEntry
from artfs.vfs.version_tree import SLOT_BITS, VersionTree
from tests.unit.repo.trees import KEY, Tree, commit_edit, commit_tree, memory_repository, noise

T = TypeVar("T")
ME = Caller(1, 1, 1, 0)
TREE: Tree = {
    b"a": {b"deep": {b"x": b"in x", b"y": b"in y"}, b"empty dir": {}},
    b"big": noise(1 << 20),
    b"bin": (b"#!", 0o755),
    b"empty": b"",
    b"link": "a/deep/x",
    b"n\xff\n": b"odd name",
    b"small": b"small",
}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as found:
        yield found


def tree_of(repository: Repository, *numbers: int) -> VersionTree:
    """A mount of the last of the versions, the others attached."""
    catalog = Remembering(repository.catalog, 1.0, 5.0)
    tree = VersionTree(
        Fetcher(repository.blobs, 5.0), catalog, Owner(11, 22),
        ReferenceReads(repository.references, 5.0),
    )  # fmt: skip
    for number in numbers:
        root = repository.catalog.version(KEY, number).root.entry()
        tree.pin(Version(KEY, number, root))
    return tree


def run(fn: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await fn()

    return trio.run(main)


async def listing(tree: VersionTree, ino: int) -> list[DirEntry]:
    handle = await tree.opendir(ino, ME)
    found: list[DirEntry] = []
    while page := await tree.readdir(handle, found[-1].position if found else 0):
        found += page
    await tree.releasedir(handle)
    return found


async def walk(tree: VersionTree, ino: int = ROOT, prefix: bytes = b"") -> dict[bytes, Attrs]:
    found = {}
    for entry in await listing(tree, ino):
        found[prefix + entry.name] = entry.attrs
        if stat.S_ISDIR(entry.attrs.mode):
            found |= await walk(tree, entry.attrs.ino, prefix + entry.name + b"/")
    return found


async def content(tree: VersionTree, ino: int, block: int = 100_000) -> bytes:
    opened = await tree.open(ino, os.O_RDONLY, ME)
    data = b""
    while part := await tree.read(opened.handle, len(data), block):
        data += part
    await tree.release(opened.handle)
    return data


async def resolve(tree: VersionTree, path: bytes) -> Attrs:
    attrs = await tree.getattr(ROOT)
    for name in path.split(b"/"):
        attrs = await tree.lookup(attrs.ino, name)
    return attrs


def test_every_path_is_there_as_it_was_committed(repository: Repository) -> None:
    commit_tree(repository, TREE)
    tree = tree_of(repository, 0)

    async def check() -> None:
        found = await walk(tree)
        assert set(found) == {
            *TREE, b"a/deep", b"a/deep/x", b"a/deep/y", b"a/empty dir",
        }  # fmt: skip
        assert await content(tree, found[b"a/deep/x"].ino) == b"in x"
        assert await content(tree, found[b"big"].ino) == TREE[b"big"]
        assert await content(tree, found[b"empty"].ino) == b""
        assert await content(tree, found[b"n\xff\n"].ino) == b"odd name"
        assert await tree.readlink(found[b"link"].ino) == b"a/deep/x"
        assert found[b"bin"].mode == stat.S_IFREG | 0o755
        assert found[b"link"].mode == stat.S_IFLNK | 0o777
        assert found[b"link"].size == len("a/deep/x")
        assert found[b"small"].mtime_ns == 7
        assert {(a.uid, a.gid) for a in found.values()} == {(11, 22)}

    run(check)


def test_reads_at_any_place_give_these_bytes(repository: Repository) -> None:
    commit_tree(repository, TREE)
    tree, data = tree_of(repository, 0), TREE[b"big"]
    assert isinstance(data, bytes)

    async def check() -> None:
        handle = (await tree.open((await resolve(tree, b"big")).ino, os.O_RDONLY, ME)).handle
        for offset in (0, 1, 4096, 65535, 300_000, len(data) - 5, len(data), len(data) + 7):
            for size in (1, 4096, 131_072, 1 << 20):
                got = await tree.read(handle, offset, size)
                assert got == data[offset : offset + size]

    run(check)


def test_inode_numbers_are_unique_and_the_same_by_any_way(repository: Repository) -> None:
    commit_tree(repository, TREE)
    commit_tree(repository, {**TREE, b"small": b"changed"})

    async def numbers(*versions: int) -> dict[bytes, int]:
        return {
            path: attrs.ino for path, attrs in (await walk(tree_of(repository, *versions))).items()
        }

    async def check() -> None:
        one = await numbers(0)
        assert len(set(one.values())) == len(one)
        assert ROOT not in one.values()
        assert one == await numbers(0)
        other = await numbers(0, 1)
        assert not set(one.values()) & set(other.values())
        tree = tree_of(repository, 0)
        assert {path: (await resolve(tree, path)).ino for path in reversed(one)} == one
        fresh = tree_of(repository, 0)  # nothing remembered: found by walking down
        for path, ino in one.items():
            assert (await fresh.getattr(ino)).ino == ino, path

    run(check)


def test_a_big_directory_can_be_listed_from_any_position(repository: Repository) -> None:
    names = [b"%06d" % n for n in range(3000)]

    def entries(_: object) -> dict[bytes, Entry | None]:
        empty = Entry(b"", Kind.SYMLINK, 0o777, 7, 0, 0, b"\1" * 32, target=b"t")
        return {
            name: Entry(name, empty.kind, 0o777, 7, 0, 0, empty.digest, target=b"t")
            for name in names
        }

    commit_edit(repository, entries)
    tree = tree_of(repository, 0)

    async def check() -> None:
        whole = await listing(tree, ROOT)
        assert [entry.name for entry in whole] == names
        fresh = tree_of(repository, 0)
        for at in (0, 1, 63, 64, 1500, 2998):
            page = await fresh.readdir(ROOT, whole[at].position)
            assert page[0].name == names[at + 1]
        assert await fresh.readdir(ROOT, whole[-1].position) == []

    run(check)


def test_a_small_file_is_handed_over_once_and_to_the_first_reader_only(
    repository: Repository,
) -> None:
    commit_tree(repository, TREE)
    tree = tree_of(repository, 0)

    async def check() -> None:
        ino = (await resolve(tree, b"small")).ino
        first = await tree.open(ino, os.O_RDONLY, ME)
        assert first.preload == b"small"
        await tree.release(first.handle)
        again = await tree.open(ino, os.O_RDONLY, ME)
        assert again.preload is None
        await tree.release(again.handle)
        tree.forget([(ino, 1)])
        third = await tree.open(ino, os.O_RDONLY, ME)
        assert third.preload == b"small"
        tree.forget([(ino, 1)])
        assert (await tree.open(ino, os.O_RDONLY, ME)).preload is None  # one is open

    run(check)


def test_two_opens_at_once_hand_nothing_over(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one waits for the store, the second may read already when it comes back."""
    commit_tree(repository, TREE)
    tree = tree_of(repository, 0)
    monkeypatch.setattr(Fetcher, "at_hand", lambda *_: None)  # so that they wait
    preloads: list[bytes | None] = []

    async def check() -> None:
        ino = (await resolve(tree, b"small")).ino

        async def open_it() -> None:
            preloads.append((await tree.open(ino, os.O_RDONLY, ME)).preload)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_it)
            nursery.start_soon(open_it)
        assert preloads == [None, None]

    run(check)


IN_ORDER: Tree = {b"%d" % n: b"content %d" % n for n in range(5)}


def test_of_files_opened_in_order_the_next_one_is_offered(repository: Repository) -> None:
    commit_tree(repository, IN_ORDER)
    tree = tree_of(repository, 0)

    async def check() -> None:
        inos = [entry.attrs.ino for entry in await listing(tree, ROOT)]

        async def opened(ino: int) -> bytes | None:
            found = await tree.open(ino, os.O_RDONLY, ME)
            await tree.release(found.handle)
            return found.preload

        assert await opened(inos[0]) == b"content 0"
        assert tree.preload_next() is None, "one file is no order"
        assert await opened(inos[1]) == b"content 1"
        assert tree.preload_next() == (inos[2], b"content 2")
        assert tree.preload_next() is None, "offered once"
        assert await opened(inos[2]) == b"content 2", "the kernel did not take it"
        assert tree.preload_next() == (inos[3], b"content 3")
        tree.preloaded(inos[3])
        assert await opened(inos[3]) is None, "the kernel has it"
        assert tree.preload_next() == (inos[4], b"content 4")
        tree.preloaded(inos[4])
        assert await opened(inos[4]) is None
        assert tree.preload_next() is None, "there is no next one"

    run(check)


def test_a_file_that_is_open_is_not_offered(repository: Repository) -> None:
    """Its pages may be locked by a reader who waits for us."""
    commit_tree(repository, IN_ORDER)
    tree = tree_of(repository, 0)

    async def check() -> None:
        inos = [entry.attrs.ino for entry in await listing(tree, ROOT)]
        await tree.open(inos[2], os.O_RDONLY, ME)
        tree.forget([(inos[2], 1)])
        for ino in inos[:2]:
            await tree.open(ino, os.O_RDONLY, ME)
        assert tree.preload_next() is None

    run(check)


def test_what_is_not_there(repository: Repository) -> None:
    commit_tree(repository, TREE)
    tree = tree_of(repository, 0)

    async def check() -> None:
        with pytest.raises(NoEntry):
            await tree.lookup(ROOT, b"nothing")
        with pytest.raises(NameTooLong):
            await tree.lookup(ROOT, b"n" * 256)
        with pytest.raises(NotADirectory):
            await tree.lookup((await resolve(tree, b"small")).ino, b"x")
        with pytest.raises(NotADirectory):
            await tree.opendir((await resolve(tree, b"small")).ino, ME)
        for ino in (2, 1 << SLOT_BITS | 99, 2 << SLOT_BITS):
            with pytest.raises(NoEntry):
                await tree.getattr(ino)

    run(check)


def test_nothing_can_be_opened_for_writing(repository: Repository) -> None:
    commit_tree(repository, TREE)
    tree = tree_of(repository, 0)

    async def check() -> None:
        ino = (await resolve(tree, b"small")).ino
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_RDONLY | os.O_APPEND):
            with pytest.raises(ReadOnly):
                await tree.open(ino, flags, ME)

    run(check)


def test_unknown_references_are_listed_but_not_read(repository: Repository) -> None:
    target = b'{"uri":"tracker://run/7","later":[1]}'
    reference = Entry(b"r", Kind.REFERENCE, 0o644, 7, 123, 0, b"\1" * 32, target=target)
    commit_edit(repository, lambda _: {b"r": reference})
    tree = tree_of(repository, 0)

    async def check() -> None:
        attrs = await resolve(tree, b"r")
        assert attrs.size == 123
        assert await tree.getxattr(attrs.ino, b"user.artfs.reference") == b"tracker://run/7"
        with pytest.raises(Unsupported):
            await tree.open(attrs.ino, os.O_RDONLY, ME)

    run(check)


def test_extended_attributes(repository: Repository) -> None:
    done = commit_tree(repository, TREE, aliases=("best",))
    tree = tree_of(repository, 0)

    async def check() -> None:
        ino = (await resolve(tree, b"small")).ino
        assert await tree.listxattr(ino) == [
            b"user.artfs.digest", b"user.artfs.artifact", b"user.artfs.version",
        ]  # fmt: skip
        root = {name: await tree.getxattr(ROOT, name) for name in await tree.listxattr(ROOT)}
        assert root[b"user.artfs.digest"] == done.record.digest.encode()
        assert root[b"user.artfs.artifact"] == b"default/default/animals"
        assert root[b"user.artfs.version"] == b"v0"
        assert root[b"user.artfs.aliases"] == b'["best","latest"]'
        assert root[b"user.artfs.metadata"] == b"{}"
        with pytest.raises(NoAttribute):
            await tree.getxattr(ino, b"user.artfs.size")

    run(check)


@pytest.mark.expect_errors
def test_damage_is_an_error_and_the_log_names_the_file(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    commit_tree(repository, TREE)
    store = repository.store
    assert isinstance(store, MemoryStore)

    async def check() -> None:
        tree = tree_of(repository, 0)
        good, bad = await resolve(tree, b"small"), await resolve(tree, b"a/deep/x")
        entry = await tree._entry(bad.ino)
        assert entry.blob is not None
        flip(store, entry)
        opened = await tree.open(bad.ino, os.O_RDONLY, ME)
        assert opened.preload is None
        with caplog.at_level(logging.ERROR), pytest.raises(Damaged):
            await tree.read(opened.handle, 0, 100)
        assert "animals:v0/a/deep/x" in caplog.text
        assert entry.blob.digest.hex() in caplog.text
        assert f"packs/{entry.blob.pack.hex()[:2]}/{entry.blob.pack.hex()}" in caplog.text
        assert await content(tree, good.ino) == b"small"

    run(check)


def flip(store: MemoryStore, entry: Entry) -> None:
    """Change a byte of an entry's chunk where it is stored."""
    assert entry.blob is not None
    key = f"packs/{entry.blob.pack.hex()[:2]}/{entry.blob.pack.hex()}"
    data = bytearray(store.get(key))
    data[entry.blob.offset] ^= 1
    store.delete(key)
    writer = store.writer(key)
    writer.write([bytes(data)])
    writer.commit()
