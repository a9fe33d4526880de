"""What artfs-semantics(7) says of several users in one draft, compared with a plain directory."""

from __future__ import annotations

import mmap
import os
import random
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from tests.support.twin import Twin, twin

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others"),
]

T = TypeVar("T")


class User(NamedTuple):
    uid: int
    gid: int
    groups: list[int]


ROOT = User(0, 0, [])
ANN = User(65534, 65534, [65533])
BEN = User(65533, 65533, [])
CAT = User(65532, 65534, [])
USERS = [ROOT, ANN, BEN, CAT]

# Neither these nor the umasks below make a set-group-ID bit without the group's execute bit: see
# artfs-semantics(7).
MODES = [0o000, 0o644, 0o666, 0o700, 0o755, 0o777, 0o1777, 0o2755, 0o2777, 0o3777, 0o4711, 0o6755]
DIRECTORIES = [".", "sticky", "shared", "shared/deeper", "mine"]
NAMES = ["one", "two", "three", "link"]


@pytest.fixture
def pair(home: Path, tmp_path: Path) -> Iterator[Twin]:
    """Directories of ANN, BEN and root; the mount's own is everybody's."""
    base = tmp_path / "base"
    for name in DIRECTORIES[1:]:
        (base / name).mkdir(parents=True)
        (base / name / "one").write_text("of the base")
    with twin(base, "--allow-other", at=tmp_path / "mnt") as found:
        for name, user, mode in (
            (".", ROOT, 0o777), ("sticky", ROOT, 0o1777), ("shared", BEN, 0o2777),
            ("mine", ANN, 0o755), ("mine/one", ANN, 0o644), ("sticky/one", ANN, 0o666),
        ):  # fmt: skip
            found.both(partial(give, name, user, mode))
        yield found


def give(name: str, user: User, mode: int, root: Path) -> None:
    os.chown(root / name, user.uid, user.gid)
    os.chmod(root / name, mode)


def acting(user: User, root: Path, action: Callable[[], T]) -> T:
    """Do something as a user, in `root`: only root can get there by its path."""
    before = os.getcwd()
    os.chdir(root)
    os.setgroups(user.groups)
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        return action()
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])
        os.chdir(before)


def both(pair: Twin, user: User, action: Callable[[], T]) -> T:
    return pair.both(lambda root: acting(user, root, action))


def owners(root: Path) -> dict[str, tuple[str, int, int]]:
    found = {}
    for path in [root, *root.rglob("*")]:
        about = path.lstat()
        found[str(path.relative_to(root))] = (oct(about.st_mode), about.st_uid, about.st_gid)
    return found


def with_file(path: str, flags: int, action: Callable[[int], object] = bool) -> None:
    fd = os.open(path, flags, 0o666)
    try:
        action(fd)
    finally:
        os.close(fd)


def write_mapped(fd: int) -> None:
    if os.fstat(fd).st_size:
        with mmap.mmap(fd, 0) as mapped:
            mapped[0] = 65


def edits(path: str, other: str, choose: random.Random) -> list[Callable[[], object]]:
    """What somebody may try to do, to be chosen from."""
    mode, size = choose.choice(MODES), choose.choice([0, 1, 5000])
    ids = [-1, *(user.uid for user in USERS)]
    uid, gid, follow = choose.choice(ids), choose.choice(ids), choose.random() < 0.5
    new = os.O_CREAT | os.O_WRONLY
    return [
        lambda: os.mkdir(path, mode),
        lambda: os.close(os.open(path, new | os.O_EXCL, mode)),
        lambda: os.mknod(path, stat.S_IFREG | mode),
        lambda: with_file(path, new, lambda fd: os.write(fd, b"x" * size)),
        lambda: with_file(path, os.O_WRONLY | os.O_TRUNC),
        lambda: with_file(path, os.O_WRONLY, lambda fd: os.ftruncate(fd, size)),
        lambda: with_file(path, os.O_WRONLY, lambda fd: os.fchown(fd, uid, gid)),
        lambda: with_file(path, os.O_RDWR, write_mapped),
        lambda: os.truncate(path, size),
        lambda: os.symlink(other, path),
        lambda: os.link(other, path, follow_symlinks=False),
        lambda: os.rename(path, other),
        lambda: os.unlink(path),
        lambda: os.rmdir(path),
        lambda: os.chmod(path, mode),
        lambda: os.chmod(path, mode),
        lambda: os.chown(path, uid, gid, follow_symlinks=follow),
        lambda: os.chown(path, uid, gid, follow_symlinks=follow),
        lambda: os.utime(path),
        lambda: os.utime(path, (5, 5)),
        lambda: [os.access(path, how, effective_ids=True) for how in range(8)],
        lambda: sorted(os.listdir(os.path.dirname(path))),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_users_may_do_what_they_may_on_a_disk(pair: Twin, seed: int) -> None:
    """With --allow-other every user has the rights that modes and owners give, as on a disk."""
    choose = random.Random(seed)
    paths = [os.path.join(d, n) for d in DIRECTORIES for n in NAMES] + DIRECTORIES[1:]
    done = 0
    umask = os.umask(0)
    try:
        for _ in range(800):
            os.umask(choose.choice([0, 0o002, 0o022, 0o066]))
            user = choose.choice(USERS)
            action = choose.choice(edits(choose.choice(paths), choose.choice(paths), choose))
            try:
                both(pair, user, action)
            except OSError:
                continue
            done += 1
            assert owners(pair.path) == owners(pair.plain)
    finally:
        os.umask(umask)
    assert done > 100


def modes_left(pair: Twin, user: User, action: Callable[[], object]) -> int:
    """The mode that an action of a user leaves of a file of ANN's with mode 6777."""

    def run(root: Path) -> int:
        path = root / "mine/one"
        os.chmod(path, 0o6777)
        acting(user, root, action)
        os.utime(path)  # the answer to this brings what the daemon thinks into the kernel's cache
        return stat.S_IMODE(path.stat().st_mode)

    return pair.both(run)


def append(path: str) -> None:
    with_file(path, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"more"))


@pytest.mark.parametrize(("user", "left"), [(ROOT, 0o6777), (ANN, 0o777), (BEN, 0o777)])
def test_set_id_bits(pair: Twin, user: User, left: int) -> None:
    """Writing to a file, truncating it, or giving it away clears its set-user-ID bit, and its
    set-group-ID bit if its group may execute it, but root keeps them when it writes or
    truncates."""
    path = "mine/one"
    both(pair, ROOT, lambda: os.chmod("mine", 0o777))
    assert modes_left(pair, user, lambda: append(path)) == left
    assert modes_left(pair, user, lambda: os.truncate(path, 3)) == left
    assert modes_left(pair, user, lambda: with_file(path, os.O_WRONLY | os.O_TRUNC)) == left
    append(str(pair.path / path))
    append(str(pair.plain / path))
    assert modes_left(pair, user, lambda: with_file(path, os.O_RDWR, write_mapped)) == 0o6777
    if user != BEN:
        assert modes_left(pair, user, lambda: os.chown(path, -1, -1)) == 0o777


def test_a_set_group_id_bit_without_effect(pair: Twin) -> None:
    """One difference: where somebody outside a file's group writes to it, a set-group-ID bit that
    goes without the group's execute bit, and so has no effect, stays; the kernel leaves it out when
    it tells a FUSE filesystem which bits to clear."""
    left = []
    for root in (pair.path, pair.plain):
        path = root / "mine/one"
        path.parent.chmod(0o777)
        path.chmod(0o2766)
        acting(BEN, root, lambda: append("mine/one"))
        left.append(stat.S_IMODE(path.stat().st_mode))
        path.chmod(0o644)
    assert left == [0o2766, 0o766]
