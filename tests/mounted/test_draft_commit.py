"""When a draft becomes a version, what is said of it, and what keeps it from becoming one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import artfs as api
from tests.support.mounts import Mount, artfs, is_mounted, mounted, wait_for
from tests.support.twin import check_version, here, only_draft, put

pytestmark = pytest.mark.fuse


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds; the store is there."""
    path = tmp_path / "base"
    (path / "dir").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "dir/one", "dir/two"):
        (path / name).write_text(f"{name} of the base\n")
    put(path)
    return path


@pytest.fixture
def mount(base: Path, tmp_path: Path) -> Iterator[Mount]:
    with mounted("draft", "data", at=tmp_path / "mnt") as found:
        yield found


def versions() -> list[str]:
    """The versions of `data`, oldest first."""
    log = json.loads(here("--json", "log", "data"))
    return sorted(record["version"] for record in log)


def changes(mount: Mount) -> list[str]:
    """The lines of `artfs status` between the first and the last, without sizes."""
    lines = artfs("status", mount.path).stdout.splitlines()[1:-1]
    return sorted(line.partition("\t")[0] for line in lines)


# When


def test_sync_commits_and_goes_on(base: Path, mount: Mount) -> None:
    assert artfs("sync", mount.path).stdout == "unchanged\n"
    (mount.path / "new").write_text("new")
    with (mount.path / "a").open("a") as file:
        file.write("one\n")
        file.flush()
        said = json.loads(artfs("--json", "sync", mount.path).stdout)
        assert said == {"artifact": "data", "version": "v1", "changed": True}
        assert changes(mount) == []
        file.write("two\n")  # the file is still open
    assert changes(mount) == ["M a"]
    (mount.path / "dir").rename(mount.path / "moved")
    assert artfs("sync", mount.path, "--description", "third").stdout == "data:v2\n"
    assert artfs("sync", mount.path).stdout == "unchanged\n"
    (mount.path / "new").unlink()
    assert mount.umount().stdout == "data:v3\n"
    assert versions() == ["v0", "v1", "v2", "v3"]
    assert json.loads(here("--json", "show", "data:v2"))["description"] == "third"
    with (base / "a").open("a") as file:
        file.write("one\ntwo\n")
    (base / "dir").rename(base / "moved")
    check_version("data:v3", base)


def test_an_fsync_of_the_root_by_sync_commits(mount: Mount) -> None:
    def fsync_root() -> None:
        fd = os.open(mount.path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    (mount.path / "a").write_text("1")
    fsync_root()
    subprocess.run(["sync", "-f", mount.path], check=True)
    subprocess.run(["sync", mount.path / "a"], check=True)
    assert versions() == ["v0"]
    subprocess.run(["sync", mount.path], check=True)
    assert versions() == ["v0", "v1"]
    subprocess.run(["sync", mount.path], check=True)
    assert versions() == ["v0", "v1"]
    (mount.path / "a").write_text("2")
    mount.umount()
    assert versions() == ["v0", "v1", "v2"]


@pytest.mark.parametrize("command", [["fusermount3", "-u"], ["umount"]], ids=lambda c: c[0])
def test_a_plain_unmount_commits_in_the_background(mount: Mount, command: list[str]) -> None:
    if command == ["umount"] and os.geteuid() != 0:
        pytest.skip("only root may use umount")
    (mount.path / "a").write_text("edited")
    subprocess.run([*command, mount.path], check=True)
    wait_for(lambda: not mount.daemons, what="end of the daemon")
    assert (only_draft()["state"], only_draft()["base"]) == ("committed", "v1")
    assert here("cat", "data:v1", "a") == "edited"


def test_commit_on_sync(base: Path, tmp_path: Path) -> None:
    with mounted("draft", "data", "--commit-on", "sync", at=tmp_path / "mnt") as mount:
        (mount.path / "a").write_text("1")
        assert "kept" in mount.umount().stdout
        assert versions() == ["v0"]
    with mounted(
        "draft", "--resume", only_draft()["draft"], "--commit-on", "sync", at=tmp_path / "mnt"
    ) as mount:
        assert (mount.path / "a").read_text() == "1"
        subprocess.run(["fusermount3", "-u", mount.path], check=True)
        wait_for(lambda: not mount.daemons, what="end of the daemon")
        assert versions() == ["v0"]
    assert only_draft()["state"] == "kept"
    with mounted(
        "draft", "--resume", only_draft()["draft"], "--commit-on", "sync", at=tmp_path / "mnt"
    ) as mount:
        subprocess.run(["sync", mount.path], check=True)
        assert versions() == ["v0", "v1"]
        mount.umount("--discard")
    assert json.loads(here("--json", "drafts")) == []


def test_commit_on_unmount(base: Path, tmp_path: Path) -> None:
    with mounted("draft", "data", "--commit-on", "unmount", at=tmp_path / "mnt") as mount:
        (mount.path / "a").write_text("1")
        subprocess.run(["sync", mount.path], check=True)
        assert versions() == ["v0"]
        assert mount.umount().stdout == "data:v1\n"


def test_keep_and_discard(base: Path, tmp_path: Path) -> None:
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        (mount.path / "a").write_text("kept")
        draft = only_draft()
        assert draft["state"] == "mounted"
        said = json.loads(artfs("--json", "umount", "--keep", mount.path).stdout)
        assert said == {"draft": draft["draft"], "kept": True}
    assert only_draft()["state"] == "kept"
    with mounted("draft", "--resume", draft["draft"], at=tmp_path / "mnt") as mount:
        assert (mount.path / "a").read_text() == "kept"
        assert mount.umount("--discard").stdout == "discarded\n"
    assert json.loads(here("--json", "drafts")) == []
    assert versions() == ["v0"]
    gone = artfs("draft", "--resume", draft["draft"], tmp_path / "mnt", check=False)
    assert (gone.returncode, gone.stderr.count("artfs:")) == (3, 1)


@pytest.mark.parametrize("option", ["--discard", "--keep", "--on-conflict=ours"])
def test_how_a_draft_is_to_end_is_said_of_the_unmount_that_is_asked_for(
    base: Path, tmp_path: Path, option: str
) -> None:
    """And not of a later one, where that was refused: people go on to work in the draft."""
    with mounted("draft", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        with (mount.path / "a").open("a"):
            refused = artfs("umount", option, mount.path, check=False)
        assert (refused.returncode, is_mounted(mount.path)) == (4, True)
        (mount.path / "b").write_text("written since")
        (base / "b").write_text("by another")
        put(base)
        subprocess.run(["fusermount3", "-u", mount.path], check=True)
        wait_for(lambda: not mount.daemons, what="end of the daemon")
    draft = only_draft()
    assert draft["state"] == "kept"  # as there is a conflict
    assert "changed on both sides: b" in draft["error"]
    with mounted("draft", "--resume", draft["draft"], at=tmp_path / "mnt") as mount:
        assert (mount.path / "b").read_text() == "written since"
        assert mount.umount("--discard").stdout == "discarded\n"


def test_what_is_no_change_makes_no_version(base: Path, mount: Mount) -> None:
    (mount.path / "a").touch()
    (mount.path / "b").chmod(0o600)
    os.chown(mount.path / "c", os.geteuid(), os.getegid())
    text = (mount.path / "c").read_text()
    (mount.path / "c").write_text(text)  # the same again
    (mount.path / "d").rename(mount.path / "e")
    (mount.path / "e").rename(mount.path / "d")
    (mount.path / "new").touch()
    (mount.path / "new").unlink()
    (mount.path / "dir").rename(mount.path / "elsewhere")
    (mount.path / "elsewhere").rename(mount.path / "dir")
    assert artfs("sync", mount.path).stdout == "unchanged\n"
    assert mount.umount().stdout == "data:v0 (unchanged)\n"
    assert versions() == ["v0"]
    assert only_draft()["state"] == "unchanged"


def test_an_execute_bit_makes_one(mount: Mount) -> None:
    (mount.path / "a").chmod(0o744)
    assert changes(mount) == ["M a"]
    assert mount.umount().stdout == "data:v1\n"


def test_a_read_only_mount_shows_the_version_at_once(mount: Mount, tmp_path: Path) -> None:
    with mounted("mount", at=tmp_path / "all") as whole:
        (mount.path / "a").write_text("edited")
        artfs("sync", mount.path)
        wait_for(lambda: (whole.path / "data" / "v1").is_dir(), what="v1 in the mount")
        wait_for(lambda: os.readlink(whole.path / "data" / "latest") == "v1", what="latest -> v1")
        assert (whole.path / "data" / "v1" / "a").read_text() == "edited"
        assert (whole.path / "data" / "v0" / "a").read_text() == "a of the base\n"


def test_a_draft_over_nothing(home: Path, tmp_path: Path) -> None:
    here("init")
    options = ["--new", "--type", "model", "--description", "the first"]
    with mounted("draft", *options, "net", at=tmp_path / "mnt") as mount:
        assert artfs("sync", mount.path).stdout == "unchanged\n"
        (mount.path / "weights").write_text("1 2 3")
        assert mount.umount().stdout == "net:v0\n"
    shown = json.loads(here("--json", "show", "net"))
    assert (shown["type"], shown["description"]) == ("model", "the first")
    with mounted("draft", "--new", "net", at=tmp_path / "mnt") as mount:
        assert os.listdir(mount.path) == []
        (mount.path / "other").write_text("4")
        assert mount.umount().stdout == "net:v1\n"
    assert here("ls", "net:v1").split() == ["other"]
    refused = artfs("draft", "--new", "--type", "dataset", "net", tmp_path / "mnt", check=False)
    assert refused.returncode in (2, 4)
    assert not is_mounted(tmp_path / "mnt")
    with mounted("draft", "--new", "--type", "t", "nothing", at=tmp_path / "mnt") as mount:
        assert mount.umount().stdout == "unchanged\n"


# What is said


def test_status(mount: Mount) -> None:
    root = mount.path
    first = artfs("status", root).stdout.splitlines()
    assert first[0].endswith("of data over v0")
    assert len(first) == 2
    (root / "new").write_text("12345")
    (root / "newdir").mkdir()
    (root / "newdir" / "x").touch()
    with (root / "a").open("a") as file:
        file.write("more")
    (root / "b").unlink()
    (root / "c").rename(root / "dir" / "renamed")
    expected = ["A new", "A newdir/", "A newdir/x", "D b", "M a", "R c -> dir/renamed"]
    assert changes(mount) == expected
    found = json.loads(artfs("--json", "status", root).stdout)
    sizes = {change["path"]: change["size"] for change in found["changes"]}
    assert (sizes["new"], sizes["a"], found["bytes"]) == (5, 4, 9)
    # The whole directory goes elsewhere, and something in it is changed too.
    (root / "dir").rename(root / "moved")
    (root / "moved" / "one").write_text("else")
    (root / "newdir" / "x").unlink()
    (root / "newdir").rmdir()
    assert changes(mount) == [
        "A new", "D b", "M a", "M moved/one", "R c -> moved/renamed", "R dir/ -> moved/",
    ]  # fmt: skip
    mount.umount()
    compared = sorted(here("diff", "data:v0", "data:v1").splitlines())
    assert {"A new", "D b", "M a"} <= set(compared)


def test_diff_of_a_draft(mount: Mount) -> None:
    (mount.path / "a").write_text("another text\n")
    (mount.path / "b").unlink()
    (mount.path / "new").write_text("new text\n")
    (mount.path / "binary").write_bytes(b"\0\1")
    lines = artfs("diff", mount.path).stdout.splitlines()
    assert [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-a of the base", "+another text", "-b of the base", "+new text",
    ]  # fmt: skip
    assert any(line.startswith("A binary") for line in lines)


# What keeps it


def test_one_draft_has_one_writer(mount: Mount, tmp_path: Path) -> None:
    draft = only_draft()["draft"]
    second = tmp_path / "second"
    second.mkdir()
    refused = artfs("draft", "--resume", draft, second, check=False)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.splitlines()[0] == f"artfs: draft {draft}: is mounted already"
    assert not is_mounted(second)
    assert artfs("drafts", "--discard", draft, check=False).returncode == 4
    (mount.path / "a").write_text("goes on")
    assert mount.umount().stdout == "data:v1\n"
    ended = artfs("draft", "--resume", draft, second, check=False)
    assert (ended.returncode, is_mounted(second)) == (3, False)


def test_two_drafts_of_one_artifact(base: Path, tmp_path: Path) -> None:
    """They are apart; the second to commit is refused, as both changed one path."""
    with (
        mounted("draft", "data", at=tmp_path / "mnt", expect_errors=True) as mount,
        mounted("draft", "data", at=tmp_path / "second", expect_errors=True) as second,
    ):
        (mount.path / "a").write_text("mine")
        (second.path / "a").write_text("yours")
        assert (mount.path / "a").read_text() == "mine"
        assert artfs("sync", mount.path).stdout == "data:v1\n"
        assert "data has moved on to v1" in artfs("status", second.path).stdout
        for command in ("sync", "umount"):
            refused = artfs(command, second.path, check=False)
            assert (refused.returncode, refused.stdout) == (4, "")
            assert refused.stderr.startswith("artfs: ")
        assert is_mounted(second.path)  # not unmounted: the draft can be seen to
        assert (second.path / "a").read_text() == "yours"
        failed = next(d for d in json.loads(here("--json", "drafts")) if d["error"])
        assert "data" in failed["error"]
        assert failed["error"] in artfs("drafts").stdout
        assert failed["error"] in artfs("status", second.path).stdout
        subprocess.run(["fusermount3", "-u", second.path], check=True)
        wait_for(lambda: not second.daemons, what="end of the daemon")
    kept = next(d for d in json.loads(here("--json", "drafts")) if d["error"])
    assert (kept["draft"], kept["state"]) == (failed["draft"], "kept")
    with mounted("draft", "--resume", kept["draft"], at=tmp_path / "second") as second:
        assert (second.path / "a").read_text() == "yours"
        second.umount("--discard")
    assert versions() == ["v0", "v1"]


def test_sync_of_the_root_fails_where_the_commit_does(base: Path, tmp_path: Path) -> None:
    with mounted("draft", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        (base / "a").write_text("by another")
        here("put", "data", base)
        (mount.path / "a").write_text("mine")
        done = subprocess.run(["sync", mount.path], capture_output=True, check=False)
        assert done.returncode != 0
        assert only_draft()["error"]
        mount.umount("--discard")


def test_commands_for_drafts_refuse_other_mounts(base: Path, tmp_path: Path) -> None:
    with mounted("mount", "data", at=tmp_path / "mnt") as mount:
        for command in (["sync"], ["status"], ["diff"], ["umount", "--discard"]):
            refused = artfs(*command, mount.path, check=False)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert refused.stderr.count("\n") <= 2
        assert is_mounted(mount.path)
    for command in (["sync"], ["status"], ["umount"]):
        assert artfs(*command, base, check=False).returncode == 3


def test_a_draft_over_a_link_is_one_of_what_it_links_to(base: Path, tmp_path: Path) -> None:
    here("link", "data:v0", "pets:top")
    artifact = api.Api().artifact("data:v0")
    artifact.metadata["labelled"] = "later"
    artifact.save()
    with mounted("draft", "pets:top", at=tmp_path / "mnt") as mount:
        (mount.path / "new").write_text("new")
        said = json.loads(artfs("--json", "sync", mount.path).stdout)
        assert said == {"artifact": "data", "version": "v1", "changed": True}
    assert json.loads(here("--json", "show", "data:v1"))["metadata"] == {"labelled": "later"}
    refused = artfs("draft", "--new", "pets", tmp_path / "mnt", check=False)
    assert refused.returncode == 4
    assert "is a portfolio, which holds links and no versions of its own" in refused.stderr
