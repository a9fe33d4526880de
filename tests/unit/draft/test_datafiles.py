"""Layers on disk, those that share files and those that do not, against plain bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.vfs.draft import punching
from artfs.vfs.draft.datafiles import NEVER, SLOT, SLOTS, DataFiles, Frozen
from artfs.vfs.draft.numbers import of_base

INODES = (2, 3, SLOTS - 1, SLOTS, of_base(0, 5))
OFFSETS = st.sampled_from([0, 1, 5000, SLOT - 1, SLOT, SLOT + 1, 2 * SLOT])
SIZES = st.sampled_from([0, 1, 100, 4096, SLOT - 1, SLOT, SLOT + 1])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "cut", "close", "remove"]),
        st.sampled_from(INODES), st.sampled_from([1, 2]), OFFSETS, SIZES,
    ),
    max_size=20,
)  # fmt: skip


@given(shared_from=st.sampled_from([1, 2, NEVER]), steps=STEPS)
def test_layers_hold_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    shared_from: int,
    steps: list[tuple[str, int, int, int, int]],
) -> None:
    directory = tmp_path_factory.mktemp("data")
    data = DataFiles(directory, shared_from)
    held: dict[tuple[int, int], bytes] = {}
    for n, (step, ino, epoch, offset, size) in enumerate(steps):
        key, before = (ino, epoch), held.get((ino, epoch), b"")
        if step == "write" and size:
            new = bytes([n + 1]) * size
            data.get(ino, epoch, offset + size, new=True).write(offset, new)
            held[key] = before[:offset].ljust(offset, b"\0") + new + before[offset + size :]
        elif step == "cut" and key in held:
            data.cut(ino, epoch, offset)
            held[key] = before[:offset]
        elif step == "close":
            data.close(ino, epoch)
        elif step == "remove":
            held.pop(key, None)
            data.close(ino, epoch)
            data.remove([key], NEVER if n % 2 and not any(e == epoch for _, e in held) else 0)
    frozen = Frozen(directory, shared_from)
    end = 4 * SLOT
    for (ino, epoch), content in held.items():
        if content:
            expected = content.ljust(end, b"\0")
            assert data.get(ino, epoch, end).read(0, end) == expected
            file = frozen.get(ino, epoch, end)
            assert file is not None
            assert file.read(0, end) == expected
    assert {key for key, content in held.items() if content} <= set(data.layers())
    data.remove(list(data.layers()), NEVER)
    data.close_all()
    assert os.listdir(directory) == []


def test_a_shared_file_with_other_layers_stays(tmp_path: Path) -> None:
    data = DataFiles(tmp_path, 1)
    for ino in (2, 3, 4):
        data.get(ino, 1, 4096, new=True).write(0, bytes([ino]) * 4096)
    data.remove([(2, 1), (4, 1)], NEVER)
    [file] = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 <= 8192
    assert data.get(3, 1, 4096).read(0, 4096) == bytes([3]) * 4096
    data.remove([(3, 1)], 1)
    assert file.exists(), "it is being written"
    data.remove([(3, 1)], 2)
    assert not file.exists()
    data.close_all()


def test_a_file_made_while_a_thread_syncs_the_directory_has_its_name_synced_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That sync may have come too early for it."""
    opened, fsync = os.open, os.fsync
    synced: list[int] = []
    data = DataFiles(tmp_path, NEVER)
    data.sync_directory()

    def open_late(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            data.sync_directory()
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", open_late)
    data.get(2, 1, 4096, new=True)

    def note(fd: int) -> None:
        synced.append(fd)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    data.sync_directory()
    assert len(synced) == 1
    data.close_all()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_nothing_is_shared_where_holes_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert punching.can_punch(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(punching, "_punch", refuse)
    assert not punching.can_punch(tmp_path)
    assert os.listdir(tmp_path) == []


def test_layers_that_are_shared_already_are_cut_where_holes_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draft may be moved."""
    data = DataFiles(tmp_path, 1)
    for ino in (SLOTS, 2, 3):
        data.get(ino, 1, SLOT, new=True).write(0, bytes([ino % 255 + 1]) * SLOT)

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(punching, "_punch", refuse)
    data.cut(2, 1, 5)
    data.remove([(3, 1)], 2)
    assert data.get(2, 1, SLOT).read(0, SLOT) == b"\3" * 5 + bytes(SLOT - 5)
    assert data.get(3, 1, SLOT).read(0, SLOT) == bytes(SLOT)
    assert data.get(SLOTS, 1, SLOT).read(0, SLOT) == bytes([SLOTS % 255 + 1]) * SLOT
    data.close_all()
