"""The stores that the conformance suite runs over. A new kind of store is one line of `STORES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfs.store.base import Store
from artfs.store.directory import DirectoryStore
from artfs.store.memory import MemoryStore


@dataclass(frozen=True)
class StoreFactory:
    """An empty store. `open` gives a further handle to it, as another program would have one.

    `url` is what another process opens it by; None for a store that lives in this process.
    """

    open: Callable[[], Store]
    url: str | None


def _memory(_: Path) -> StoreFactory:
    store = MemoryStore()
    return StoreFactory(lambda: store, None)


def _directory(path: Path) -> StoreFactory:
    DirectoryStore.create(path / "store")
    return StoreFactory(lambda: DirectoryStore(path / "store"), str(path / "store"))


STORES = {"memory": _memory, "directory": _directory}


@pytest.fixture(params=STORES)
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFactory:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(store_factory: StoreFactory) -> Store:
    return store_factory.open()
