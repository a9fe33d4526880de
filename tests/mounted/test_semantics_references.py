"""What artfs-semantics(7) says of references in drafts, by sentence."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.mounted.references import BIG, refer
from tests.support.failing import fails
from tests.support.mounts import artfs, mounted
from tests.support.webserver import WebServer

pytestmark = pytest.mark.fuse


def test_drafts_read_references(home: Path, tmp_path: Path, web: WebServer) -> None:
    """A reference of the base reads as its source does; it is EIO if that has changed, and EACCES
    if it may not be read."""
    (tmp_path / "closed").write_bytes(b"closed")
    uris = {name: web.write(name, b"as it was") for name in ("kept", "changed")}
    refer(home, {**uris, "closed": f"file://{tmp_path}/closed"})
    web.write("changed", b"as it is ", 1_700_000_001)
    with mounted("draft", "refs", at=tmp_path / "mnt") as mount:
        assert (mount.path / "kept").read_bytes() == b"as it was"
        with fails(errno.EIO):
            (mount.path / "changed").read_bytes()
        with fails(errno.EACCES):
            (mount.path / "closed").read_bytes()


def test_drafts_change_references(home: Path, tmp_path: Path, web: WebServer) -> None:
    """A reference can be renamed, removed or replaced, and stays one until it is written to."""
    uris = {name: web.write(name, b"as it was") for name in ("kept", "gone", "new")}
    uris["big"] = web.write("big", BIG)
    refer(home, uris)
    with mounted("draft", "refs", at=tmp_path / "mnt") as mount:
        (mount.path / "kept").rename(mount.path / "renamed")
        (mount.path / "renamed").chmod(0o600)
        os.utime(mount.path / "renamed", (5, 5))
        assert (mount.path / "renamed").read_bytes() == b"as it was"
        (mount.path / "gone").unlink()
        (mount.path / "new").write_bytes(b"replaced")
        with open(mount.path / "big", "r+b") as file:
            file.seek(2_000_000)
            file.write(b"in between")
            file.seek(0)
            assert file.read() == BIG[:2_000_000] + b"in between" + BIG[2_000_010:]
        assert mount.umount().stdout == "refs:v1\n"
    rows = {row["path"]: row for row in json.loads(artfs("--json", "ls", "refs:v1").stdout)}
    assert {name: row["kind"] for name, row in rows.items()} == {
        "big": "file", "new": "file", "renamed": "reference",
    }  # fmt: skip
    assert rows["renamed"]["reference"]["uri"] == uris["kept"]
    assert (rows["renamed"]["mode"], rows["renamed"]["mtime_ns"]) == ("0600", 5 * 10**9)
    web.write("big", b"whatever")
    with mounted("mount", "refs", at=tmp_path / "mnt") as mount:
        expected = BIG[:2_000_000] + b"in between" + BIG[2_000_010:]
        assert (mount.path / "big").read_bytes() == expected
        assert (mount.path / "renamed").read_bytes() == b"as it was"
