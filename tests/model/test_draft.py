"""Random operations on a draft and on plain Python objects; whole trees compared after each.

Commits happen in the middle, with operations at each moment at which the real event loop could run
some; so do kills. A version must hold the tree of the instant at which its commit began, with the
digest of that tree stored from nothing.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from artfs.errors import Unreachable
from artfs.vfs.draft import commit as commits
from artfs.vfs.draft import rebasing
from artfs.vfs.draft.state import create_draft
from artfs.vfs.errors import FileSystemError, NoEntry, NotADirectory
from tests.model.reference import File, Reference
from tests.unit.draft.drafts import (
    KEY,
    Listing,
    Node,
    digest_of,
    killed,
    lose,
    make_version,
    mount,
    repository_in,
    version_tree,
)

T = TypeVar("T")

NAMES = [b"a", b"b", b"c\xff", b"d"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
# Mostly a path that is there, by its place among those that the operation is for.
present = st.one_of(st.integers(0, 11), st.integers(0, 11), st.integers(0, 11), paths)
offsets = st.one_of(
    st.integers(0, 300), st.integers(0, 200_000), st.sampled_from([16384, 65536, 99_999, 100_000])
)
lengths = st.one_of(st.integers(1, 200), st.integers(1, 70_000))
modes = st.sampled_from([0o644, 0o755, 0o600, 0o4755])
writes = st.tuples(st.just("write"), present, offsets, lengths)
truncates = st.tuples(st.just("truncate"), present, st.one_of(st.just(0), offsets))

operations = st.one_of(
    writes,
    writes,
    truncates,
    truncates,
    st.tuples(st.just("create"), paths, modes),
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("symlink"), st.sampled_from([b"x", b"../y"]), paths),
    st.tuples(st.just("mknod"), paths),
    st.tuples(st.just("link"), present, paths),
    st.tuples(st.just("unlink"), present),
    st.tuples(st.just("rmdir"), present),
    st.tuples(st.just("rename"), present, paths, st.sampled_from([0, 0, 0, 1, 2])),
    st.tuples(st.just("rename"), present, present, st.sampled_from([0, 0, 0, 1, 2])),
    st.tuples(st.just("chmod"), present, modes),
)
#: What an operation is for, where not everything.
KINDS = {"write": "f", "truncate": "f", "chmod": "f", "link": "fl", "unlink": "flp", "rmdir": "d"}
few = st.lists(operations, max_size=3)
Operation = tuple[Any, ...]


def noise(size: int, seed: object) -> bytes:
    return random.Random(str(seed)).randbytes(size)


BASE: Listing = {
    b"a": Node("f", noise(100_000, 1)),
    b"b": Node("d", mode=0o755),
    b"b/a": Node("f", b"small", 0o755),
    b"b/b": Node("d", mode=0o755),
    b"b/b/a": Node("f", noise(300_000, 2)),
    b"b/b/b": Node("f", b""),
    b"b/c\xff": Node("l", b"../a", 0o777),
    b"d": Node("d", mode=0o755),
}


class DraftMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="artfs-model-")
        self.path = Path(self.directory.name)
        self.repository = repository_in(self.path)
        self.count = 0
        self.unsure = False

    @initialize(over_base=st.booleans())
    def begin(self, over_base: bool) -> None:
        base = make_version(self.repository, BASE) if over_base else None
        self.fs = mount(create_draft(self.path, self.repository, KEY, base))
        self.model = Reference(BASE if over_base else {})

    def teardown(self) -> None:
        if hasattr(self, "fs"):
            trio.run(self.fs.tree.close)
        self.repository.close()
        self.directory.cleanup()

    async def apply(self, operation: Operation) -> None:
        """Do it on both sides, which must agree on whether it can be done."""
        kind, *args = operation
        paths = 2 if kind == "rename" else 1
        args[:paths] = [self.place(kind, arg) for arg in args[:paths]]
        if kind == "rename" and is_below(args[0], args[1]):
            return  # the kernel refuses it
        if kind == "write":
            self.count += 1
            args[2] = noise(args[2], self.count)
        if kind in ("write", "truncate", "chmod") and not self.fits(args[0]):
            return
        expected = outcome(lambda: getattr(self.model, kind)(*args))
        if kind == "mknod":
            args.append(0o10644)
        calls: dict[str, Any] = {"create": self.make, "write": self.fs.pwrite}
        call = calls.get(kind) or getattr(self.fs, kind)
        found = await outcome_of(lambda: call(*args))
        if kind in ("link", "rename") and {found, expected} <= {NoEntry, NotADirectory}:
            return  # two paths: which is looked at first is the kernel's choice
        assert found == expected, operation

    async def make(self, path: bytes, mode: int) -> None:
        await self.fs.close(await self.fs.create(path, mode))

    def fits(self, path: bytes) -> bool:
        """Whether it is a file."""
        try:
            return isinstance(self.model.get(path), File)
        except FileSystemError:
            return False

    def place(self, kind: str, arg: Any) -> Any:  # noqa: ANN401  # whatever an operation takes
        """The path that a number stands for."""
        if not isinstance(arg, int) or kind not in (*KINDS, "rename"):
            return arg
        kinds = KINDS.get(kind, "fdlp")
        there = sorted(p for p, node in self.model.listing().items() if node.kind in kinds)
        return there[arg % len(there)] if there else b"none"

    @rule(operation=operations)
    def operate(self, operation: Operation) -> None:
        trio.run(self.apply, operation)

    @rule()
    def kill(self) -> None:
        self.fs = killed(self.fs, self.path)

    @rule(building=few, recording=few, taking_over=few, lost=st.booleans())
    def commit(
        self, building: list[Operation], recording: list[Operation],
        taking_over: list[Operation], lost: bool,
    ) -> None:  # fmt: skip
        before = self.model.listing(specials=False)
        with pytest.MonkeyPatch.context() as patch:
            self.interleave(patch, building, recording, taking_over, lost)
            try:
                result = trio.run(self.fs.tree.commit)
            except Unreachable:
                assert lost
                # The next commit may find this one's version and that its digest is right, though
                # a mode that is not part of it has changed.
                self.unsure = True
                return
        digest = digest_of(before, self.repository)
        if result.version is None:
            assert not before
            return
        record = self.repository.catalog.version(KEY, result.version)
        assert record.digest == digest.hex()
        held = version_tree(self.repository, result.version)
        assert_same(contents(held), contents(before))
        if result.changed and not self.unsure:
            assert_same(held, before)
        self.unsure = False

    def interleave(
        self, patch: pytest.MonkeyPatch, building: list[Operation], recording: list[Operation],
        taking_over: list[Operation], lost: bool,
    ) -> None:  # fmt: skip
        """Run operations when the event loop could: before and after the thread's work, and at
        each pause in taking over; or lose the store's answer."""
        waiting = list(taking_over)

        async def in_thread(fn: Callable[..., T], *args: object) -> T:
            if getattr(fn, "__name__", "") != "_store":
                return fn(*args)
            for operation in building:
                await self.apply(operation)
            done = fn(*args)
            for operation in recording:
                await self.apply(operation)
            return done

        async def pause(steps: commits._Steps) -> None:
            if waiting:
                steps._finish()
                await self.apply(waiting.pop())

        patch.setattr(commits, "in_thread", in_thread)
        patch.setattr(commits._Steps, "pause", pause)
        patch.setattr(commits, "_ROWS", 2)
        if lost:
            patch.setattr(rebasing, "commit_version", lose)

    @precondition(lambda self: hasattr(self, "fs"))
    @invariant()
    def same(self) -> None:
        assert_same(trio.run(self.fs.walk), self.model.listing())


def is_below(old: bytes, new: bytes) -> bool:
    return new.startswith(old + b"/") or old.startswith(new + b"/")


def contents(tree: Listing) -> Listing:
    """What the digest says of a tree."""
    return {
        path: Node(node.kind, node.data, node.mode & 0o100 if node.kind == "f" else 0)
        for path, node in tree.items()
    }


def assert_same(found: Listing, expected: Listing) -> None:
    """As `==`, with a failure that can be read."""
    assert sorted(found) == sorted(expected)
    for path, node in found.items():
        other = expected[path]
        assert (node.kind, node.mode, len(node.data)) == (other.kind, other.mode, len(other.data))
        if node.data != other.data:
            pairs = enumerate(zip(node.data, other.data, strict=True))
            at = next(i for i, (a, b) in pairs if a != b)
            pytest.fail(f"{path!r} differs at {at}")


def outcome(call: Callable[[], object]) -> type | None:
    try:
        call()
    except FileSystemError as error:
        return type(error)
    return None


async def outcome_of(call: Callable[[], Awaitable[object]]) -> type | None:
    try:
        await call()
    except FileSystemError as error:
        return type(error)
    return None


@pytest.mark.slow
@pytest.mark.expect_errors  # commits that fail are logged
class TestDraft(DraftMachine.TestCase):  # type: ignore[valid-type, misc]  # made at run time
    # scripts/model does as many as one likes.
    settings = settings(max_examples=60, stateful_step_count=30)
