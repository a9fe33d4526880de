"""A daemon that is killed at random instants under programs that write; scripts/soak goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.killing import Ordeal

pytestmark = [pytest.mark.fuse, pytest.mark.slow]


@pytest.mark.parametrize("seed", [1, 2])
def test_promises_are_kept(home: Path, tmp_path: Path, seed: int) -> None:
    Ordeal(tmp_path, seed).survive(rounds=5)
