"""The test double that other tests rely on."""

from __future__ import annotations

import pytest

from artfs.store.memory import MemoryStore
from tests.support.faulty import FaultyStore


def test_faults_before_and_after() -> None:
    store = FaultyStore(MemoryStore())
    store.put_if_absent("a", b"")
    store.fail("put_if_absent", nth=2, error=OSError(5, "x"), after=True)
    store.fail("writer.commit", error=RuntimeError)
    store.put_if_absent("b", b"")
    with pytest.raises(OSError, match="x"):
        store.put_if_absent("c", b"")
    assert store.exists("c")
    writer = store.writer("d")
    writer.write([b"x"])
    with pytest.raises(RuntimeError):
        writer.commit()
    assert not store.exists("d")
    writer.commit()
    assert store.exists("d")
    store.verify_all_hit()
    assert store.calls["put_if_absent"] == 3
    assert store.calls["writer.commit"] == 2


def test_a_fault_that_was_not_hit_is_told() -> None:
    store = FaultyStore(MemoryStore())
    store.fail("get", nth=2)
    store.put_if_absent("a", b"")
    store.get("a")
    with pytest.raises(AssertionError, match="get"):
        store.verify_all_hit()


def test_misspelt_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="no call 1 of putt"):
        FaultyStore(MemoryStore()).fail("putt")
