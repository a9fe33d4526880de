"""A store in a bucket of S3, or of a server that speaks its protocol.

An object is written once, a record by compare-and-set with its ETag as revision. What a write made
is durable when the server has answered. Any thread may call anything.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Iterator

from artfs.errors import AlreadyExists
from artfs.store.base import ObjectInfo, ObjectReader, ObjectWriter, Store
from artfs.store.options import StoreOptions
from artfs.store.s3 import listing, records
from artfs.store.s3.client import connect
from artfs.store.s3.conditions import Conditions
from artfs.store.s3.existence import existing, get_all
from artfs.store.s3.location import Location
from artfs.store.s3.reader import S3Reader
from artfs.store.s3.series import last_of
from artfs.store.s3.transfer import Transfer
from artfs.store.s3.writer import PARTS_AT_ONCE, S3Writer


class S3Store(Store):
    """The objects below a prefix of a bucket. Making one asks the server nothing."""

    is_remote = True
    refresh = 10.0  # each answer costs a request, and AWS wants to be paid for it

    def __init__(self, url: str, options: StoreOptions = StoreOptions()) -> None:  # noqa: B008  # frozen
        location = Location.parse(url)
        self.url = location.url
        self._client = connect(options.s3, self.url)
        self._transfer = Transfer(self._client, location, options.s3.attempts)
        self._conditions = Conditions(self._transfer, options.memory)
        self._parts = threading.Semaphore(PARTS_AT_ONCE)

    def check_writing(self) -> None:
        self._conditions.check_writes()

    def get(self, key: str) -> bytes:
        return self._transfer.get(key).data

    def open(self, key: str) -> ObjectReader:
        return S3Reader(self._transfer, key, self.info(key).size)

    def reader(self, key: str) -> ObjectReader:
        return S3Reader(self._transfer, key)

    def info(self, key: str) -> ObjectInfo:
        return self._transfer.info(key)

    def existing(self, keys: Iterable[str]) -> set[str]:
        return existing(self._transfer, [*keys])

    def get_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        return get_all(self._transfer, [*keys])

    def last_of(self, key: Callable[[int], str], after: int = -1, hint: int = -1) -> int:
        return last_of(self._transfer, key, after, hint)

    def writer(self, key: str) -> ObjectWriter:
        self._transfer.where(key)
        self.check_writing()
        return S3Writer(self._transfer, key, self._parts)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._transfer.where(key)
        self.check_writing()
        records.create(self._transfer, key, data)

    def read_record(self, key: str) -> tuple[bytes, str]:
        whole = self._transfer.get(key)
        return whole.data, whole.etag

    def compare_and_set(self, key: str, data: bytes, revision: str | None) -> str:
        self._transfer.where(key)
        self.check_writing()
        if revision is None:
            try:
                return records.create(self._transfer, key, data)
            except AlreadyExists:
                raise records.changed(key) from None
        return records.replace(self._transfer, key, data, revision)

    def delete_record(self, key: str, revision: str) -> None:
        self._transfer.where(key)
        self._conditions.check_deletes()
        records.remove(self._transfer, key, revision)

    def delete(self, key: str) -> None:
        self._transfer.delete(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._transfer.location.name_prefix(prefix)
        return listing.objects(self._transfer, prefix)

    def list_names(self, prefix: str, after: str = "") -> builtins.list[str]:
        return listing.names(self._transfer, prefix, after)

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        self._client.close()
