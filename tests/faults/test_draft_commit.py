"""A draft's commit fails, or is killed, at each of its steps: one version comes of it at last."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
from collections import Counter
from pathlib import Path

import pytest
import trio

from artfs.errors import ArtfsError, Unreachable
from artfs.repo.repository import Repository
from artfs.store.base import Store
from artfs.store.directory import DirectoryStore
from artfs.store.memory import MemoryStore
from artfs.store.s3.conditions import Conditions
from artfs.store.s3.store import S3Store
from artfs.store.s3.writer import S3Writer
from artfs.vfs.draft import commit as commits
from artfs.vfs.draft.building import Builder, Results
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.records import list_drafts
from artfs.vfs.draft.state import create_draft, open_draft
from tests.support.deadly import die_at
from tests.support.faulty import FaultyStore
from tests.support.s3server import BUCKET, S3Server
from tests.unit.draft.conftest import BASE, BIG
from tests.unit.draft.drafts import (
    KEY,
    Fs,
    Listing,
    make_version,
    mount,
    repository_in,
    version_tree,
)

#: What of a commit is no system call of Python's: SQLite's, and what happens in memory.
METHODS = [
    (Journal, "commit"),
    (Journal, "sync"),
    (Results, "close"),
    (Builder, "root"),
]
#: There are hundreds of steps: they are dealt out to so many tests, which run side by side.
_SHARES = 4
CHANGES = ("writer.write", "writer.commit", "put_if_absent", "compare_and_set")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many of them: the journal is committed after each row that is taken over."""
    monkeypatch.setattr(commits, "_ROWS", 2)
    monkeypatch.setattr(commits, "_STEP", -1.0)


async def edit(fs: Fs) -> None:
    """Something of everything."""
    await fs.pwrite(b"big", 700_000, b"in the middle" * 100)
    await fs.truncate(b"big", 900_000)
    await fs.put(b"new", BIG[:70_000])
    await fs.link(b"new", b"d/hard")
    await fs.mkdir(b"made")
    await fs.put(b"made/f", b"small")
    await fs.rename(b"d/e", b"made/e")
    await fs.unlink(b"a")
    await fs.symlink(b"made", b"sym")
    await fs.chmod(b"d/x", 0o644)


async def edit_more(fs: Fs) -> None:
    await fs.put(b"made/f", b"other")
    await fs.pwrite(b"big", 10, b"ten")
    await fs.unlink(b"sym")


def make_draft(root: Path, store: Store) -> tuple[str, Listing]:
    """A draft that was edited and not committed: its id, and what is in it."""

    async def make() -> Listing:
        await edit(fs)
        tree = await fs.walk()
        await fs.tree.close()
        return tree

    with repository_in(root, store) as repository:
        draft = create_draft(root / "state", repository, KEY, make_version(repository, BASE))
        fs = mount(draft)
        return draft.record.id, trio.run(make)


def commit_draft(root: Path, draft_id: str) -> None:
    with repository_in(root, DirectoryStore(root / "store")) as repository:
        fs = mount(open_draft(root / "state", draft_id, repository))
        trio.run(fs.tree.commit)
        trio.run(fs.tree.close)


async def goes_on(fs: Fs, repository: Repository, tree: Listing, edits: bool) -> int:
    """Whatever happened, nothing is lost and the next commit is right; the number of versions."""
    assert await fs.walk() == tree
    if edits:
        await edit_more(fs)
        tree = await fs.walk()
    result = await fs.tree.commit()
    numbers = repository.catalog.versions(KEY)
    assert result.version == numbers[-1]
    assert version_tree(repository, numbers[-1]) == tree == await fs.walk()
    assert (await fs.tree.status()).changes == []
    again = await fs.tree.commit()
    assert (again.version, again.changed) == (numbers[-1], False)
    assert repository.catalog.versions(KEY) == numbers
    return len(numbers)


def check_rest(root: Path, draft_id: str) -> None:
    """Once it is over, nothing is left behind."""
    [info] = list_drafts(root / "state")
    assert (info.record.id, info.record.commit, info.record.error) == (draft_id, "", "")
    path = root / "state" / "drafts" / draft_id
    assert os.listdir(path / "data") == []
    assert not (path / "commit.sqlite").exists()


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 1 + _SHARES))
@pytest.mark.parametrize("edits", [False, True], ids=["as it was", "edited since"])
def test_killed_at_every_step(tmp_path: Path, edits: bool, first: int) -> None:
    fresh = tmp_path / "fresh"
    draft_id, tree = make_draft(fresh, DirectoryStore.create(fresh / "store"))

    def copy(name: object) -> Path:
        root = tmp_path / f"{name}"
        shutil.copytree(fresh, root)
        return root

    root = copy("dry")
    steps = die_at(None, root, functools.partial(commit_draft, root, draft_id), METHODS)
    assert steps > 100
    outcomes: Counter[int] = Counter()
    for fatal in range(first, steps + 1, _SHARES):
        root = copy(fatal)
        die_at(fatal, root, functools.partial(commit_draft, root, draft_id), METHODS)
        with repository_in(root, DirectoryStore(root / "store")) as repository:
            before = len(repository.catalog.versions(KEY))
            fs = mount(open_draft(root / "state", draft_id, repository))
            made = trio.run(goes_on, fs, repository, tree, edits)
            trio.run(fs.tree.close)
        assert made == (before + 1 if edits else 2), f"killed at step {fatal} of {steps}"
        check_rest(root, draft_id)
        outcomes[before] += 1
        shutil.rmtree(root)
    assert min(outcomes[1], outcomes[2]) > 2, "the commit point lies within the steps"


#: What of a commit changes something on a server.
WRITES = [
    (S3Store, "put_if_absent"),
    (S3Store, "compare_and_set"),
    (S3Writer, "commit"),
]


@pytest.mark.slow
def test_killed_at_every_write_to_s3(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, with what is sent as steps: what the server has of a commit is taken up."""
    monkeypatch.setattr(Conditions, "check_writes", lambda _: None)

    def commit_there(root: Path, url: str, draft_id: str) -> None:
        with repository_in(root, S3Store(url)) as repository:
            fs = mount(open_draft(root / "state", draft_id, repository))
            trio.run(fs.tree.commit)
            trio.run(fs.tree.close)

    def attempt(fatal: int | None) -> tuple[int, int]:
        """Steps, and versions after the death."""
        root, url = tmp_path / f"{fatal}", f"s3://{BUCKET}/{secrets.token_hex(8)}"
        store = S3Store(url)
        draft_id, tree = make_draft(root, store)
        action = functools.partial(commit_there, root, url, draft_id)
        steps = die_at(fatal, None, action, WRITES)
        with repository_in(root, S3Store(url)) as repository:
            before = len(repository.catalog.versions(KEY))
            fs = mount(open_draft(root / "state", draft_id, repository))
            assert trio.run(goes_on, fs, repository, tree, False) == 2, f"killed at {fatal}"
            trio.run(fs.tree.close)
        check_rest(root, draft_id)
        shutil.rmtree(root)
        return steps, before

    steps, _ = attempt(None)
    outcomes = {attempt(fatal)[1] for fatal in range(1, steps + 1)}
    assert outcomes == {1, 2}, "the commit point lies within the steps"


@pytest.mark.expect_errors
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_every_store_call_fails_once(tmp_path: Path, after: bool) -> None:
    """The mount goes on, and the next commit makes the version, or finds it."""

    def attempt(root: Path, method: str, nth: int) -> Counter[str]:
        store = FaultyStore(MemoryStore())
        draft_id, tree = make_draft(root, store)
        with repository_in(root, store) as repository:
            fs = mount(open_draft(root / "state", draft_id, repository))
            store.calls.clear()
            if nth:
                store.fail(method, nth, Unreachable("store", "does not answer"), after)
            with contextlib.suppress(ArtfsError):
                trio.run(fs.tree.commit)
            calls = Counter(store.calls)
            store.verify_all_hit()
            assert trio.run(goes_on, fs, repository, tree, False) == 2
            trio.run(fs.tree.close)
        check_rest(root, draft_id)
        return calls

    calls = attempt(tmp_path / "dry", "", 0)
    for method in sorted(calls):
        if "close" in method or (after and method not in CHANGES):
            continue
        for nth in range(1, calls[method] + 1):
            attempt(tmp_path / f"{method}{nth}", method, nth)
