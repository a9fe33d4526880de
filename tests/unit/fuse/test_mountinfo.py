"""Whoever may mount chooses the source; only ids of ours may become paths that are removed."""

from __future__ import annotations

import pytest

from artfs.fuse.mountinfo import FSTYPE, MountEntry, source_of

ID = "0123456789ab"


def entry(fstype: str, source: str) -> MountEntry:
    return MountEntry("/mnt", "0:99", fstype, source)


def test_our_own_id() -> None:
    assert entry(FSTYPE, source_of(ID)).mount_id == ID


@pytest.mark.parametrize(
    "source",
    ["", "/", "artfs:", "artfs:/", "artfs:..", "artfs:../../..", f"artfs:{ID}/..", f"artfs:{ID}\n",
     "artfs:0123456789AB", "artfs:0123456789abc", f"other:{ID}"],
)  # fmt: skip
def test_any_other_source_is_not_ours(source: str) -> None:
    assert entry(FSTYPE, source).mount_id is None


def test_another_filesystem_is_not_ours() -> None:
    assert entry("fuse.other", source_of(ID)).mount_id is None
