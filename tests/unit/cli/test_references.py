"""References from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.webserver import WebServer
from tests.unit.cli.conftest import Run

if TYPE_CHECKING:
    import pytest


def test_put_and_get(run: Run, web: WebServer, source: Path, tmp_path: Path) -> None:
    first, second = web.write("first.txt", b"first"), web.write("second.txt", b"second")
    run("init")
    done = run("put", "refs", source, first, second, "tracker://run/7", "--at", "in")
    assert done.stdout == b"refs:v0\n"
    assert done.stderr.splitlines()[0] == (
        "recorded, but not readable: tracker://run/7: nothing is known of 'tracker:' but the name"
    )
    assert run("put", "refs", source, first, second, "tracker://run/7", "--at", "in").text == (
        "refs:v0 (unchanged)\n"
    )
    (row,) = run("--json", "ls", "refs:v0", "in/first.txt").document
    assert (row["kind"], row["size"]) == ("reference", 5)
    assert row["reference"] == {"uri": first, "checksum": 'etag:"6553f100-5"'}
    assert f"first.txt -> {first}" in run("ls", "-l", "refs:v0", "in").text
    assert run("cat", "refs", "in/second.txt").stdout == b"second"
    done = run("get", "refs", tmp_path / "out")
    assert f"left out {tmp_path}/out/in/7: a reference that nobody can read" in done.stderr
    assert (tmp_path / "out/in/first.txt").read_bytes() == b"first"
    assert (tmp_path / "out/in/a.txt").exists()
    assert not (tmp_path / "out/in/7").exists()
    run("checkout", "refs", tmp_path / "out")
    unread = "references passed over, and not verified: 3\n"
    assert run("verify", "refs", tmp_path / "out").stderr == unread
    assert run("verify", "refs").stderr == unread
    assert run("--json", "verify", "refs").document["references"] == 3


def test_a_changed_source(run: Run, web: WebServer, tmp_path: Path) -> None:
    run("init")
    run("put", "refs", web.write("f", b"old"))
    web.write("f", b"new", 1_700_000_001)
    for command in (["get", "refs", tmp_path / "out"], ["cat", "refs", "f"]):  # 1, not 6
        done = run(*command, status=1)
        assert "/f: has changed since it was recorded" in done.stderr
        assert done.stdout == b""
    assert run("put", "refs", f"{web.url}/f").text == "refs:v1\n"
    assert run("diff", "refs:v0", "refs:v1").text == "M f\n"
    assert run("cat", "refs", "f").stdout == b"new"


def test_files_artifacts_and_options(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init")
    done = run("put", "refs", source.as_uri())
    (notice,) = [line for line in done.stderr.splitlines() if "not readable" in line]
    assert notice == (
        f"recorded, but not readable: {(source / 'a.txt').as_uri()}, and 1 more: is not below a"
        " directory that references may read; name the directory in reference_dirs of config.toml,"
        " or in ARTFS_REFERENCE_DIRS"
    )
    done = run("get", "refs", tmp_path / "out", status=6)
    assert "not below a directory that references may read" in done.stderr
    assert "reference_dirs" in done.stderr
    monkeypatch.setenv("ARTFS_REFERENCE_DIRS", f"{tmp_path / 'other'}:{source}")
    assert "not readable" not in run("put", "refs", source.as_uri()).stderr
    run("get", "refs", tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_bytes() == (source / "a.txt").read_bytes()
    run("put", "more", "artfs://refs:latest")
    assert run("cat", "more", "a.txt").stdout == (source / "a.txt").read_bytes()
    done = run("put", "few", source.as_uri(), "--max-objects", "1", status=2)
    assert "more than 1 objects" in done.stderr
    run("put", "unchecked", (source / "a.txt").as_uri(), "--no-checksum")
    (row,) = run("--json", "ls", "unchecked:v0").document
    assert "checksum" not in row["reference"]


def test_settings(run: Run, home: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    run("put", "refs", (source / "a.txt").as_uri())
    config = home / "config/artfs/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'reference_dirs = ["{source}"]\n')
    assert run("cat", "refs", "a.txt").stdout == (source / "a.txt").read_bytes()
    for text, why in (
        ("reference_dirs = 7\n", "is no list of directories"),
        ('reference_dirs = ["here"]\n', "is no absolute path"),
        ('reference_private = "perhaps"\n', "cannot be 'perhaps'"),
    ):
        config.write_text(text)
        assert why in run("cat", "refs", "a.txt", status=2).stderr


def test_what_cannot_be(run: Run, web: WebServer, source: Path) -> None:
    run("init")
    uri = web.write("a.txt", b"x")
    for arguments, status, why in (
        ([source, uri], 2, "comes from two of the paths given"),
        ([uri, uri], 2, "comes from two of the paths given"),
        ([f"{web.url}/nothing"], 3, "no such object"),
        (["tracker://"], 2, "makes no path of ''"),
        ([f"{web.url}/metadata"], 6, "metadata service"),
        ([f"{web.url}/closed"], 6, "the server answers 403"),
    ):
        done = run("put", "refs", *arguments, status=status)
        assert why in done.stderr
    assert run("ls").text == ""
