"""Commits of a draft whose artifact has moved on: what is in the version, and in the mount."""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.errors import CommitConflict, Conflict, InvalidValue, Unreachable
from artfs.format import keys
from artfs.format.record import VersionRecord
from artfs.repo.catalog import Catalog
from artfs.repo.commit import commit
from artfs.repo.labels import Labels
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
from artfs.vfs.draft import commit as commits
from artfs.vfs.draft import rebasing, threads
from artfs.vfs.draft.control import control_handlers
from artfs.vfs.draft.foreign import Stale
from artfs.vfs.draft.names import Names, Place
from artfs.vfs.draft.state import create_draft
from artfs.vfs.errors import Exists, NoEntry, NotADirectory
from artfs.vfs.tree import ROOT
from tests.unit.draft.conftest import BASE, BIG
from tests.unit.draft.drafts import (
    KEY,
    Fs,
    Listing,
    Node,
    digest_of,
    drafted,
    killed,
    lose,
    make_version,
    mount,
    repository_in,
    store_tree,
    version_tree,
)


def newest(repository: Repository) -> int:
    return repository.catalog.latest(KEY)


async def shows_newest(fs: Fs, repository: Repository) -> Listing:
    """The mount shows the newest version, which has the digest of its tree."""
    tree = await fs.walk()
    number = newest(repository)
    assert version_tree(repository, number) == tree
    digest = repository.catalog.version(KEY, number).digest
    assert bytes.fromhex(digest) == digest_of(tree, repository)
    return tree


THEIRS: dict[str, Listing] = {
    "a new file": {**BASE, b"d/new": Node("f", b"theirs")},
    "a new directory": {
        **BASE, b"n": Node("d", mode=0o755), b"n/m": Node("d", mode=0o755),
        b"n/m/f": Node("f", b"1"), b"n/m/g": Node("f", b"2"), b"n/l": Node("l", b"m/f", 0o777),
    },
    "other content": {**BASE, b"big": Node("f", BIG[:700_000] + b"theirs")},
    "an executable": {**BASE, b"a": Node("f", b"hello", 0o755)},
    "a file removed": {path: node for path, node in BASE.items() if path != b"a"},
    "a directory removed": {p: node for p, node in BASE.items() if not p.startswith(b"d/e")},
    "another link": {**BASE, b"link": Node("l", b"elsewhere", 0o777)},
    "another kind": {**BASE, b"a": Node("d", mode=0o755), b"a/f": Node("f", b"now below")},
    "a file for a directory": {
        **{p: node for p, node in BASE.items() if not p.startswith(b"d/e")},
        b"d/e": Node("f", b"a file now"),
    },
    "all at once": {
        b"d": Node("d", mode=0o755), b"d/x": Node("f", b"y"), b"big": Node("f", b"small"),
        b"z": Node("f", b"last"),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", THEIRS)
def test_what_others_changed_is_in_the_version_and_in_the_mount(
    tmp_path: Path, repository: Repository, base: VersionRecord, case: str
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.walk()  # so that everything has been seen before
            await fs.put(b"mine", b"1")
            await fs.mkdir(b"d/my directory")
            make_version(repository, THEIRS[case], base=0)
            result = await fs.tree.commit()
            assert (result.version, result.changed, result.onto) == (2, True, 1)
            assert repository.catalog.version(KEY, 2).base == 1
            mine = {b"mine": Node("f", b"1"), b"d/my directory": Node("d", mode=0o755)}
            assert await shows_newest(fs, repository) == {**THEIRS[case], **mine}
            assert (await fs.tree.status()).changes == []
            await edit_everything(fs)
            assert (await fs.tree.commit()).version == 3
            await shows_newest(fs, repository)
            again = killed(fs, tmp_path)
            await shows_newest(again, repository)
            await again.tree.close()

    async def edit_everything(fs: Fs) -> None:
        """What came from others is as good as anything else in the draft."""
        for path, node in (await fs.walk()).items():
            if node.kind == "f":
                await fs.pwrite(path, 1, b"edited")
                await fs.rename(path, path + b".moved")
            elif node.kind == "d":
                await fs.put(path + b"/added", b"1")

    trio.run(check)


def test_the_kernel_is_told_what_to_forget(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    told: list[Stale] = []

    async def forget(stale: Stale) -> bool:
        told.append(stale)
        return True

    async def check() -> None:
        fs = mount(create_draft(tmp_path, repository, KEY, base), forget_kernel=forget)
        directory, big, x = [(await fs.stat(path)).ino for path in (b"d", b"big", b"d/x")]
        await fs.put(b"mine", b"1")
        make_version(
            repository,
            {**BASE, b"big": Node("f", b"1"), b"d/x": Node("l", b"1", 0o777), b"d/y": BASE[b"a"]},
            base=0,
        )
        await fs.tree.commit()
        [stale] = told
        assert sorted(stale.names) == [(ROOT, b"big"), (directory, b"x"), (directory, b"y")]
        assert stale.files == [big]
        assert (await fs.stat(b"big")).ino == big
        assert (await fs.stat(b"d/x")).ino != x
        await fs.tree.close()

    trio.run(check)


def test_who_has_a_file_open_sees_it_change_and_can_go_on_writing(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            handle = await fs.open(b"a")
            await fs.put(b"mine", b"1")
            make_version(repository, {**BASE, b"a": Node("f", b"HELLO, world")}, base=0)
            await fs.tree.commit()
            assert await fs.tree.read(handle, 0, 100) == b"HELLO, world"
            await fs.tree.write(handle, 12, b"!")
            await fs.close(handle)
            await fs.tree.commit()
            assert (await shows_newest(fs, repository))[b"a"].data == b"HELLO, world!"

    trio.run(check)


@pytest.mark.parametrize("content", [b"", b"same", bytes(5)])
@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_was_written_and_is_the_same(
    tmp_path: Path, repository: Repository, content: bytes, is_open: bool
) -> None:
    """It becomes what others made of it, and stays the file that programs have open."""

    async def check() -> None:
        base = make_version(repository, {b"a": Node("f", content)})
        async with drafted(tmp_path, repository, base) as fs:
            handle = await fs.open(b"a") if is_open else None
            await fs.truncate(b"a", 0)
            if content.strip(b"\0"):
                await fs.pwrite(b"a", 0, content)
            await fs.truncate(b"a", len(content))
            await fs.put(b"mine", b"1")
            make_version(repository, {b"a": Node("f", b"theirs")}, base=0)
            await fs.tree.commit()
            assert (await shows_newest(fs, repository))[b"a"].data == b"theirs"
            if handle is None:
                handle = await fs.open(b"a")
            await fs.tree.write(handle, 6, b" and mine")
            await fs.close(handle)
            await fs.tree.commit()
            assert (await shows_newest(fs, repository))[b"a"].data == b"theirs and mine"

    trio.run(check)


@pytest.mark.parametrize("theirs", [b"", b"1", b"longer than it was"])
def test_what_is_appended_before_the_kernel_knows_the_length(
    tmp_path: Path, repository: Repository, base: VersionRecord, theirs: bytes
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            handle = await fs.open(b"a", os.O_WRONLY | os.O_APPEND)
            other = await fs.open(b"a")
            await fs.put(b"mine", b"1")
            make_version(repository, {**BASE, b"a": Node("f", theirs)}, base=0)
            await fs.tree.commit()
            at = len(BASE[b"a"].data)
            for word in (b"one", b"two"):
                await fs.tree.write(handle, at, word)  # as the kernel does
                at += len(word)
            expected = theirs + b"onetwo"
            assert await fs.read(b"a") == expected
            await fs.tree.write(handle, len(expected), b"three")  # it has asked meanwhile
            await fs.tree.write(other, 0, b"X")
            assert await fs.read(b"a") == b"X" + (expected + b"three")[1:]
            await fs.close(handle)
            await fs.close(other)
            assert not fs.tree._lengths

    trio.run(check)


def test_hard_links_part_where_others_changed_one_of_the_names(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.link(b"a", b"mine")
            make_version(repository, {**BASE, b"a": Node("f", b"theirs")}, base=0)
            await fs.tree.commit()
            tree = await shows_newest(fs, repository)
            assert (tree[b"a"].data, tree[b"mine"].data) == (b"theirs", b"hello")
            assert [(await fs.stat(path)).nlink for path in (b"a", b"mine")] == [1, 1]

    trio.run(check)


def test_changes_below_a_directory_that_was_renamed(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    """By path: what others add under the old name stays there."""

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.rename(b"d", b"D")
            make_version(repository, {**BASE, b"d/new": Node("f", b"1")}, base=0)
            await fs.tree.commit()
            tree = await shows_newest(fs, repository)
            assert {b"d", b"d/new", b"D/x", b"D/e/f"} <= tree.keys()
            assert b"d/x" not in tree

    trio.run(check)


@pytest.mark.expect_errors
def test_a_path_changed_on_both_sides_refuses_the_commit_and_keeps_the_draft(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"a", b"mine")
            await fs.put(b"f", b"1")
            make_version(
                repository, {**BASE, b"a": Node("f", b"theirs"), b"g": Node("f", b"2")}, base=0
            )
            with pytest.raises(CommitConflict) as caught:
                await fs.tree.commit()
            assert caught.value.paths == [b"a"]
            assert newest(repository) == 1
            status = await fs.tree.status()
            assert (status.base, status.newest) == (0, 1)
            assert "a" in status.error
            assert [c.path for c in status.changes] == [b"a", b"f"]
            assert not await fs.exists(b"g")
            result = await fs.tree.commit(on_conflict="ours")
            assert (result.version, result.onto) == (2, 1)
            tree = await shows_newest(fs, repository)
            assert (tree[b"a"].data, tree[b"g"].data) == (b"mine", b"2")
            assert fs.tree.draft.record.error == ""

    trio.run(check)


@pytest.mark.expect_errors
def test_settling_a_conflict_by_hand(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"a", b"mine")
            make_version(repository, {**BASE, b"a": Node("f", b"theirs")}, base=0)
            with pytest.raises(CommitConflict):
                await fs.tree.commit()
            await fs.put(b"a", b"theirs")
            await fs.put(b"f", b"1")
            assert (await fs.tree.commit()).version == 2
            await shows_newest(fs, repository)

    trio.run(check)


@pytest.mark.expect_errors
def test_the_policy_to_fail(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    async def check() -> None:
        fs = mount(create_draft(tmp_path, repository, KEY, base), on_conflict="fail")
        await fs.put(b"f", b"1")
        make_version(repository, {**BASE, b"g": Node("f", b"2")}, base=0)
        with pytest.raises(Conflict, match="moved on to v1 since v0"):
            await fs.tree.commit()
        handlers = control_handlers(fs.tree)
        with pytest.raises(InvalidValue):
            await handlers["sync"]({"on_conflict": "theirs"})
        answer = await handlers["sync"]({"on_conflict": "rebase"})
        assert (answer["version"], answer["onto"]) == (2, 1)
        await shows_newest(fs, repository)
        await fs.tree.close()

    trio.run(check)


def test_the_same_change_on_both_sides_makes_no_version(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"f", b"1")
            make_version(repository, {**BASE, b"f": Node("f", b"1"), b"g": Node("f", b"2")}, base=0)
            result = await fs.tree.commit()
            assert (result.version, result.changed) == (1, False)
            await shows_newest(fs, repository)
            await fs.put(b"h", b"3")
            assert (await fs.tree.commit()).version == 2
            await shows_newest(fs, repository)

    trio.run(check)


def test_somebody_is_faster_again_and_again(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = dict(BASE)
    record_version = Catalog.record_version

    def beaten(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
        """Takes the number just before it is to be taken."""
        if version.version <= 5:
            theirs[b"%d" % version.version] = Node("f", b"theirs")
            with monkeypatch.context() as patch:
                patch.setattr(Catalog, "record_version", record_version)
                make_version(repository, theirs, base=version.version - 1)
        record_version(catalog, key, version)

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"mine", b"1")
            monkeypatch.setattr(Catalog, "record_version", beaten)
            assert (await fs.tree.commit()).version == 6
            tree = await shows_newest(fs, repository)
            assert tree == {**theirs, b"mine": Node("f", b"1")}

    trio.run(check)


@pytest.mark.expect_errors
@pytest.mark.parametrize("lost_twice", [False, True])
@pytest.mark.parametrize("moves_on", [False, True])
def test_an_answer_lost_while_others_went_on(
    tmp_path: Path, repository: Repository, base: VersionRecord, lost_twice: bool, moves_on: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nothing of theirs is undone, and editing a path further is no conflict with ourselves."""

    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"f", b"1")
            make_version(repository, {**BASE, b"theirs": Node("f", b"1")}, base=0)
            for content in (b"22", b"333") if lost_twice else (b"22",):
                monkeypatch.setattr(rebasing, "commit_version", lose)
                with pytest.raises(Unreachable):
                    await fs.tree.commit()
                monkeypatch.undo()
                fs = killed(fs, tmp_path)
                await fs.put(b"f", content)
            if moves_on:
                tree = version_tree(repository, newest(repository))
                make_version(
                    repository, {**tree, b"more": Node("f", b"2")}, base=newest(repository)
                )
            await fs.tree.commit()
            tree = await shows_newest(fs, repository)
            assert tree[b"theirs"].data == b"1"
            assert tree[b"f"].data == content
            assert (b"more" in tree) == moves_on
            record = fs.tree.draft.record
            assert (record.base, record.commit, record.landed) == (newest(repository), "", [])
            await fs.tree.close()

    trio.run(check)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("is_edited", [False, True])
def test_killed_while_what_others_changed_is_taken_over(
    tmp_path: Path, repository: Repository, base: VersionRecord, step: int, is_edited: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    left = [step]

    async def pause(steps: commits._Steps) -> None:
        steps._finish()
        if not left[0]:
            raise Killed
        left[0] -= 1

    async def check() -> None:
        fs = mount(create_draft(tmp_path, repository, KEY, base))
        await fs.put(b"mine", b"1")
        await fs.put(b"d/e/f", b"mine")
        make_version(repository, {**THEIRS["all at once"], b"d/e": BASE[b"d/e"],
                                  b"d/e/f": BASE[b"d/e/f"]}, base=0)  # fmt: skip
        monkeypatch.setattr(commits._Steps, "pause", pause)
        with pytest.raises(Killed):
            await fs.tree.commit()
        monkeypatch.undo()
        fs = killed(fs, tmp_path)
        if is_edited:
            await fs.put(b"mine", b"2")
            await fs.put(b"d/e/g", b"2")
        await fs.tree.commit()
        assert newest(repository) == 2 + is_edited
        tree = await shows_newest(fs, repository)
        assert tree.keys() >= {b"mine", b"z", b"d/e/f", b"d/x"}
        assert b"link" not in tree
        assert (await fs.tree.status()).changes == []
        await fs.tree.close()

    trio.run(check)


@pytest.mark.expect_errors
@pytest.mark.parametrize("path", [b"a", b"d/e/f", b"d/e/new"])
@pytest.mark.parametrize("edit", ["write", "remove"])
def test_what_is_edited_while_theirs_comes_is_a_conflict_of_the_next_commit(
    tmp_path: Path, repository: Repository, base: VersionRecord, path: bytes, edit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def check() -> None:
        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"mine", b"1")
            make_version(repository, {**BASE, path: Node("f", b"theirs")}, base=0)

            async def change() -> None:
                if edit == "write":
                    await fs.put(path, b"mine")
                elif path == b"a":
                    await fs.unlink(path)
                else:
                    await fs.unlink(b"d/e/f")
                    await fs.rmdir(b"d/e")

            at_the_instant(monkeypatch, change)
            assert (await fs.tree.commit()).version == 2
            monkeypatch.undo()
            assert version_tree(repository, 2)[path].data == b"theirs"
            kept = await fs.walk()
            with pytest.raises(CommitConflict) as caught:
                await fs.tree.commit()
            assert path in caught.value.paths
            assert await fs.walk() == kept
            assert (await fs.tree.commit(on_conflict="ours")).version == 3
            assert await shows_newest(fs, repository) == kept
            await fs.put(b"more", b"1")
            assert (await fs.tree.commit()).version == 4

    trio.run(check)


def at_the_instant(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Awaitable[None]]) -> None:
    """Change something between the commit's instant and the taking over of its result."""
    run = threads.in_thread

    async def in_thread(fn: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401  # as it is
        if getattr(fn, "__name__", "") == "_store":
            await change()
        return await run(fn, *args)

    monkeypatch.setattr(commits, "in_thread", in_thread)


#: What is done to d/new, which others make, or d/x, which they remove; and what is right then.
OVERTAKEN: dict[str, tuple[Callable[[Fs], Awaitable[object]], type[Exception]]] = {
    "make a file": (lambda fs: fs.create(b"d/new"), Exists),
    "make a directory": (lambda fs: fs.mkdir(b"d/new"), Exists),
    "link": (lambda fs: fs.link(b"mine", b"d/new"), Exists),
    "move there": (lambda fs: fs.rename(b"dir", b"d/new"), NotADirectory),
    "remove": (lambda fs: fs.unlink(b"d/x"), NoEntry),
    "move away": (lambda fs: fs.rename(b"d/x", b"y"), NoEntry),
}


@pytest.mark.parametrize("case", OVERTAKEN)
def test_an_operation_that_waits_while_theirs_comes_looks_again(
    tmp_path: Path, repository: Repository, base: VersionRecord, case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """To go by what it had found would undo, unseen, what others did, or leave a name of what is
    gone."""
    theirs = {**BASE, b"d/new": Node("f", b"theirs")}
    del theirs[b"d/x"]
    edit, expected = OVERTAKEN[case]
    marked = Names.mark

    async def check() -> None:
        goes_on = trio.Event()

        async def mark(names: Names, places: Sequence[Place], kind: int) -> None:
            """As where the directory above must be fetched."""
            monkeypatch.setattr(Names, "mark", marked)
            await goes_on.wait()
            await names.mark(places, kind)

        async def work() -> None:
            with pytest.raises(expected):
                await edit(fs)

        async with drafted(tmp_path, repository, base) as fs:
            await fs.put(b"mine", b"1")
            await fs.mkdir(b"dir")
            make_version(repository, theirs, base=0)
            monkeypatch.setattr(Names, "mark", mark)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                await trio.testing.wait_all_tasks_blocked()
                assert (await fs.tree.commit()).version == 2
                goes_on.set()
            await fs.put(b"more", b"2")
            await fs.tree.commit()
            tree = await shows_newest(fs, repository)
            assert tree[b"d/new"].data == b"theirs"
            assert tree.keys() == theirs.keys() | {b"mine", b"dir", b"more"}

    trio.run(check)


def test_the_base_was_deleted(tmp_path: Path, repository: Repository, base: VersionRecord) -> None:
    """Then the draft's own memory of it tells what changed."""

    async def check() -> None:
        tree = {**BASE, b"second": Node("f", b"2")}
        second = make_version(repository, tree, base=0)
        async with drafted(tmp_path, repository, second) as fs:
            await fs.put(b"mine", b"1")
            make_version(repository, {**tree, b"third": Node("f", b"3")}, base=1)
            repository.store.put_if_absent(f"{keys.artifact(KEY)}deleted/0000000001.json", b"{}")
            assert repository.catalog.versions(KEY) == [0, 2]
            await fs.tree.commit()
            assert (await shows_newest(fs, repository)).keys() >= {b"mine", b"second", b"third"}

    trio.run(check)


@pytest.mark.parametrize("policy", ["rebase", "fail"])
@pytest.mark.parametrize("others", [1, 0])
def test_the_base_was_deleted_and_nobody_has_made_another(
    tmp_path: Path, repository: Repository, base: VersionRecord, policy: str, others: int
) -> None:
    """What the draft shows of it is in the next version; there is nothing to be put on."""

    async def check() -> None:
        second = make_version(repository, {**BASE, b"second": Node("f", b"2")}, base=0)
        async with drafted(tmp_path, repository, second) as fs:
            shown = {**await fs.walk(), b"mine": Node("f", b"1")}
            await fs.put(b"mine", b"1")
            for number in range(others, 2):
                repository.catalog.mark_deleted(KEY, number)
            result = await fs.tree.commit(on_conflict=policy)
            assert (result.version, result.onto) == (2, None)
            assert repository.catalog.version(KEY, 2).base == 1
            assert await shows_newest(fs, repository) == shown
            assert (await fs.tree.status()).changes == []

    trio.run(check)


def test_the_base_was_deleted_and_the_draft_became_what_was_before_it(
    tmp_path: Path, repository: Repository, base: VersionRecord
) -> None:
    async def check() -> None:
        second = make_version(repository, {**BASE, b"second": Node("f", b"2")}, base=0)
        async with drafted(tmp_path, repository, second) as fs:
            await fs.unlink(b"second")
            repository.catalog.mark_deleted(KEY, 1)
            result = await fs.tree.commit()
            assert (result.version, result.changed) == (0, False)
            assert (await fs.tree.status()).changes == []
            assert await shows_newest(fs, repository) == BASE

    trio.run(check)


@pytest.mark.expect_errors
def test_the_base_was_deleted_before_a_commit_whose_answer_was_lost(
    tmp_path: Path, repository: Repository, base: VersionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        second = make_version(repository, {**BASE, b"second": Node("f", b"2")}, base=0)
        async with drafted(tmp_path, repository, second) as fs:
            await fs.put(b"mine", b"1")
            repository.catalog.mark_deleted(KEY, 1)
            with monkeypatch.context() as patch:
                patch.setattr(rebasing, "commit_version", lose)
                with pytest.raises(Unreachable):
                    await fs.tree.commit()
            await fs.put(b"more", b"2")
            result = await fs.tree.commit()
            assert result.version == 3
            assert (await shows_newest(fs, repository)).keys() >= {b"mine", b"more", b"second"}

    trio.run(check)


SIDE = st.integers(0, 1)
NAMES = st.sampled_from([b"1", b"2", b"d/1", b"d/2", b"d/e/1", b"d"])
STEPS = st.lists(
    st.tuples(SIDE, st.sampled_from(["put", "unlink", "mkdir", "commit"]), NAMES), max_size=25
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_two_drafts_that_keep_apart_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, bytes]]
) -> None:
    """Names end in the side that makes them; directories are shared."""
    tmp_path = tmp_path_factory.mktemp("drafts")
    mine: list[Listing] = [{}, {}]

    async def apply(fs: Fs, side: int, step: str, name: bytes, count: int) -> None:
        path = name + b"abcdefg"[side : side + 1]
        if step == "mkdir":
            for directory in (b"d", b"d/e"):
                if not await fs.exists(directory):
                    await fs.mkdir(directory)
        elif step == "put" and await fs.exists(name.rpartition(b"/")[0]):
            mine[side][path] = Node("f", b"%d" % count)
            await fs.put(path, b"%d" % count)
        elif step == "unlink" and mine[side].pop(path, None) is not None:
            await fs.unlink(path)

    async def check(repository: Repository) -> None:
        first = make_version(repository, {b"d": Node("d", mode=0o755)})
        sides = [mount(create_draft(tmp_path / name, repository, KEY, first)) for name in "ab"]
        for count, (side, step, name) in enumerate(
            [*steps, (0, "commit", b""), (1, "commit", b"")]
        ):
            if step == "commit":
                await sides[side].tree.commit()
                if sides[side].tree.draft.record.base == newest(repository):
                    await shows_newest(sides[side], repository)
            else:
                await apply(sides[side], side, step, name, count)
        files = {p: n for p, n in version_tree(repository, newest(repository)).items()
                 if n.kind == "f"}  # fmt: skip
        assert files == {**mine[0], **mine[1]}
        for fs in sides:
            await fs.tree.close()

    with repository_in(tmp_path) as repository:
        trio.run(check, repository)


@pytest.mark.parametrize("is_new", [False, True])
def test_metadata_goes_on_from_version_to_version(
    tmp_path: Path, repository: Repository, is_new: bool
) -> None:
    """A draft changes files; what was said of the data stays said, by others meanwhile too."""

    def put(tree: Listing, metadata: dict[str, object]) -> VersionRecord:
        with PackWriter(repository) as writer:
            root = store_tree(tree, writer)
            return commit(
                repository, KEY, root, writer, commit_id=secrets.token_hex(),
                labels=Labels(metadata=metadata),
            ).record  # fmt: skip

    async def check() -> None:
        base = put({b"f": Node("f", b"1")}, {"lines": 1})
        async with drafted(tmp_path, repository, None if is_new else base) as fs:
            await fs.put(b"g", b"2")
            await fs.tree.commit()
            assert repository.catalog.version(KEY, 1).metadata == ({} if is_new else {"lines": 1})
            put({**version_tree(repository, 1), b"h": Node("f", b"3")}, {"lines": 3})
            await fs.put(b"i", b"4")
            await fs.tree.commit()
            assert repository.catalog.version(KEY, 3).metadata == {"lines": 3}

    trio.run(check)
