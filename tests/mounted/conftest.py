"""A draft that the tests of a module share: each test has a directory of it, and of its base."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.mounts import Mount, artfs, make_home, mounted
from tests.support.twin import put

#: Enough for the tests of one module.
_PLACES = 60
BIG = bytes(range(256)) * 1200


class Shared(NamedTuple):
    """`mount` is a draft over `base`, `disk` a copy of it; both have directories '0', '1', …"""

    mount: Mount
    disk: Path
    base: Path
    home: Path
    unused: Iterator[int]

    @property
    def draft(self) -> Path:
        """The draft's directory in `home`."""
        (record,) = json.loads(artfs("--json", "drafts").stdout)
        return self.home / "state/artfs/drafts" / str(record["draft"])

    def data_files(self, ino: int) -> list[Path]:
        """The files in which the draft keeps what was written to a file."""
        return list((self.home / "state/artfs/drafts").glob(f"*/data/{ino}.*"))


def _make_place(path: Path) -> None:
    (path / "dir" / "deeper").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "text").write_text("text of the base\n")
    (path / "big").write_bytes(BIG)
    (path / "dir" / "one").write_text("one of the base\n")
    (path / "dir" / "deeper" / "two").write_text("two of the base\n")
    (path / "run").write_text("#!/bin/sh\necho ran\n")
    (path / "run").chmod(0o751)
    (path / "link").symlink_to("dir/one")
    moment = 1_600_000_000_123_456_789
    for found in [*path.rglob("*"), path]:
        os.utime(found, ns=(moment, moment), follow_symlinks=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The draft that all tests of a module use. Other users may enter it if root runs them."""
    root = tmp_path_factory.mktemp("shared")
    base = root / "base"
    for n in range(_PLACES):
        _make_place(base / str(n))
    shutil.copytree(base, root / "disk", symlinks=True)
    others = ["--allow-other"] if os.geteuid() == 0 else []
    with pytest.MonkeyPatch.context() as patch:
        home = make_home(root / "home", patch)
        put(base)
        with mounted("draft", "data", *others, at=root / "mnt") as mount:
            yield Shared(mount, root / "disk", base, home, itertools.count())
            mount.umount("--discard")  # a version of all of it would prove nothing


@pytest.fixture(params=["draft", "disk"])
def place(request: pytest.FixtureRequest, shared: Shared) -> Path:
    """A directory for one test, once in a draft and once on the disk, which is what is right."""
    root = shared.mount.path if request.param == "draft" else shared.disk
    return root / str(next(shared.unused))


@pytest.fixture
def drafted(shared: Shared) -> Path:
    """A directory in the draft, for a test of what is so in drafts only."""
    return shared.mount.path / str(next(shared.unused))
