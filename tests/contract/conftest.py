"""The stores that the conformance suite runs over. A new kind of store is one line of `STORES`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from artfs.store.base import Store
from artfs.store.cached.store import CachedStore
from artfs.store.directory import DirectoryStore
from artfs.store.location import open_store
from artfs.store.memory import MemoryStore
from tests.support.s3server import BUCKET


@dataclass(frozen=True)
class StoreFactory:
    """An empty store. `open` gives a further handle to it, as another program would have one.

    `url` is what another process opens it by; None for a store that lives in this process.
    """

    open: Callable[[], Store]
    url: str | None


def _memory(request: pytest.FixtureRequest) -> StoreFactory:
    store = MemoryStore()
    return StoreFactory(lambda: store, None)


def _directory(request: pytest.FixtureRequest) -> StoreFactory:
    path: Path = request.getfixturevalue("tmp_path") / "store"
    DirectoryStore.create(path)
    return StoreFactory(lambda: DirectoryStore(path), str(path))


def _s3(request: pytest.FixtureRequest) -> StoreFactory:
    request.getfixturevalue("s3")
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    return StoreFactory(lambda: open_store(url), url)


def _cached(request: pytest.FixtureRequest) -> StoreFactory:
    """With a cache that takes only a part of the larger objects."""
    far, path = MemoryStore(), request.getfixturevalue("tmp_path") / "cache" / "id"

    def open_cached() -> Store:
        return CachedStore(far, path, "a/", lambda _: False, size=1 << 20, requests=4)

    return StoreFactory(open_cached, None)


STORES = {"memory": _memory, "directory": _directory, "s3": _s3, "cached": _cached}


@pytest.fixture(params=STORES)
def store_factory(request: pytest.FixtureRequest) -> Iterator[StoreFactory]:
    factory = STORES[request.param](request)
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(factory.open())
        return opened[-1]

    yield StoreFactory(open_one, factory.url)
    for store in opened:
        store.close()


@pytest.fixture
def store(store_factory: StoreFactory) -> Store:
    return store_factory.open()
