"""Programs that are hard on a filesystem, at work in a draft. What is not installed is skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import Mount, artfs, mounted
from tests.support.twin import check_version, here, tree

pytestmark = pytest.mark.fuse


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Some directories of files with links among them."""
    path = tmp_path / "source"
    for n in range(5):
        (path / f"dir{n}" / "deeper").mkdir(parents=True)
        for m in range(10):
            (path / f"dir{n}" / "deeper" / f"{m}.txt").write_text(f"{n} {m}\n" * 500)
    (path / "script").write_text("#!/bin/sh\necho ran\n")
    (path / "script").chmod(0o755)
    (path / "link").symlink_to("dir1/deeper")
    (path / "hard").hardlink_to(path / "script")
    moment = 1_600_000_000_123_456_789  # not now: what a program forgets to set is seen
    for found in [*path.rglob("*"), path]:
        os.utime(found, ns=(moment, moment), follow_symlinks=False)
    return path


@pytest.fixture
def mount(home: Path, source: Path, tmp_path: Path) -> Iterator[Mount]:
    """A draft over `data:v0`, which is `source` below `base/`."""
    here("init")
    here("put", "data", source, "--at", "base")
    with mounted("draft", "data", at=tmp_path / "mnt") as found:
        yield found


@pytest.fixture
def as_author(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git knows who commits, and nothing else."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@example.org")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@needs("git")
@pytest.mark.usefixtures("as_author")
def test_git_clone(mount: Mount, source: Path) -> None:
    """Of a repository elsewhere, by hard links where they can be and by copies where not."""
    run("git", "init", "-q", cwd=source)
    run("git", "add", ".", cwd=source)
    run("git", "commit", "-qm", "first", cwd=source)
    run("git", "gc", "-q", cwd=source)
    clone = mount.path / "clone"
    run("git", "clone", "-q", source, clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    run("git", "switch", "-qc", "branch", cwd=clone)
    (clone / "script").write_text("changed")
    (clone / "link").unlink()
    run("git", "commit", "-qam", "second", cwd=clone)
    run("git", "worktree", "add", "-q", mount.path / "tree", "HEAD~1", cwd=clone)
    run("git", "rebase", "-q", "--force-rebase", "HEAD~1", cwd=clone)
    run("git", "gc", "-q", "--aggressive", "--prune=now", cwd=clone)
    run("git", "fsck", "--full", "--strict", cwd=clone)
    run("git", "push", "-q", "origin", "branch", cwd=clone)
    assert run("git", "log", "--format=%s", "branch", cwd=source) == "second\nfirst\n"
    assert mount.umount().stdout == "data:v1\n"
    with mounted("draft", "data", at=mount.path):
        run("git", "fsck", "--full", "--strict", cwd=clone)
        assert run("git", "status", "--porcelain", cwd=clone) == ""


@needs("git")
@pytest.mark.usefixtures("as_author")
def test_git(mount: Mount) -> None:
    repository = mount.path / "base"
    run("git", "init", "-q", cwd=repository)
    run("git", "add", ".", cwd=repository)
    run("git", "commit", "-qm", "first", cwd=repository)
    (repository / "script").write_text("changed")
    (repository / "dir2").rename(repository / "moved")
    run("git", "add", "-A", cwd=repository)
    run("git", "commit", "-qm", "second", cwd=repository)
    run("git", "gc", "-q", "--prune=now", cwd=repository)
    run("git", "fsck", "--full", "--strict", cwd=repository)
    run("git", "clone", "-q", repository, mount.path / "clone")
    assert run("git", "status", "--porcelain", cwd=repository) == ""
    artfs("sync", mount.path)
    assert run("git", "status", "--porcelain", cwd=repository) == ""
    run("git", "checkout", "-q", "HEAD~1", cwd=mount.path / "clone")
    assert (mount.path / "clone" / "dir2").is_dir()
    run("git", "fsck", "--full", "--strict", cwd=mount.path / "clone")


@needs("rsync")
def test_rsync_twice(mount: Mount, source: Path) -> None:
    def moved(options: str) -> list[str]:
        return run("rsync", options, "--out-format=%i %n", f"{source}/", mount.path / "copy").split(
            "\n"
        )[:-1]

    assert len(moved("-aH")) > 50
    assert moved("-aH") == []
    artfs("sync", mount.path)
    assert moved("-aHc") == []
    (source / "dir3/deeper/1.txt").write_text("changed")
    (source / "dir4/deeper/1.txt").unlink()
    run("rsync", "-aH", "--delete", "--inplace", f"{source}/", f"{mount.path}/copy/")
    # rsync does not set the times of a directory in which it only deleted, on any filesystem.
    shutil.copystat(source / "dir4/deeper", mount.path / "copy/dir4/deeper")
    assert tree(mount.path / "copy", times=True) == tree(source, times=True)
    run("rsync", "-a", "--delete", f"{source}/", f"{mount.path}/base/")
    shutil.copystat(source / "dir4/deeper", mount.path / "base/dir4/deeper")
    assert mount.umount().stdout == "data:v2\n"
    with mounted("draft", "data", at=mount.path) as again:
        # A version keeps no hard links, so without -H.
        command = ["rsync", "-a", "--out-format=%n", f"{source}/", f"{again.path}/base"]
        assert run(*command) == ""


@needs("tar")
def test_tar(mount: Mount, source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "source.tar"
    run("tar", "--format=posix", "-cf", archive, "-C", source, ".")
    (mount.path / "out").mkdir()
    run("tar", "-xpf", archive, "-C", mount.path / "out")
    assert tree(mount.path / "out", times=True) == tree(source, times=True)
    run("tar", "-df", archive, "-C", mount.path / "out")
    run("tar", "-cf", mount.path / "again.tar", "-C", mount.path / "out", ".")
    with tarfile.open(mount.path / "again.tar") as again, tarfile.open(archive) as first:
        assert sorted(again.getnames()) == sorted(first.getnames())
    run("tar", "-czf", mount.path / "base.tgz", "-C", mount.path, "base")
    run("tar", "-dzf", mount.path / "base.tgz", "-C", mount.path)


@needs("cp")
def test_cp_and_rm(mount: Mount, source: Path, home: Path, tmp_path: Path) -> None:
    run("cp", "-a", source, mount.path / "in")
    assert tree(mount.path / "in", times=True) == tree(source, times=True)
    run("cp", "-a", mount.path / "base", mount.path / "within")
    run("cp", "-a", "--reflink=auto", "--sparse=always", mount.path / "in", tmp_path / "out")
    assert tree(tmp_path / "out", times=True) == tree(source, times=True)
    run("rm", "-r", mount.path / "base", mount.path / "in")
    run("mv", mount.path / "within", mount.path / "all")
    run("mv", mount.path / "all", tmp_path / "moved out")  # to another filesystem
    run("mv", tmp_path / "moved out", mount.path / "back")
    assert mount.umount().stdout == "data:v1\n"
    expected = tmp_path / "expected"
    expected.mkdir()
    shutil.copytree(source, expected / "back", symlinks=True)
    check_version("data:v1", expected)


@needs("make", "cc")
def test_a_c_program_by_make(mount: Mount) -> None:
    path = mount.path / "program"
    path.mkdir()
    (path / "Makefile").write_text("all: hello\nhello: main.o said.o\n\t$(CC) -o $@ $^\n")
    (path / "said.h").write_text('#define SAID "hello"\nvoid say(void);\n')
    (path / "said.c").write_text(
        '#include <stdio.h>\n#include "said.h"\nvoid say(void){puts(SAID);}\n'
    )
    (path / "main.c").write_text('#include "said.h"\nint main(void){say();return 0;}\n')
    run("make", cwd=path)
    assert run(path / "hello") == "hello\n"
    again = run("make", cwd=path).lower()
    assert "up to date" in again or "nothing" in again
    (path / "said.c").write_text((path / "said.c").read_text().replace("SAID", '"changed"'))
    assert "said.c" in run("make", cwd=path)
    assert run(path / "hello") == "changed\n"


@needs("sed", "patch", "diff")
def test_editing_in_place(mount: Mount, home: Path) -> None:
    path = mount.path / "base" / "dir1" / "deeper"
    before = (path / "2.txt").read_text()
    run("sed", "-i.bak", "s/1 2/one two/", path / "2.txt")
    assert (path / "2.txt").read_text() == before.replace("1 2", "one two")
    assert (path / "2.txt.bak").read_text() == before
    done = subprocess.run(["diff", "-u", "2.txt.bak", "2.txt"], cwd=path, capture_output=True)
    subprocess.run(["patch", "-R", "2.txt"], cwd=path, input=done.stdout, check=True)
    assert (path / "2.txt").read_text() == before
    for left in ("2.txt.bak", "2.txt.orig"):
        (path / left).unlink(missing_ok=True)
    assert mount.umount().stdout == "data:v0 (unchanged)\n"


def vim(*commands: str, cwd: Path, options: tuple[str, ...] = ()) -> None:
    """Ex commands in vim, with a swap file beside each file and the defaults otherwise."""
    script = [part for command in commands for part in ("-c", command)]
    settings = ["--cmd", "set nocompatible swapfile directory=. viminfo="]
    run("vim", "-es", "-u", "NONE", "-i", "NONE", *settings, *options, *script, cwd=cwd)


@needs("vim")
@pytest.mark.parametrize("copy", ["no", "yes"])
def test_vim(mount: Mount, copy: str) -> None:
    """Saves by a rename, or by writing over the file after having made a copy."""
    path = mount.path / "base" / "dir1" / "deeper"
    before, about = (path / "2.txt").read_text(), (path / "2.txt").stat()
    (path / "2.txt").chmod(0o640)
    vim(
        f"set backup writebackup backupcopy={copy} backupext=.bak backupdir=. backupskip=",
        "edit 2.txt",
        "%substitute/1 2/one two/",
        "call writefile([swapname('%'), string(getfsize(swapname('%')) > 0)], 'swap')",
        "write",
        "quitall",
        cwd=path,
    )
    assert (path / "2.txt").read_text() == before.replace("1 2", "one two")
    assert (path / "2.txt.bak").read_text() == before
    assert (path / "2.txt").stat().st_mode & 0o777 == 0o640
    assert ((path / "2.txt").stat().st_ino == about.st_ino) == (copy == "yes")
    assert (path / "swap").read_text().split() == [".2.txt.swp", "1"]
    assert not (path / ".2.txt.swp").exists()


@needs("vim")
def test_vim_killed_and_recovered(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where a killed vim leaves files
    path = mount.path / "base" / "dir1" / "deeper"
    kill = "call system('kill -9 ' . getpid())"
    with contextlib.suppress(AssertionError):  # it is killed
        vim("edit 3.txt", "%substitute/1 3/lost?/", "preserve", kill, cwd=path)
    assert (path / ".3.txt.swp").exists()
    assert "lost?" not in (path / "3.txt").read_text()
    vim("write!", "quitall!", cwd=path, options=("-r", "3.txt"))
    assert (path / "3.txt").read_text() == "lost?\n" * 500


@needs("zip", "unzip")
def test_zip(mount: Mount, source: Path) -> None:
    run("zip", "-qry", mount.path / "some.zip", ".", cwd=source)
    (mount.path / "out").mkdir()
    run("unzip", "-q", mount.path / "some.zip", cwd=mount.path / "out")
    # Of what is compared, zip keeps neither hard links nor more than seconds.
    out, expected = tree(mount.path / "out"), tree(source)
    assert {p: n[:2] for p, n in out.items()} == {p: n[:2] for p, n in expected.items()}
    (mount.path / "out" / "new").write_text("new")
    run("zip", "-q", "../some.zip", "new", cwd=mount.path / "out")
    run("zip", "-qd", "some.zip", "dir1/*", cwd=mount.path)
    run("unzip", "-qt", "some.zip", cwd=mount.path)
    with zipfile.ZipFile(mount.path / "some.zip", "a") as archive:
        archive.writestr("more", "more")
    with zipfile.ZipFile(mount.path / "some.zip") as archive:
        assert archive.testzip() is None
        assert {"new", "more", "dir2/deeper/1.txt"} <= set(archive.namelist())
        assert "dir1/deeper/1.txt" not in archive.namelist()
