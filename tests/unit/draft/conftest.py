"""A repository with one version, for tests of drafts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.format.record import VersionRecord
from artfs.repo.repository import Repository
from tests.unit.draft.drafts import Listing, Node, make_version, repository_in

BIG = random.Random(1).randbytes(1_000_000)
BASE: Listing = {
    b"a": Node("f", b"hello"),
    b"big": Node("f", BIG),
    b"d": Node("d", mode=0o755),
    b"d/e": Node("d", mode=0o755),
    b"d/e/f": Node("f", b"deep"),
    b"d/x": Node("f", b"x" * 100, 0o755),
    b"link": Node("l", b"d/x", 0o777),
}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with repository_in(tmp_path) as repository:
        yield repository


@pytest.fixture
def base(repository: Repository) -> VersionRecord:
    return make_version(repository, BASE)
