"""What Python logs shows in a mount that is running."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import artfs as api
from tests.support.mounts import artfs, mounted, wait_for

pytestmark = pytest.mark.fuse

#: What the manual promises, in seconds.
SHOWN_WITHIN = 2.0


def test_a_logged_version_shows_in_a_running_mount(home: Path, tmp_path: Path) -> None:
    artfs("init")
    with mounted("mount", at=tmp_path / "mnt") as mount, api.init() as run:
        artifact = api.Artifact("data", "dataset")
        with artifact.new_file("sub/file") as file:
            file.write("zero")
        run.log_artifact(artifact, aliases=["best"]).wait()
        shown = mount.path / "data/latest/sub/file"
        wait_for(shown.exists, SHOWN_WITHIN, "v0 in the mount")
        assert shown.read_text() == "zero"
        assert os.readlink(mount.path / "data/best") == "v0"

        draft = artifact.new_draft()
        with draft.new_file("sub/file") as file:
            file.write("one")
        run.log_artifact(draft).wait()
        wait_for(lambda: shown.read_text() == "one", SHOWN_WITHIN, "v1 in the mount")
        assert (mount.path / "data/v0/sub/file").read_text() == "zero"

        draft.delete()
        wait_for(lambda: not (mount.path / "data/v1").exists(), SHOWN_WITHIN, "v1 gone")
        assert shown.read_text() == "zero"


def test_a_version_that_a_draft_mount_committed_is_used(home: Path, tmp_path: Path) -> None:
    artfs("init")
    with mounted("draft", "--new", "--type", "model", "data", at=tmp_path / "mnt") as mount:
        (mount.path / "file").write_text("from the mount")
        assert artfs("sync", mount.path).stdout == "data:v0\n"
        found = api.Api().artifact("data", type="model")
        target = found.download(tmp_path / "out")
        assert Path(target, "file").read_text() == "from the mount"
        assert found.verify(target)
