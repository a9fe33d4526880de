"""Requests with a body. What botocore does not try again by itself, this does: a body that broke
off half way is continued where it broke, an upload that arrived damaged is sent anew.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)

from artfs.errors import Damaged, Refused
from artfs.store.base import ObjectInfo
from artfs.store.s3.errors import code_of, is_race, status_of, translated
from artfs.store.s3.location import Location

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")

#: Of a body that is handed on while it comes. The kernel writes pieces that are still in the
#: processor's cache to a file three times as fast as 4 MiB in one piece.
_PIECE = 256 << 10
_BROKEN_UPLOAD = frozenset(
    {"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class Whole(msgspec.Struct, frozen=True):
    """An object's bytes and its ETag."""

    data: bytes
    etag: str


class Transfer:
    """The requests of one store. Thread-safe."""

    def __init__(self, client: S3Client, location: Location, attempts: int) -> None:
        self.client = client
        self.location = location
        self._attempts = attempts
        self._copying = threading.local()
        client.meta.events.register("request-created.s3.GetObject", self._before_request)

    def _before_request(self, **_: object) -> None:
        """Called for each attempt, also those that botocore makes by itself."""
        write = getattr(self._copying, "write", None)
        if write is not None:
            write(b"")

    def where(self, key: str) -> dict[str, Any]:  # keyword arguments of any client method
        """Bucket and name of an object. Raises `InvalidValue`."""
        return {"Bucket": self.location.bucket, "Key": self.location.name(key)}

    def get(self, key: str) -> Whole:
        """A whole object, proven by the server's checksum where it has one.

        Raises `ObjectNotFound`, `Damaged`, `Unreachable`.
        """
        where = self.where(key)

        def attempt() -> Whole:
            answer = self.client.get_object(**where, ChecksumMode="ENABLED")
            with _reading():
                return Whole(answer["Body"].read(), answer["ETag"])

        with translated(self.location, key):
            try:
                return self.retrying(attempt)
            except FlexibleChecksumError as error:
                what = f"{self.location.url}/{key}"
                raise Damaged(what, "is not what its checksum says") from error

    def read(self, key: str, offset: int, length: int) -> tuple[bytes, int]:
        """The bytes [offset, offset+length), fewer only at the object's end, and its size.

        Raises `ObjectNotFound`, `Unreachable`.
        """
        parts: list[bytes] = []
        size = self.copy(key, offset, length, parts.append)
        return b"".join(filter(None, parts)), size

    def copy(self, key: str, offset: int, length: int, write: Callable[[bytes], object]) -> int:
        """The same bytes, handed to `write` in pieces as they come, and b"" before each request;
        the object's size.

        Raises as `read`, and what `write` raises, after which nothing more is asked or sent.
        """
        where, got = self.where(key), 0

        def attempt() -> int:
            nonlocal got
            span = f"bytes={offset + got}-{offset + length - 1}"
            answer = self.client.get_object(**where, Range=span)
            if "ContentRange" not in answer:
                raise Refused(self.location.url, "the server does not read ranges of objects")
            with _closed_if_broken(answer["Body"]) as body:
                while piece := _next_piece(body):
                    write(piece)
                    got += len(piece)
            return int(answer["ContentRange"].rpartition("/")[2])

        self._copying.write = write
        with translated(self.location, key):
            try:
                return self.retrying(attempt)
            except ClientError as error:
                if status_of(error) != 416:
                    raise
                return _size_in(error)  # the range begins at or after the end
            finally:
                del self._copying.write

    def info(self, key: str) -> ObjectInfo:
        """Size and time. By a GET of one byte: a HEAD's errors do not say why.

        Raises `ObjectNotFound`, `Unreachable`.
        """
        where = self.where(key)
        with translated(self.location, key):
            try:
                answer = self.client.get_object(**where, Range="bytes=0-0")
            except ClientError as error:
                if status_of(error) != 416:  # an empty object has no first byte
                    raise
                head = self.client.head_object(**where)
                return ObjectInfo(key, head["ContentLength"], head["LastModified"].timestamp())
            answer["Body"].close()
        size = int(answer["ContentRange"].rpartition("/")[2])
        return ObjectInfo(key, size, answer["LastModified"].timestamp())

    def put(self, key: str, data: bytes, **condition: str) -> str:
        """Store an object; its ETag. Raises what botocore does."""
        request = {**self.where(key), **condition}
        digest = checksum(data)
        return self.retrying(
            lambda: self.client.put_object(**request, Body=data, ChecksumSHA256=digest)["ETag"]
        )

    def delete(self, key: str) -> None:
        """Remove an object, if it is there. Raises `Unreachable`."""
        where = self.where(key)
        with translated(self.location, key):
            self.client.delete_object(**where)

    def retrying(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns, made again where botocore does not do it."""
        for number in range(1, self._attempts + 1):
            try:
                return attempt()
            except _Broken as broken:
                if number == self._attempts:
                    raise broken.error from broken
            except ClientError as error:
                if number == self._attempts or not (
                    is_race(error) or code_of(error) in _BROKEN_UPLOAD
                ):
                    raise
            _pause(number)
        raise AssertionError("the last attempt returns or raises")


class _Broken(Exception):
    """The body of an answer broke off, or is not what was sent."""

    def __init__(self, error: BotoCoreError) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (FlexibleChecksumError, HTTPClientError, IncompleteReadError) as error:
        raise _Broken(error) from error


@contextlib.contextmanager
def _closed_if_broken(body: StreamingBody) -> Iterator[StreamingBody]:
    """The body of an answer; what is left of it is not waited for, its connection is closed."""
    try:
        yield body
    except BaseException:
        body.close()
        raise


def _next_piece(body: StreamingBody) -> bytes:
    with _reading():
        return body.read(_PIECE)


def _size_in(error: ClientError) -> int:
    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    end = str(headers.get("content-range", "")).rpartition("/")[2]
    return int(end) if end.isdecimal() else 0


def _pause(attempt: int) -> None:
    """Wait before another attempt, at random, so that many clients do not come back at once."""
    time.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)))


def checksum(data: bytes) -> str:
    """The SHA-256 of bytes as S3 has it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
