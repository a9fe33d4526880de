"""Conditional writes: one winner of many, also where the answer got lost on its way.

Every write carries a random id in the object's metadata. A condition that fails in the second
attempt at a write may have met the first one, which took effect though its answer was lost; then
the object has our id.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

from botocore.exceptions import ClientError

from artfs.errors import AlreadyExists, Conflict
from artfs.store.s3.errors import is_conflict, is_missing, translated
from artfs.store.s3.transfer import Transfer, checksum

_WRITE_ID = "artfs-write"


def create(transfer: Transfer, key: str, data: bytes) -> str:
    """Store an object that is not there yet; its ETag. Raises `AlreadyExists`, `Unreachable`."""
    try:
        return _put(transfer, key, data, IfNoneMatch="*")
    except _ConditionFailed:
        raise AlreadyExists(key, "exists already") from None


def replace(transfer: Transfer, key: str, data: bytes, etag: str) -> str:
    """Store an object in the place of one with this ETag; the new ETag.

    Raises `Conflict`, also where our write took effect, its answer was lost, and somebody has
    replaced it since; `Unreachable`.
    """
    try:
        return _put(transfer, key, data, IfMatch=etag)
    except _ConditionFailed:
        raise changed(key) from None


def changed(key: str) -> Conflict:
    """The error for a record that is not what the caller has read."""
    return Conflict(key, "somebody else changed this record", "read it again, and retry")


class _ConditionFailed(Exception):
    pass


def _put(transfer: Transfer, key: str, data: bytes, **condition: str) -> str:
    write_id = secrets.token_hex(16)
    request = {**transfer.where(key), "Metadata": {_WRITE_ID: write_id}, **condition}
    digest = checksum(data)
    tries = _Tries()

    def attempt() -> str:
        with tries.counted():
            return transfer.client.put_object(**request, Body=data, ChecksumSHA256=digest)["ETag"]

    with translated(transfer.location, key):
        try:
            return transfer.retrying(attempt)
        except ClientError as error:
            if not (is_conflict(error) or ("IfMatch" in condition and is_missing(error))):
                raise
            etag = _etag_of(transfer, key, write_id) if tries.several else None
            if etag is None:
                raise _ConditionFailed from error
            return etag


class _Tries:
    """Whether a request that failed was made more than once: the first may have taken effect."""

    def __init__(self) -> None:
        self._failed = 0

    @property
    def several(self) -> bool:
        return self._failed > 1

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            self._failed += 1 + error.response["ResponseMetadata"].get("RetryAttempts", 0)
            raise


def _etag_of(transfer: Transfer, key: str, write_id: str) -> str | None:
    """The ETag of the object if it is the one that this write made."""
    try:
        head = transfer.client.head_object(**transfer.where(key))
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return head["ETag"] if head["Metadata"].get(_WRITE_ID) == write_id else None


def remove(transfer: Transfer, key: str, etag: str) -> None:
    """Delete an object that has this ETag. Raises `Conflict`, `Unreachable`."""
    where, tries = transfer.where(key), _Tries()
    with translated(transfer.location, key):
        try:
            with tries.counted():
                transfer.client.delete_object(**where, IfMatch=etag)
        except ClientError as error:
            if not (is_conflict(error) or is_missing(error)):
                raise
            if not (tries.several and _is_gone(transfer, key)):
                raise changed(key) from None


def _is_gone(transfer: Transfer, key: str) -> bool:
    try:
        transfer.client.head_object(**transfer.where(key))
    except ClientError as error:
        if is_missing(error):
            return True
        raise
    return False
