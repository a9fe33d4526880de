"""manifest, checkout and verify."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from tests.unit.cli.conftest import Run


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_a_manifest(run: Run, animals: Path) -> None:
    found = run("manifest", "animals").document
    assert (found["artifact"], found["version"], found["size"]) == ("animals", "v0", 17)
    assert found["entries"] == len(found["contents"]) == 4
    assert found["contents"] == run("--json", "ls", "-R", "animals:v0").document
    assert found["digest"] == run("--json", "show", "animals").document["digest"]


def test_the_manifest_of_wandb(run: Run, animals: Path) -> None:
    done = run("manifest", "animals:v0", "--format", "wandb")
    assert done.document["contents"] == {
        "a.txt": {"digest": md5(b"hello\n"), "size": 6},
        "link": {"digest": md5(b"hello\n"), "size": 6},
        "sub/b.txt": {"digest": md5(b"world\n"), "size": 6},
    }
    rows = "".join(f"{path}:{row['digest']}\n" for path, row in done.document["contents"].items())
    whole = hashlib.md5(b"wandb-artifact-manifest-v1\n" + rows.encode()).hexdigest()
    assert done.stderr == f"W&B's digest of it: {whole}\n"
    assert run("-q", "manifest", "animals:v0", "--format", "wandb").stderr == ""
    run("manifest", "animals:v0", "--format", "xml", status=2)


def test_manifests_of_nothing_and_of_any_names(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run("init")
    run("put", "nothing", tmp_path / "empty")
    assert run("manifest", "nothing").document["contents"] == []
    assert run("manifest", "nothing", "--format", "wandb").document["contents"] == {}
    (tmp_path / "empty" / os.fsdecode(b"\xff\n")).write_bytes(b"x")
    run("put", "nothing", tmp_path / "empty")
    assert run("manifest", "nothing").document["contents"][0]["path"] == "\udcff\n"
    assert list(run("manifest", "nothing", "--format", "wandb").document["contents"]) == [
        "\udcff\n"
    ]


def test_a_checkout_removes_what_is_not_in_the_version(
    run: Run, animals: Path, tmp_path: Path
) -> None:
    target = tmp_path / "t"
    assert run("checkout", "animals", target).text == f"{target}\n"
    (target / "more/deep").mkdir(parents=True)
    (target / "a.txt").write_text("other")
    (target / "sub/more").write_text("more")
    done = run("--json", "checkout", "animals:v0", target)
    assert (done.document["written"], done.document["kept"]) == (1, 1)
    assert run("verify", "animals:v0", target).text == f"{target}: is animals:v0\n"
    run("checkout", "animals", "/", status=2)
    run("checkout", "animals", tmp_path, status=2)  # the store is in it
    run("checkout", "nosuch", target, status=3)


def test_a_directory_that_differs_is_not_the_version(
    run: Run, animals: Path, tmp_path: Path
) -> None:
    target = tmp_path / "t"
    run("get", "animals", target)
    (target / "sub/b.txt").write_bytes(b"WORLD\n")
    done = run("verify", "animals", target, status=1)
    assert done.stderr.startswith(f"artfs: {target}/sub/b.txt: has another content")
    run("verify", "animals", tmp_path / "none", status=1)


def test_every_byte_of_a_version_is_proved(run: Run, animals: Path, home: Path) -> None:
    assert run("verify", "animals").text == "animals:v0: 4 entries, 17 B\n"
    assert run("--json", "verify", "animals").document == {
        "version": "animals:v0", "damaged": [], "references": 0
    }  # fmt: skip
    for pack in (home / "store/packs").rglob("*"):
        if pack.is_file() and b"world\n" in (data := pack.read_bytes()):
            pack.chmod(0o600)
            pack.write_bytes(data.replace(b"world\n", b"WORLD\n"))
    done = run("verify", "animals", status=5)
    assert done.text.startswith("sub/b.txt\t")
    assert done.stderr == "artfs: animals:v0: 1 paths are damaged\n"
