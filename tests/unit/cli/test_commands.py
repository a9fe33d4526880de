"""What commands print: results and nothing else on standard output, one document with --json."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run


def test_put_prints_the_version_and_nothing_else(run: Run, source: Path) -> None:
    run("init")
    done = run("put", "animals", source, "--type", "images", "--alias", "best")
    assert done.stdout == b"animals:v0\n"
    assert done.stderr
    assert run("put", "animals", source).stdout == b"animals:v0 (unchanged)\n"
    (source / "a.txt").chmod(0o600)
    os.utime(source / "a.txt", ns=(1, 1))
    assert run("put", "animals", source).stdout == b"animals:v0 (unchanged)\n"
    (source / "a.txt").chmod(0o700)
    assert run("put", "animals", source).stdout == b"animals:v1\n"
    assert run("ls").stdout == b"animals\timages\tv1\n"
    assert run("ls", "animals").stdout == b"v0\tbest\nv1\tlatest\n"


def test_unchanged_content_still_moves_aliases(run: Run, animals: Path) -> None:
    done = run("put", "animals", animals, "--alias", "good")
    assert done.stdout == b"animals:v0 (unchanged)\n"
    assert run("alias", "animals").stdout == b"good\tv0\n"


def test_nothing_at_all_is_a_version(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run("init")
    assert run("put", "nothing", tmp_path / "empty").stdout == b"nothing:v0\n"
    assert run("ls", "nothing:v0").stdout == b""
    assert run("--json", "ls", "nothing:v0").document == []
    run("get", "nothing", tmp_path / "t")
    assert list((tmp_path / "t").iterdir()) == []


def test_quiet(run: Run, source: Path, tmp_path: Path) -> None:
    run("-q", "init")
    done = run("-q", "put", "animals", source)
    assert (done.stdout, done.stderr) == (b"animals:v0\n", "")
    assert run("-q", "get", "animals", tmp_path / "t").stderr == ""
    assert run("-q", "ls", "nosuch", status=3).stderr  # errors are told all the same


def test_json_is_one_document(run: Run, source: Path, tmp_path: Path) -> None:
    def document(*args: str | Path) -> object:
        return run("--json", *args).document

    assert isinstance(document("init"), dict)
    put = run("--json", "put", "animals", source, "--metadata", "n=[1, {}]", "--metadata", "t=x y")
    assert put.document["version"] == "v0"
    assert put.document["changed"] is True
    assert run("--json", "put", "animals", source).document["changed"] is False
    run("alias", "animals:v0", "best")
    assert document("ls") == [
        {"name": "animals", "type": "dataset", "newest": "v0", "portfolio": False}
    ]
    assert document("ls", "animals") == [{"version": "v0", "aliases": ["latest", "best"]}]
    assert document("alias", "animals") == {"best": "v0"}
    listed = run("--json", "ls", "-R", "animals:v0").document
    assert [entry["path"] for entry in listed] == ["a.txt", "link", "sub", "sub/b.txt"]
    shown = run("--json", "show", "animals").document
    assert shown["metadata"] == {"n": [1, {}], "t": "x y"}
    assert isinstance(document("log", "animals"), list)
    assert document("diff", "animals:v0", "animals:v0") == []
    got = run("--json", "get", "animals", tmp_path / "t").document
    assert (got["written"], got["kept"]) == (2, 0)


def test_names_leave_as_the_bytes_they_are(run: Run, tmp_path: Path) -> None:
    source = os.fsencode(tmp_path / "s")
    os.mkdir(source)
    names = [b"\xff\xfe.txt", "ä€".encode(), b"tab\there", b"back\\slash"]
    for name in names:
        with open(source + b"/" + name, "wb") as file:
            file.write(name)
    run("init")
    run("put", "odd", tmp_path / "s")
    assert run("ls", "odd:v0").stdout.split(b"\n") == [*sorted(names), b""]
    assert b" \xff\xfe.txt\n" in run("ls", "-l", "odd:v0").stdout
    assert run("cat", "odd", os.fsdecode(b"\xff\xfe.txt")).stdout == b"\xff\xfe.txt"
    run("get", "odd", tmp_path / "t", "--path", os.fsdecode(b"\xff*"))
    assert os.listdir(os.fsencode(tmp_path / "t")) == [b"\xff\xfe.txt"]
    paths = [entry["path"] for entry in run("--json", "ls", "odd:v0").document]
    assert sorted(os.fsencode(path) for path in paths) == sorted(names)
    missing = run("cat", "odd", os.fsdecode(b"no\xff"), status=3)
    assert missing.stderr.startswith("artfs: odd:latest/no\\xff: ")


def test_names_that_are_not_utf_8_in_errors(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    os.mkfifo(os.fsencode(tmp_path) + b"/s/\xff")
    run("init")
    done = run("put", "odd", tmp_path / "s", status=1)
    assert "\\xff: is a FIFO" in done.stderr


def test_cat_gives_bytes(run: Run, home: Path, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    run("init")
    run("put", "bytes", tmp_path / "f")
    done = run("cat", "bytes", "f")
    assert done.stdout == data
    assert done.stderr == ""


def test_aliases(run: Run, animals: Path) -> None:
    (animals / "new").write_bytes(b"new")
    run("put", "animals", animals)
    assert run("alias", "animals:v0", "best", "good").stdout == b"best\tv0\ngood\tv0\n"
    assert run("alias", "animals:best", "better").stdout.count(b"v0") == 3
    done = run("alias", "animals:v1", "best", "--expect", "v1", status=4)
    assert done.stderr.startswith("artfs: alias 'animals:best': is at v0, not at v1")
    run("alias", "animals:v1", "best", "--expect", "v0")
    assert run("cat", "animals:best", "new").stdout == b"new"
    assert run("alias", "--delete", "animals:good").stdout == b"best\tv1\nbetter\tv0\n"
    run("alias", "--delete", "animals:good", status=3)
    run("alias", "animals:v0", "latest", status=2)
    run("alias", "animals:v0", "v7", status=2)
    run("alias", "animals:v0", "x", "--expect", "best", status=2)
    run("alias", "--delete", "animals", status=2)  # `latest` cannot be removed
    run("alias", "animals:v9", "x", status=3)
    assert run("alias", "animals").stdout == b"best\tv1\nbetter\tv0\n"


def test_diff(run: Run, animals: Path) -> None:
    (animals / "a.txt").write_bytes(b"changed\n")
    (animals / "sub/b.txt").rename(animals / "moved.txt")
    (animals / "link").unlink()
    (animals / "link").mkdir()
    run("put", "animals", animals)
    assert run("diff", "animals:v0", "animals:v1").text.splitlines() == [
        "M a.txt", "T link/", "R sub/b.txt -> moved.txt",
    ]  # fmt: skip
    assert run("diff", "--stat", "animals:v0", "animals:v1").text.splitlines()[-1] == (
        "3 paths: 0 added, 0 deleted"
    )
    assert "-hello\n+changed\n" in run("diff", "--patch", "animals:v0", "animals:v1").text
    assert run("diff", "animals:v1", "animals:v1").stdout == b""


@pytest.mark.parametrize("how", ["option", "environment", "file"])
def test_where_settings_come_from(
    run: Run, home: Path, source: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / "config/artfs/config.toml"
    config.parent.mkdir(parents=True)
    monkeypatch.delenv("ARTFS_STORE")
    options: list[str] = []
    place, project = home / how, f"me/{how}"
    config.write_text(f"store = '{home}/file'\nproject = 'me/file'\n")
    if how != "file":
        monkeypatch.setenv("ARTFS_STORE", str(home / "environment"))
        monkeypatch.setenv("ARTFS_PROJECT", "me/environment")
    if how == "option":
        options = ["--store", str(place), "--project", project]
    run(*options, "init")
    run(*options, "put", "animals", source)
    assert [path.name for path in (place / "projects").rglob("animals")] == ["animals"]
    assert (place / "projects" / project / "animals").is_dir()
    others = {"option", "environment", "file"} - {how}
    assert not any((home / other).exists() for other in others)


def test_the_default_store_is_made_on_first_use(
    run: Run, home: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARTFS_STORE")
    assert run("ls").stdout == b""
    run("put", "animals", source)
    assert (home / "data/artfs/store/artfs.json").is_file()


def test_get_goes_where_it_is_told(
    run: Run, animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("get", "animals").stdout == b"./animals\n"
    assert (tmp_path / "animals/sub/b.txt").read_bytes() == b"world\n"
    assert run("get", "animals:v0", "deep/er", "--path", "sub").stdout == b"deep/er\n"
    assert [path.name for path in (tmp_path / "deep/er").rglob("*.txt")] == ["b.txt"]
    again = run("get", "animals")
    assert "0 files written, 2 kept" in again.stderr


def test_a_pack_that_vanished_is_stored_anew(
    run: Run, animals: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local index still knows the packs, and in a store of many packs nobody looks."""
    for pack in (home / "store/packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    monkeypatch.setattr("artfs.repo.known.CHEAP_LISTING", 0)
    (animals / "new").write_bytes(b"new")
    assert run("put", "animals", animals).stdout == b"animals:v1\n"
    assert run("cat", "animals", "a.txt").stdout == b"hello\n"
    assert run("cat", "animals", "sub/b.txt").stdout == b"world\n"
