"""`s3://BUCKET/KEY[?versionId=ID]`, an object or a prefix, from where stores in S3 are, too.

An object is told apart by its ETag, which every request names. Where the bucket keeps versions the
id of the version is recorded as well, and that version is what is read: it stays when the object is
overwritten or deleted. If that version is gone, an object with the same ETag will do.
"""

from __future__ import annotations

import posixpath
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from artfs.errors import (
    ArtfsError,
    InvalidValue,
    NotFound,
    ObjectNotFound,
    Refused,
    SourceRefused,
    Unreachable,
)
from artfs.format.reference import Reference
from artfs.sources.base import (
    ENDLESS,
    MAX_OBJECTS,
    Found,
    changed,
    relative_path,
    shown,
    too_many,
)
from artfs.store.options import S3Options
from artfs.store.s3.client import connect
from artfs.store.s3.errors import code_of, is_conflict, is_missing, status_of, translate
from artfs.store.s3.location import Location

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_PIECE = 256 << 10
_URI = re.compile(
    r"[sS]3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))??(?:\?versionId=([^?&#]+))?\Z", re.DOTALL
)
#: The version id of an object from before its bucket kept versions.
_NO_VERSION = "null"


#: What is said of a source otherwise than of a store, by code: why, and what to do. The answer to
#: a HEAD has no more than a status.
_DENIED = "access denied", "reading it takes s3:GetObject, and s3:ListBucket below a prefix"
_REFUSALS = {"AccessDenied": _DENIED, "403": _DENIED, "NoSuchBucket": ("no such bucket", "")}


class S3Source:
    """Reads S3. Thread-safe."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._connected: S3Client | None = None

    def _client(self, uri: str) -> S3Client:
        with self._lock:
            if self._connected is None:
                self._connected = connect(self._options, shown(uri))
            return self._connected

    def describe(self, uri: str, *, checksum: bool, max_objects: int | None) -> Sequence[Found]:
        """See `Source`."""
        bucket, key, version = _parsed(uri)
        client = self._client(uri)
        if key and not key.endswith("/"):
            try:
                about = client.head_object(Bucket=bucket, Key=key, **_version(version))
            except ClientError as error:
                if version or not is_missing(error):
                    raise _missing(uri, bucket, key, version, error) from error
            except BotoCoreError as error:
                raise _said(bucket, key, error) from error
            else:
                return [_found(uri, posixpath.basename(key), about, checksum, itself=True)]
        limit = MAX_OBJECTS if max_objects is None else max_objects
        prefix = f"{key.rstrip('/')}/" if key else ""
        found: list[Found] = []
        try:
            for about in _listed(client, bucket, prefix):
                if len(found) == limit:
                    raise too_many(uri, limit)
                path = relative_path(about["Key"], prefix, uri)
                there = f"s3://{bucket}/{about['Key']}"
                if _parsed(there) != (bucket, about["Key"], ""):
                    raise InvalidValue(
                        f"{shown(uri)}: object '{about['Key']}'", "ends as a URI with a version",
                        "choose a prefix without it",
                    )  # fmt: skip
                found.append(_found(there, path, about, checksum))
        except (BotoCoreError, ClientError) as error:
            raise _said(bucket, prefix, error) from error
        if not found:
            raise NotFound(shown(uri), "there is no such object, and none below it")
        return found

    def require_allowed(self, reference: Reference) -> None:
        """See `Source`; the server decides."""

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """See `Source`."""
        bucket, key, given = _parsed(reference.uri)
        version = reference.version or given
        for last in (False, True):
            try:
                yield from self._pieces(reference, size, start, end, bucket, key, version)
                return
            except ClientError as error:
                if is_missing(error) and reference.version and not last:
                    version = given  # the ETag is the same, or it is an error
                    continue
                raise _reading(reference, bucket, key, error) from error
            except BotoCoreError as error:
                raise _said(bucket, key, error) from error

    def _pieces(
        self, reference: Reference, size: int, start: int, end: int,
        bucket: str, key: str, version: str,
    ) -> Iterator[bytes]:  # fmt: skip
        client = self._client(reference.uri)
        wanted: dict[str, Any] = {"Bucket": bucket, "Key": key, **_version(version)}
        if reference.checksum_kind == "etag":
            wanted["IfMatch"] = reference.checksum_value
        if start >= end:
            head = client.head_object(**wanted)
            _check(reference, size, head["ETag"], head["ContentLength"])
            return
        wanted["Range"] = f"bytes={start}-{'' if end >= ENDLESS else end - 1}"
        try:
            answer = client.get_object(**wanted)
        except ClientError as error:
            if status_of(error) == 416 and not reference.sized:
                return
            raise
        body = answer["Body"]
        try:
            span = answer.get("ContentRange", "")
            if not span.startswith(f"bytes {start}-") and (span or start):
                raise SourceRefused(shown(reference.uri), "the server does not read ranges")
            total = span.rpartition("/")[2]
            _check(reference, size, answer["ETag"], int(total) if total.isdecimal() else None)
            left = end - start
            for piece in body.iter_chunks(_PIECE):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return
        finally:
            body.close()

    def size(self, reference: Reference) -> int | None:
        """See `Source`."""
        bucket, key, given = _parsed(reference.uri)
        try:
            about = self._client(reference.uri).head_object(
                Bucket=bucket, Key=key, **_version(reference.version or given)
            )
        except (BotoCoreError, ClientError) as error:
            raise _reading(reference, bucket, key, error) from error
        return about["ContentLength"]

    def close(self) -> None:
        """See `Source`."""
        with self._lock:
            if self._connected is not None:
                self._connected.close()
                self._connected = None


def _parsed(uri: str) -> tuple[str, str, str]:
    match = _URI.match(uri)
    if match is None:
        raise InvalidValue(
            f"reference '{shown(uri)}'", "is not s3://BUCKET/KEY with the name of a bucket"
        )
    return match[1], match[2] or "", match[3] or ""


def _version(version: str) -> dict[str, Any]:
    return {"VersionId": version} if version else {}


def _listed(client: S3Client, bucket: str, prefix: str) -> Iterator[Any]:
    """What is said of each object below a prefix; with version ids, if the bucket keeps versions
    and we may know. Not of what consoles make for an empty folder."""
    try:
        keeps = "Status" in client.get_bucket_versioning(Bucket=bucket)
    except ClientError:
        keeps = False  # we need not be allowed to ask, and not every server knows
    if keeps:
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        try:
            for page in pages:
                yield from (
                    one for one in page.get("Versions", ())
                    if one["IsLatest"] and not one["Key"].endswith("/")
                )  # fmt: skip
            return
        except ClientError as error:
            # s3:ListBucketVersions is another right than s3:ListBucket, which will do.
            if code_of(error) != "AccessDenied":
                raise
    for listing in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (one for one in listing.get("Contents", ()) if not one["Key"].endswith("/"))


def _found(uri: str, path: str, about: Any, checksum: bool, itself: bool = False) -> Found:  # noqa: ANN401  # an answer of one of three requests
    when: datetime = about["LastModified"]
    mtime_ns = int(when.timestamp() * 1e6) * 1000
    if not checksum:
        return Found(path, Reference(uri, sized=False), 0, mtime_ns, itself=itself)
    version = about.get("VersionId", "")
    reference = Reference(uri, f"etag:{about['ETag']}", "" if version == _NO_VERSION else version)
    size = about["ContentLength"] if "ContentLength" in about else about["Size"]
    return Found(path, reference, size, mtime_ns, itself=itself)


def _check(reference: Reference, size: int, etag: str, total: int | None) -> None:
    if reference.checksum_kind == "etag" and etag != reference.checksum_value:
        raise changed(reference, f"its etag is {etag}")
    if reference.sized and total not in (None, size):
        raise changed(reference, f"it has {total} bytes, not {size}")


def _missing(
    uri: str, bucket: str, key: str, version: str, error: ClientError
) -> ArtfsError | OSError:
    if version and (is_missing(error) or status_of(error) == 400):  # an id that is none
        return NotFound(shown(uri), "has no such version")
    return _said(bucket, key, error)


def _reading(reference: Reference, bucket: str, key: str, error: Exception) -> ArtfsError | OSError:
    if isinstance(error, ClientError) and (is_conflict(error) or status_of(error) == 416):
        return changed(reference, f"the server answers {status_of(error)}")
    found = _said(bucket, key, error)
    if isinstance(found, ObjectNotFound):
        return changed(reference, "it is gone")
    return found


def _said(bucket: str, key: str, error: Exception) -> ArtfsError | OSError:
    """The error in our words; refused is the source, and not the store."""
    found = translate(Location(bucket, ""), key, error)
    code = code_of(error) if isinstance(error, ClientError) else ""
    if isinstance(found, Refused):
        why, hint = _REFUSALS.get(code, (found.why, found.hint))
        return SourceRefused(found.what, why, hint)
    if isinstance(found, Unreachable) and not code:
        return Unreachable(found.what, found.why, "check the network, and s3_endpoint")
    return found
