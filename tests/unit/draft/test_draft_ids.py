"""A draft's id comes from the user and becomes a path that is deleted: it must be an id.

Deleting and locking are stubbed: with the check gone, these tests fail and touch nothing. They must
never run a real deletion; one did, with the id "/", and took the machine's /etc with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from artfs.errors import NotFound
from artfs.vfs.draft import records, state

BAD = [
    "", ".", "..", "../..", "/", "/etc", "a/b", "0123abcd/", "0123abcd/..", "0123ABCD", "0123abc",
]  # fmt: skip


def _refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a path that is no draft was about to be used")


@pytest.mark.parametrize("draft_id", BAD)
def test_only_ids_become_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draft_id: str
) -> None:
    monkeypatch.setattr(shutil, "rmtree", _refuse)
    for module in (records, state):
        monkeypatch.setattr(module, "take_lock", _refuse)
        monkeypatch.setattr(module, "read_record", _refuse)
    with pytest.raises(NotFound):
        records.discard_draft(tmp_path, draft_id)
    with pytest.raises(NotFound):
        records.read_draft(tmp_path, draft_id)
    with pytest.raises(NotFound):
        state.open_draft(tmp_path, draft_id, None)  # type: ignore[arg-type]  # refused before it is used
