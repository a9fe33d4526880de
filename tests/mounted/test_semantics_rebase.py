"""What artfs-semantics(7) says of artifacts that move on, sentence by sentence."""

from __future__ import annotations

import mmap
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artfs.fuse.mounted import call
from tests.support.mounts import Mount, artfs, mounted, wait_for
from tests.support.twin import here, put

pytestmark = pytest.mark.fuse


@pytest.fixture
def pair(home: Path, tmp_path: Path) -> Iterator[tuple[Mount, Mount]]:
    """Two drafts of `data:v0`, by two machines: each has a state directory of its own."""
    base = tmp_path / "base"
    (base / "dir/sub").mkdir(parents=True)
    for name in ("a", "b", "dir/one", "dir/two", "dir/sub/three"):
        (base / name).write_text(f"{name} of the base\n")
    put(base)
    one, two = ({"XDG_STATE_HOME": str(tmp_path / name)} for name in ("state1", "state2"))
    with (
        mounted("draft", "data", at=tmp_path / "one", env=one, expect_errors=True) as first,
        mounted("draft", "data", at=tmp_path / "two", env=two, expect_errors=True) as second,
    ):
        yield first, second


def run(mount: Mount, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    return artfs(command, mount.path, *options, env=mount.env, check=False)


def tree(path: Path) -> dict[str, str]:
    """Every path and a file's text."""
    found = {}
    for directory, folders, files in os.walk(path):
        for name in folders:
            found[os.path.relpath(os.path.join(directory, name), path)] = "/"
        for name in files:
            file = os.path.join(directory, name)
            found[os.path.relpath(file, path)] = Path(file).read_text()
    return found


def test_changes_of_others_come_with_the_commit(pair: tuple[Mount, Mount], tmp_path: Path) -> None:
    """If others have made versions since the base, the draft's changes are put on the newest one,
    and what they changed then shows in the mount; a file that is open goes on as the same file,
    with their content."""
    one, two = pair
    before = tree(two.path)  # the kernel has seen all of it
    (one.path / "a").write_text("changed by one\n")
    (one.path / "dir/sub/three").unlink()
    (one.path / "dir/sub").rmdir()
    (one.path / "dir/new").mkdir()
    (one.path / "dir/new/file").write_text("new\n")
    (one.path / "b").unlink()
    (one.path / "b").mkdir()
    assert run(one, "sync").stdout == "data:v1\n"
    assert tree(two.path) == before
    (two.path / "dir/one").write_text("changed by two\n")
    with (two.path / "a").open("r+") as open_file, open(two.path / "dir/two") as other:
        done = run(two, "sync")
        assert done.stdout == "data:v2\n"
        assert "put on v1, which others had made meanwhile" in done.stderr
        assert open_file.read() == "changed by one\n"
        open_file.write("and by two\n")
        assert other.read() == "dir/two of the base\n"
    wanted = {
        "a": "changed by one\nand by two\n", "b": "/", "dir": "/", "dir/new": "/",
        "dir/new/file": "new\n", "dir/one": "changed by two\n", "dir/two": before["dir/two"],
    }  # fmt: skip
    assert tree(two.path) == wanted
    (two.path / "dir/new/file").write_text("edited\n")
    assert run(two, "umount").stdout == "data:v3\n"
    here("get", "data", tmp_path / "out")
    assert tree(tmp_path / "out") == {**wanted, "dir/new/file": "edited\n"}


def test_with_sync_of_the_root(pair: tuple[Mount, Mount]) -> None:
    """If others have made versions since the base, the draft's changes are put on the newest one,
    and what they changed then shows in the mount; a file that is open goes on as the same file,
    with their content."""
    # That program has the root locked while the kernel is to forget names in it.
    one, two = pair
    before = tree(two.path)
    (one.path / "a").unlink()
    (one.path / "new").write_text("new\n")
    (two.path / "b").write_text("changed by two\n")
    for mount in pair:
        subprocess.run(["sync", mount.path], check=True, timeout=60)
    del before["a"]
    assert tree(two.path) == {**before, "b": "changed by two\n", "new": "new\n"}


def test_a_deleted_base(pair: tuple[Mount, Mount], tmp_path: Path) -> None:
    """If the base was deleted and nobody has made a version since, there is nothing to put the
    draft on: the next version has what the draft shows, also of the base."""
    one, two = pair
    (one.path / "new").write_text("new\n")
    assert run(one, "sync").stdout == "data:v1\n"
    here("rm", "data:v1")
    (one.path / "newer").write_text("newer\n")
    shown = tree(one.path)
    done = run(one, "umount", "--on-conflict", "fail")
    assert (done.stdout, done.stderr) == ("data:v2\n", "")
    here("get", "data", tmp_path / "out")
    assert tree(tmp_path / "out") == shown
    assert run(two, "umount").stdout == "data:v0 (unchanged)\n"


def test_paths_are_compared(pair: tuple[Mount, Mount]) -> None:
    """Paths are compared: what only one side changed is as that side has it, and removing a
    directory is removing what is in it."""
    one, two = pair
    (one.path / "dir/one").chmod(0o700)
    (one.path / "dir/new").write_text("new\n")
    (one.path / "b").rename(one.path / "moved")
    assert run(one, "sync").stdout == "data:v1\n"
    for name in ("two", "sub/three"):
        (two.path / "dir" / name).unlink()
    (two.path / "dir/sub").rmdir()
    (two.path / "a").unlink()
    (two.path / "a").symlink_to("dir")
    assert run(two, "sync").stdout == "data:v2\n"
    found = tree(two.path)
    assert found.keys() == {"a", "dir", "dir/one", "dir/new", "moved"}
    assert (two.path / "dir/one").stat().st_mode & 0o777 == 0o700
    assert os.readlink(two.path / "a") == "dir"


def test_a_conflict_and_its_ends(pair: tuple[Mount, Mount], tmp_path: Path) -> None:
    """If both sides changed a path to something different, the commit fails with a conflict that
    names such paths, and the draft is kept; --on-conflict ours has the draft's side of them in the
    version, and --on-conflict fail fails whatever they changed."""
    one, two = pair
    for mount, word in zip(pair, ("one", "two"), strict=True):
        (mount.path / "a").write_text(f"changed by {word}\n")
        (mount.path / word).write_text("new\n")
    assert run(one, "sync").stdout == "data:v1\n"
    assert "data has moved on to v1" in run(two, "status").stdout
    for command in ("sync", "umount"):
        refused = run(two, command)
        assert (refused.returncode, refused.stdout) == (4, "")
        first, hint = refused.stderr.splitlines()
        assert first == "artfs: artifact 'data': changed on both sides: a"
        assert "--on-conflict=ours" in hint
    refused = run(two, "sync", "--on-conflict", "fail")
    assert refused.returncode == 4
    assert "moved on to v1 since v0" in refused.stderr
    assert (two.path / "a").read_text() == "changed by two\n"
    assert not (two.path / "one").exists()
    assert run(two, "umount", "--on-conflict=ours").stdout == "data:v2\n"
    here("get", "data", tmp_path / "out")
    found = tree(tmp_path / "out")
    assert (found["a"], found["one"], found["two"]) == ("changed by two\n", "new\n", "new\n")


def test_conflicts_of_every_kind(pair: tuple[Mount, Mount], tmp_path: Path) -> None:
    """If both sides changed a path to something different, the commit fails with a conflict that
    names such paths, and the draft is kept; --on-conflict ours has the draft's side of them in the
    version, and --on-conflict fail fails whatever they changed."""
    one, two = pair
    (one.path / "a").unlink()
    (one.path / "a").mkdir()  # a file is a directory now
    (one.path / "a/f").write_text("one")
    (one.path / "b").unlink()
    (one.path / "dir/one").rename(one.path / "moved")
    (one.path / "dir/two").write_text("one")
    (one.path / "new").write_text("one")
    (one.path / "dir/sub").rename(one.path / "theirs")
    assert run(one, "sync").stdout == "data:v1\n"
    for name in ("a", "b", "dir/one", "new"):
        (two.path / name).write_text("two")
    (two.path / "dir/two").unlink()
    (two.path / "dir/sub").rename(two.path / "mine")
    kept = tree(two.path)
    for how in ("rebase", "fail"):
        refused = run(two, "sync", "--on-conflict", how)
        assert (refused.returncode, refused.stdout) == (4, "")
        assert ("changed on both sides: a, b, dir/one, dir/two, new\n" in refused.stderr) == (
            how == "rebase"
        )
        assert tree(two.path) == kept
    assert run(two, "sync", "--on-conflict=ours").stdout == "data:v2\n"
    three = "dir/sub/three of the base\n"
    wanted = {
        "a": "two", "b": "two", "new": "two", "dir": "/", "dir/one": "two",
        "moved": "dir/one of the base\n", "mine": "/", "mine/three": three,
        "theirs": "/", "theirs/three": three,
    }  # fmt: skip
    assert tree(two.path) == wanted
    here("get", "data", tmp_path / "out")
    assert tree(tmp_path / "out") == wanted


def during_sync(mount: Mount, act: Callable[[], None]) -> None:
    """Do something while a version is being made, after its instant: when writes go elsewhere."""
    drafts = Path(mount.env["XDG_STATE_HOME"], "artfs/drafts")
    (mount.path / "large").write_bytes(os.urandom(64 << 20))
    before = {path.suffix for path in drafts.glob("*/data/*")}

    def has_begun() -> bool:
        (mount.path / "probe").write_text("1")
        return {path.suffix for path in drafts.glob("*/data/*")} != before

    done: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=lambda: done.append(run(mount, "sync")))
    thread.start()
    try:
        wait_for(has_begun, what="the instant of the version")
        act()
        assert list(drafts.glob("*/commit.sqlite")), "the version was made too soon"
    finally:
        thread.join()
    assert done[0].stdout == "data:v2\n", done[0].stderr


@pytest.mark.parametrize("theirs", ["other content", "nothing", "no directory", "a directory"])
def test_changed_while_the_version_is_made(pair: tuple[Mount, Mount], theirs: str) -> None:
    """A path that others changed, and that is changed in the draft, or stored into through a
    mapping, while the version is being made, stays as the draft has it, and the next commit fails
    with that conflict."""
    one, two = pair
    (one.path / "a").write_text("changed by one\n")
    three = one.path / "dir/sub/three"
    if theirs == "other content":
        three.write_text("three of one, and more\n")
    else:
        three.unlink()
    if theirs == "no directory":
        three.parent.rmdir()
    elif theirs == "a directory":
        three.mkdir()
    assert run(one, "sync").stdout == "data:v1\n"
    with (
        (two.path / "dir/sub/three").open("r+b") as file,
        mmap.mmap(file.fileno(), 0) as memory,
    ):
        assert memory[:4] == b"dir/"

        def act() -> None:
            memory[:4] = b"mine"
            (two.path / "a").write_text("changed by two\n")

        during_sync(two, act)
        memory.flush()
        assert (two.path / "a").read_text() == "changed by two\n"
        assert (two.path / "dir/sub/three").read_text() == "minesub/three of the base\n"
        refused = run(two, "sync")
        assert refused.returncode == 4
        path = "dir/sub" if theirs == "no directory" else "dir/sub/three"
        assert f"changed on both sides: a, {path}\n" in refused.stderr
    run(two, "umount", "--keep")


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
@pytest.mark.parametrize("theirs", ["", "1\n", "longer than what it was\n" * 300])
def test_appending_to_what_others_changed(
    pair: tuple[Mount, Mount], flags: int, theirs: str
) -> None:
    """If others have made versions since the base, the draft's changes are put on the newest one,
    and what they changed then shows in the mount; a file that is open goes on as the same file,
    with their content."""
    one, two = pair
    (one.path / "a").write_text(theirs)
    assert run(one, "sync").stdout == "data:v1\n"
    fd = os.open(two.path / "a", flags | os.O_APPEND)
    try:
        os.fstat(fd)
        (two.path / "b").write_text("changed by two\n")
        assert run(two, "sync").stdout == "data:v2\n"
        for word in (b"and ", b"by ", b"two\n"):
            os.write(fd, word)
    finally:
        os.close(fd)
    assert (two.path / "a").read_text() == theirs + "and by two\n"


@pytest.mark.slow
def test_a_hundred_commits_each_at_once_lose_nothing(
    pair: tuple[Mount, Mount], tmp_path: Path
) -> None:
    """Drafts that change different paths lose nothing, however many are committed at once."""
    count = 100
    failures: list[BaseException] = []

    def work(mount: Mount, word: str) -> None:
        state = Path(mount.env["XDG_STATE_HOME"], "artfs")
        try:
            for number in range(count):
                (mount.path / f"{word}{number}").write_text(f"{word} {number}\n")
                (mount.path / "dir" / word).write_text(f"{number}\n")
                answer = call(state, mount.path, {"do": "sync"}, 60.0)
                assert answer["changed"]
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(mount, word))
        for mount, word in zip(pair, ("one", "two"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    here("get", "data", tmp_path / "out")
    found = tree(tmp_path / "out")
    for word in ("one", "two"):
        assert found[f"dir/{word}"] == f"{count - 1}\n"
        for number in range(count):
            assert found[f"{word}{number}"] == f"{word} {number}\n"
    lines = here("log", "data").splitlines()
    assert len(lines) == 2 * count + 1
