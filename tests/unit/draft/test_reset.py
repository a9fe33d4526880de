"""A reset of the machine at every step of a commit: what a version has is not undone by the next.

What was not synced may be gone from the draft then, and be in the version that it has become.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from artfs.errors import ArtfsError
from artfs.format.record import VersionRecord
from artfs.vfs.draft import rebasing
from artfs.vfs.draft.state import create_draft, open_draft
from tests.unit.draft.conftest import BASE
from tests.unit.draft.drafts import (
    KEY,
    Fs,
    Node,
    make_version,
    mount,
    repository_in,
    version_tree,
)


class Reset(OSError):
    """The machine has stopped at this step."""


class Machine:
    """What a disk has after a reset, at the worst: of every file what it held when it was last
    synced, under the names that its directory had when that was. It stops before sync `fatal`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: By inode, and held open, so that no number is given again.
        self._files: dict[int, bytes] = {}
        self._held: list[int] = []
        self._names: dict[str, dict[str, int]] = {}
        self.steps = 0
        self.fatal = 0
        for directory, _, names in os.walk(root):
            for name in names:
                with open(f"{directory}/{name}", "rb") as file:
                    self._note(file.fileno(), f"{directory}/{name}")
            self._names[directory] = _listing(directory)

    def sync(self, fd: int) -> None:
        """As fsync(2)."""
        path = os.readlink(f"/proc/self/fd/{fd}")
        if not path.startswith(str(self._root)):
            return
        self.steps += 1
        if 0 < self.fatal <= self.steps:
            raise Reset
        self._note(fd, path)

    def _note(self, fd: int, path: str) -> None:
        if os.path.isdir(path):
            self._names[path] = _listing(path)
            return
        self._held.append(os.dup(fd))
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            self._files[os.fstat(fd).st_ino] = file.read()

    def reset(self) -> None:
        """Leave what is durable."""
        shutil.rmtree(self._root)
        for directory, names in sorted(self._names.items()):
            os.makedirs(directory, exist_ok=True)
            for name, ino in names.items():
                Path(directory, name).write_bytes(self._files.get(ino, b""))
        for fd in self._held:
            os.close(fd)


def _listing(directory: str) -> dict[str, int]:
    with os.scandir(directory) as found:
        return {entry.name: entry.inode() for entry in found if entry.is_file()}


@contextlib.contextmanager
def syncing(machine: Machine) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", machine.sync)
        patch.setattr(os, "fdatasync", machine.sync)
        yield


async def edit(fs: Fs, base: VersionRecord, only_names: bool) -> None:
    """Change this and that, sync some of it, and let others make a version."""
    repository = fs.tree.draft.repository
    await fs.put(b"synced", b"synced")
    handle = await fs.open(b"synced")
    await fs.tree.fsync(handle, False)
    await fs.close(handle)
    if not only_names:
        await fs.put(b"new", b"new")
        await fs.pwrite(b"big", 500_000, b"in the middle")
    await fs.mkdir(b"made")
    await fs.unlink(b"a")
    theirs = dict(BASE) | {b"theirs": Node("f", b"theirs"), b"link": Node("l", b"there", 0o777)}
    make_version(repository, theirs, base=base.version)


def reset_in_a_commit(root: Path, fatal: int, only_names: bool) -> int:
    """Reset the machine before sync `fatal` of a commit, or after it all (0), go on, and check; how
    many there are."""
    with repository_in(root) as repository:
        base = make_version(repository, BASE)
        draft = create_draft(root / "state", repository, KEY, base)
        machine = Machine(draft.path)
        fs = mount(draft)
        with syncing(machine):
            trio.run(edit, fs, base, only_names)
            machine.steps, machine.fatal = 0, fatal
            with contextlib.suppress(ArtfsError):
                trio.run(fs.tree.commit)
            draft.abandon()
            fs.tree._data.close_all()
        steps = machine.steps
        machine.reset()
        before = repository.catalog.latest(KEY)
        fs = mount(open_draft(root / "state", draft.record.id, repository))
        trio.run(fs.put, b"later", b"later")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rebasing, "boot", lambda: "another")
            after = trio.run(fs.tree.commit).version
        assert after is not None
        expected = version_tree(repository, before) | {b"later": Node("f", b"later")}
        expected[b"synced"] = Node("f", b"synced")
        assert version_tree(repository, after) == expected, f"step {fatal}"
        assert trio.run(fs.walk) == expected, f"step {fatal}"
        trio.run(fs.tree.close)
    return steps


@pytest.mark.expect_errors
@pytest.mark.parametrize("only_names", [False, True])
def test_a_reset_at_every_step_of_a_commit_undoes_nothing_of_its_version(
    tmp_path: Path, only_names: bool
) -> None:
    steps = reset_in_a_commit(tmp_path / "after", 0, only_names)
    assert steps > 3
    for fatal in range(1, steps + 1):
        reset_in_a_commit(tmp_path / f"{fatal}", fatal, only_names)
