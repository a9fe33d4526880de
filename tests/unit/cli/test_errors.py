"""Bad input is told in one line, with the right status, and leaves the store as it was."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs import errors
from artfs.cli import exits
from artfs.store.directory import DirectoryStore
from tests.support.users import as_nobody, public_directory
from tests.unit.cli.conftest import Run

DEEP = 1500


def one_line(run: Run, status: int, *args: str | Path, line: str) -> None:
    done = run(*args, status=status)
    first, *hint = done.stderr.splitlines()
    assert first.startswith("artfs: ")
    assert line in first
    assert len(hint) <= 1
    assert not hint or hint[0].startswith("       ")
    assert done.stdout == b""


@pytest.mark.parametrize(("name", "why"), [
    ("a/b/c/d", "may hold only"), ("a b", "may hold only"), ("../x", "reserved"),
    ("x/..", "reserved"),
    ("x/", "is empty"), ("/x", "is empty"), ("", "is empty"), (".", "reserved"),
    ("a:v1", "may hold only"), ("x" * 129, "longer than 128"), ("a\udcff", "may hold only"),
])  # fmt: skip
def test_bad_names(run: Run, animals: Path, name: str, why: str) -> None:
    one_line(run, 2, "put", name, animals, line=why)
    assert run("ls").stdout == b"animals\tdataset\tv0\n"


@pytest.mark.parametrize(("status", "ref"), [
    (3, "nosuch:v0"), (3, "animals:v1"), (3, "animals:nosuch"), (3, "animals@" + "0" * 12),
    (3, "other/animals:v0"), (2, "animals:"), (2, "animals@xyz"), (2, "a:b:c"), (2, "a/b/c/d:v0"),
])  # fmt: skip
@pytest.mark.parametrize("command", ["ls", "get", "cat", "show", "alias", "diff"])
def test_refs_that_name_nothing(
    run: Run, animals: Path, status: int, ref: str, command: str, tmp_path: Path
) -> None:
    extra = {"cat": ["a.txt"], "alias": ["x"], "diff": ["animals:v0"], "get": [str(tmp_path / "t")]}
    one_line(run, status, command, ref, *extra.get(command, []), line="")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("command", ["log", "ls", "show", "alias"])
def test_artifacts_that_are_not_there(run: Run, animals: Path, command: str) -> None:
    one_line(run, 3, command, "nosuch", line="artifact 'nosuch': no such artifact")


@pytest.mark.parametrize("args", [
    ("cat", "animals", "nosuch"), ("cat", "animals", "sub/nosuch"), ("cat", "animals", "a.txt/x"),
    ("ls", "animals:v0", "nosuch"), ("get", "animals", "{}", "--path", "nosuch"),
    ("put", "animals", "{}/nosuch"), ("put", "animals", "{}/source/a.txt/x"),
    ("put", "animals", "{}/source", "--base", "animals:v9"),
])  # fmt: skip
def test_paths_that_are_not_there(run: Run, animals: Path, args: list[str], tmp_path: Path) -> None:
    one_line(run, 3, *(arg.format(tmp_path) for arg in args), line="no")
    assert run("ls", "animals").stdout == b"v0\tlatest\n"


@pytest.mark.parametrize(("args", "line", "hint"), [
    (("log", "animals:v0"), "may hold only", "not a version of it"),
    (("diff", "animals:v0"), "diff: takes two versions", "--help"),
    (("mount", "animals:v0"), "mount: takes [REF] MNT", "--help"),
    (("completion", "tcsh"), "is not one of 'bash', 'zsh', 'fish'", "--help"),
    (("completion",), "bash, zsh, fish", "--help"),
    (("nosuch",), "No such command 'nosuch'", "artfs --help"),
    (("alias", "--delete", "best"), "--delete takes NAME:ALIAS, and 'best' names no", "--help"),
    (("alias", "animals", "best", "--delete"), "and 'animals' names no alias", "--help"),
])  # fmt: skip
def test_what_a_newcomer_mistakes(
    run: Run, animals: Path, args: list[str], line: str, hint: str
) -> None:
    one_line(run, 2, *args, line=line)
    assert hint in run(*args, status=2).stderr.splitlines()[1]


def test_no_command_at_all_shows_which_there_are(run: Run) -> None:
    done = run(status=2)
    assert done.stdout == b""
    assert done.stderr == run("--help").text


def test_every_command_is_listed_with_a_whole_sentence(run: Run) -> None:
    listed = run("--help").text.partition("Commands:\n")[2].splitlines()
    assert listed
    assert not [line for line in listed if line.endswith("...")]


@pytest.mark.parametrize("path", ["sub", "link", ""])
def test_cat_of_what_is_no_file(run: Run, animals: Path, path: str) -> None:
    one_line(run, 2, "cat", "animals", path, line="not a file")


@pytest.mark.parametrize(("args", "line"), [
    (("--type", "a/b"), "type 'a/b'"),
    (("--alias", "latest"), "alias 'latest'"), (("--alias", "v3"), "alias 'v3'"),
    (("--alias", "a/b"), "alias 'a/b'"), (("--alias", ""), "alias ''"),
    (("--metadata", "x"), "metadata 'x'"), (("--metadata", "=1"), "metadata '=1'"),
    (("--metadata", "x=\udcff"), "metadata"), (("--metadata", "\udcff=1"), "metadata"),
    (("--metadata", "x=" + "[" * 50_000), "metadata 'x'"),
    (("--metadata", "x=NaN"), "metadata 'x'"), (("--metadata", "x=1e999"), "metadata 'x'"),
    (("--description", "\udcff"), "description"), (("--at", "../x"), "path '../x'"),
    (("--base", "x:y:z"), "alias 'y:z'"),
])  # fmt: skip
def test_bad_options_of_put(run: Run, animals: Path, args: tuple[str, ...], line: str) -> None:
    (animals / "new").write_bytes(b"new")
    one_line(run, 2, "put", "animals", animals, *args, line=line)
    assert run("ls", "animals").stdout == b"v0\tlatest\n"


def test_another_type_is_a_conflict(run: Run, animals: Path) -> None:
    one_line(run, 4, "put", "animals", animals, "--type", "model", line="has type 'dataset'")


@pytest.mark.parametrize("args", [
    (), ("nosuch",), ("put",), ("put", "animals"), ("ls", "--nosuch"), ("--nosuch",),
])  # fmt: skip
def test_wrong_usage(run: Run, home: Path, args: tuple[str, ...]) -> None:
    done = run(*args, status=2)
    assert done.stdout == b""
    assert "Traceback" not in done.stderr


def test_no_store(run: Run, home: Path, source: Path) -> None:
    for command in (["ls"], ["put", "animals", str(source)], ["get", "animals"]):
        one_line(run, 3, *command, line="no store there")
    (home / "store").mkdir()
    one_line(run, 3, "ls", line="is not an artfs store")
    one_line(run, 2, "--store", "ftp://x", "ls", line="is no kind of store")
    one_line(run, 2, "--project", "a/b/c", "ls", line="a/b")


def test_a_store_is_made_where_nothing_else_is(run: Run, home: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    for name in ("file", "ünlike a key", "directory/"):
        (full / name).mkdir(parents=True) if name.endswith("/") else full.mkdir(exist_ok=True)
        if not name.endswith("/"):
            (full / name).write_bytes(b"mine")
        one_line(run, 1, "--store", full, "init", line=f"{full}: is not empty, and no artfs store")
        shutil.rmtree(full)
    (home / "store/lost+found").mkdir(parents=True)  # of a disk of its own
    assert run("init").text == run("init").text == f"store {home / 'store'}\n"


def test_what_is_printed_is_found_again(
    run: Run, animals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever project the settings name, and the command."""
    for project in ("default", "other", "team/other", "team/default"):
        monkeypatch.setenv("ARTFS_PROJECT", project)
        for name in ("cats", "other/cats", "team/other/cats", "default/cats"):
            (animals / "new").write_text(project + name)
            made = run("put", name, animals).text.strip()
            assert run("log", name).text.startswith(made.rpartition(":")[2])
            assert run("--json", "show", made).document["artifact"] == made.partition(":")[0]
            linked = run("link", made, f"{name}-links").text.strip()
            assert "new" in run("ls", linked).text.split()
            assert run("rm", "--force", linked, made).text.split() == [linked, made]
            one_line(run, 3, "show", made, line="was deleted")
    error = run("show", "team/other/nosuch", status=3).stderr
    assert error.startswith("artfs: artifact 'team/other/nosuch'")


def test_the_store_cannot_be_put_into_itself(run: Run, animals: Path, home: Path) -> None:
    one_line(run, 2, "put", "animals", home, line="contains the store")


@pytest.mark.parametrize("text", ["store = ", "\x00", "[", "store = 1 2"])
def test_a_bad_configuration_file(run: Run, home: Path, text: str) -> None:
    path = home / "config/artfs/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    one_line(run, 2, "ls", line="config.toml")


def test_tracebacks_are_for_those_who_ask(run: Run, animals: Path) -> None:
    assert "Traceback" not in run("-v", "ls", "nosuch", status=3).stderr
    assert "Traceback" in run("-vv", "ls", "nosuch", status=3).stderr


def test_what_nobody_foresaw_is_one_line_too(
    run: Run, animals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("artfs.repo.catalog.Catalog.artifacts", broken)
    one_line(run, 1, "ls", line="ZeroDivisionError: by zero")


def test_every_error_class_has_the_right_status() -> None:
    """Who may not read a source is told as by a store; what has changed there is no such thing."""
    status: dict[type[errors.ArtfsError], int] = {
        errors.InvalidValue: 2, errors.NotFound: 3, errors.ObjectNotFound: 5, errors.Conflict: 4,
        errors.CommitConflict: 4, errors.InUse: 4, errors.Damaged: 5, errors.Unreachable: 6,
        errors.UnsupportedFormat: 1, errors.SourceChanged: 1, errors.Unsupported: 1,
        errors.AlreadyExists: 1, errors.MountFailed: 1, errors.Refused: 6, errors.SourceRefused: 6,
    }  # fmt: skip
    for kind, expected in status.items():
        assert exits.status_of(kind.__new__(kind)) == expected, kind


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory removed by rm: pytest's own way fails at such a depth, in a later session."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path], check=True)


@pytest.mark.slow
def test_directories_as_deep_as_a_path_can_be(run: Run, home: Path, place: Path) -> None:
    """A path has at most 4,096 bytes: some 2,000 directories in each other."""
    (place / "deep").mkdir()
    fd = os.open(place / "deep", os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    run("init")
    assert run("put", "deep", place / "deep").stdout == b"deep:v0\n"
    path = "d/" * DEEP + "f"
    assert run("ls", "-R", "deep:v0").text.splitlines()[-1] == path
    assert run("cat", "deep", path).stdout == b""
    run("get", "deep", place / "t")
    (place / "t" / path).write_bytes(b"x")
    run("put", "deep", place / "t")
    assert run("diff", "deep:v0", "deep:v1").text == f"M {path}\n"


def test_a_file_where_a_directory_belongs(run: Run, animals: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    one_line(run, 1, "get", "animals", tmp_path / "file", line="file: is not a directory")
    one_line(run, 1, "checkout", "animals", tmp_path / "file", line="file: is not a directory")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_that_is_missing_says_where_to_look(run: Run, animals: Path) -> None:
    done = run("cat", "animals", "nosuch", status=3)
    assert "artfs ls animals:latest lists what there is" in done.stderr


def test_a_server_that_is_not_there_has_no_errno_in_its_message(run: Run, animals: Path) -> None:
    with socket.socket() as taken:  # bound, and so nobody else's; not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        one_line(run, 6, "put", "far", url, line=f"{url}: Connection refused")


def test_what_a_newcomer_gets_wrong(run: Run, animals: Path) -> None:
    for option in ("--json", "-v", "--store"):
        one_line(run, 2, "ls", option, line=f"ls: {option} stands before the command")
    one_line(run, 2, "lss", line="No such command 'lss'. Did you mean 'ls'?")
    one_line(run, 2, "wxyz", line="No such command 'wxyz'.")
    one_line(run, 2, "draft", "--resume", line="draft: Option '--resume' requires an argument")
    one_line(run, 2, "put", f"{animals}/sub", "animals", line="is a path")
    done = run("ls", "animals:v0/sub", status=2)
    assert "ref 'animals:v0/sub': names a path" in done.stderr
    assert "animals:v0 sub\n" in done.stderr


def test_a_setting_that_there_is_not(run: Run, home: Path) -> None:
    path = home / "config/artfs/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("stor = '/srv'\n")
    one_line(run, 2, "ls", line="config.toml: 'stor' is no setting")
    path.unlink()
    path.mkdir()
    one_line(run, 2, "ls", line="config.toml: Is a directory")


def test_a_store_that_may_not_be_written() -> None:
    """The store is named, and not the file that was to be made there."""

    def denied(store: Path) -> str:
        with pytest.raises(OSError, match="denied") as error:
            DirectoryStore(store).put_if_absent("a/b", b"")
        return str(error.value.filename)

    with public_directory() as directory:
        store = directory / "store"
        store.mkdir()
        (store / ".tmp").mkdir(mode=0o555)
        assert as_nobody(lambda: denied(store)) == str(store)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files(animals: Path, closed: str) -> None:
    command = f"{sys.executable} -m artfs put animals {animals} {closed}"
    subprocess.run(["sh", "-c", command], check=True, timeout=60, capture_output=True)
    command = f"{sys.executable} -m artfs ls nosuch {closed}"
    assert subprocess.run(["sh", "-c", command], check=False, capture_output=True).returncode == 3
