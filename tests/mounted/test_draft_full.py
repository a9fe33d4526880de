"""Disks that are full: what a draft is told, what it keeps, and that it goes on with room again."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import MIB, filled, small_disk, taken
from tests.support.mounts import artfs, mounted, wait_for
from tests.support.twin import Twin, check_version, here, put
from tests.support.writers import held
from tests.support.writing import Writer, nearest, wait_until_written, writing

pytestmark = [pytest.mark.fuse, pytest.mark.slow]


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds; the store is there."""
    path = tmp_path / "base"
    path.mkdir()
    (path / "a").write_text("a of the base\n")
    put(path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as path:
        yield path


@pytest.fixture
def env(small: Path) -> dict[str, str]:
    """Drafts lie on the small disk, the store does not."""
    return {"XDG_STATE_HOME": str(small)}


def make_files(root: Path, name: str, count: int) -> None:
    (root / name).mkdir()
    for n in range(count):
        (root / name / f"{n}").write_text(f"{name} {n}\n")


def test_deleting_many_files_works_while_the_disk_is_full(
    base: Path, small: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """That is what people do then; the draft has to note each of the deletions."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, env=env) as mount:
        for root in (at, base):
            make_files(root, "kept", 10)
        make_files(at, "many", 3000)
        with filled(small):
            shutil.rmtree(at / "many")
            Twin(mount, base).compare()
        make_files(at, "again", 10)
        make_files(base, "again", 10)
        Twin(mount, base).compare()
        assert mount.umount().stdout == "data:v1\n"
    check_version("data:v1", base)


def test_deleting_many_files_while_another_program_takes_whatever_comes_free(
    base: Path, small: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """Some are deleted, then there may be no room to note one more; nothing else goes wrong."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        make_files(at, "many", 3000)
        with taken(small):
            left = {path.name for path in (at / "many").iterdir()}
            with contextlib.suppress(OSError):
                for name in sorted(left):
                    (at / "many" / name).unlink()
                    left.remove(name)
            assert len(left) <= 2950
            assert {path.name for path in (at / "many").iterdir()} == left
        shutil.rmtree(at / "many")
        Twin(mount, base).compare()
        assert mount.umount().stdout == "data:v0 (unchanged)\n"


def test_what_was_written_before_the_disk_was_full_can_be_closed(
    base: Path, small: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """Closing a file notes its length; for that there is room, and a kill does not lose it."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        (daemon,) = mount.daemons
        file = os.open(at / "f", os.O_WRONLY | os.O_CREAT, 0o644)
        for n in range(64):
            assert os.write(file, bytes([n]) * 10_000) == 10_000
        with filled(small):
            os.close(file)
            os.kill(daemon, signal.SIGKILL)
            wait_for(lambda: not mount.daemons, what="death of the daemon")
        mount.umount(check=False)
    (draft,) = json.loads(artfs("--json", "drafts", env=env).stdout)
    (base / "f").write_bytes(b"".join(bytes([n]) * 10_000 for n in range(64)))
    with mounted("draft", "--resume", draft["draft"], at=at, env=env) as mount:
        Twin(mount, base).compare()
        assert mount.umount().stdout == "data:v1\n"
    check_version("data:v1", base)


def all_ended(writers: list[Writer], disk: Path) -> bool:
    """They give back about as much as they take, and the draft gives some way: so somebody else
    takes whatever there is, as long as one of them goes on."""
    with contextlib.suppress(OSError), (disk / "more").open("ab", buffering=0) as file:
        while file.write(bytes(64 << 10)):
            pass
    return all(writer.process.poll() is not None for writer in writers)


def test_writers_that_meet_a_full_disk(
    base: Path, small: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """Each is told at the step that finds no room; all steps before it are there."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        (at / "filler").write_bytes(bytes(8 * MIB))
        with writing(at, 1, tmp_path / "notes") as writers:
            wait_until_written(at, writers)  # before: one may find no room for its first step
            with filled(small, left=3 * MIB):
                wait_for(
                    functools.partial(all_ended, writers, small), 60, what="end of the writers"
                )
            for writer in writers:
                assert "No space left on device" in writer.stop()
                done, found = len(writer.ledger.done), held(at / writer.name)
                assert any(n >= done - 1 and m.paths == found for n, _, m, _ in writer.states()), (
                    f"after {done} steps: {nearest(writer, found)}"
                )
        (small / "more").unlink()
        (at / "filler").unlink()
        shutil.copytree(at, tmp_path / "expected")
        assert mount.umount().stdout == "data:v1\n"
    check_version("data:v1", tmp_path / "expected")


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_commit_while_the_drafts_disk_is_full(
    base: Path, small: Path, env: dict[str, str], tmp_path: Path, left: int
) -> None:
    """It fails, in whatever step, or succeeds; with room again it succeeds, once."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at, env=env, expect_errors=True) as mount:
        for root in (at, base):
            make_files(root, "many", 1000)
        with filled(small, left * MIB):
            done = artfs("sync", at, env=env, check=False)
            if done.returncode:
                assert "no space left" in done.stderr.lower()
            Twin(mount, base).compare()
        expected = "unchanged\n" if done.returncode == 0 else "data:v1\n"
        assert artfs("sync", at, env=env).stdout == expected
        Twin(mount, base).compare()
        assert mount.umount().stdout == "data:v1 (unchanged)\n"
    assert len(json.loads(here("--json", "log", "data"))) == 2
    check_version("data:v1", base)
