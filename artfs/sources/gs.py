"""`gs://BUCKET/KEY[#GENERATION]`, an object or a prefix, by Google's own client library.

Needs the extra `gs`. The library finds credentials and, for an emulator, STORAGE_EMULATOR_HOST;
where there are no credentials it asks as anybody. A generation is what an object was at one time:
its bytes never change, but it goes when the object is overwritten in a bucket without versioning.
"""

from __future__ import annotations

import base64
import contextlib
import posixpath
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import requests
from google.api_core import exceptions as answers
from google.auth import exceptions as credentials
from google.cloud import storage

from artfs.errors import InvalidValue, NotFound, SourceRefused, Unreachable
from artfs.format.reference import Reference
from artfs.sources.base import MAX_OBJECTS, Found, changed, relative_path, shown, too_many

_LOGIN = "gcloud auth application-default login makes credentials"
_TIMEOUT = (10.0, 20.0)
#: What one request asks for: the library gives bytes, not a stream.
_PIECE = 8 << 20
_URI = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*?))??(?:#(\d+))?\Z", re.DOTALL)


class GoogleSource:
    """Reads Google Cloud Storage. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: Any = None  # google.cloud.storage ships no types

    @property
    def _client(self) -> Any:  # noqa: ANN401  # google.cloud.storage ships no types
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = storage.Client(project="-")  # nothing here is of a project
                except credentials.DefaultCredentialsError:
                    self._opened = storage.Client.create_anonymous_client()
            return self._opened

    def describe(self, uri: str, *, checksum: bool, max_objects: int | None) -> Sequence[Found]:
        """See `Source`."""
        bucket, key, generation = _parsed(uri)
        limit = MAX_OBJECTS if max_objects is None else max_objects
        with _failures(uri):
            if key and not key.endswith("/"):
                blob = self._client.bucket(bucket).get_blob(
                    key, generation=generation, timeout=_TIMEOUT, retry=None
                )
                if blob is not None:
                    return [_found(blob, posixpath.basename(key), uri, checksum, itself=True)]
                if generation is not None:
                    raise NotFound(shown(uri), f"has no generation {generation}")
            prefix = f"{key.rstrip('/')}/" if key else ""
            blobs = self._client.list_blobs(
                bucket, prefix=prefix, max_results=limit + 1, timeout=_TIMEOUT, retry=None
            )
            found = [
                _found(blob, relative_path(blob.name, prefix, uri), "", checksum)
                for blob in blobs
                if not blob.name.endswith("/")  # what consoles make for an empty folder
            ]
        if not found:
            raise NotFound(shown(uri), "there is no such object, and none below it")
        if len(found) > limit:
            raise too_many(uri, limit)
        return found

    def require_allowed(self, reference: Reference) -> None:
        """See `Source`; the server decides."""

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """See `Source`."""
        bucket, key, given = _parsed(reference.uri)
        generation = int(reference.version) if reference.version else given
        with _failures(reference.uri):
            blob = self._client.bucket(bucket).blob(key, generation=generation)
            if start >= end:
                self._still(blob, reference, size)
            while start < end:
                try:
                    piece = _download(blob, start, end)
                except answers.NotFound:
                    piece = _download(self._again(reference, size), start, end)
                except answers.RequestRangeNotSatisfiable as error:
                    if reference.sized:
                        raise changed(reference, "it is shorter") from error
                    return
                if not piece:
                    return
                yield piece
                start += len(piece)

    def _still(self, blob: Any, reference: Reference, size: int) -> None:  # noqa: ANN401  # no types
        try:
            blob.reload(timeout=_TIMEOUT, retry=None)
        except answers.NotFound:
            self._again(reference, size)

    def size(self, reference: Reference) -> int | None:
        """See `Source`."""
        bucket, key, generation = _parsed(reference.uri)
        with _failures(reference.uri):
            blob = self._client.bucket(bucket).get_blob(
                key, generation=generation, timeout=_TIMEOUT, retry=None
            )
        if blob is None:
            raise changed(reference, "it is gone")
        found: int | None = blob.size
        return found

    def _again(self, reference: Reference, size: int) -> Any:  # noqa: ANN401  # no types
        """The object as it is now where the generation that was recorded is gone, if it is equal.

        Raises `SourceChanged`.
        """
        bucket, key, given = _parsed(reference.uri)
        if given is not None and not reference.checksum:
            raise changed(reference, f"generation {given} is gone")
        blob = self._client.bucket(bucket).get_blob(key, timeout=_TIMEOUT, retry=None)
        if blob is None:
            raise changed(reference, "it is gone")
        if reference.checksum and (blob.size, _checksum(blob)) != (size, reference.checksum):
            raise changed(reference, f"generation {reference.version} is gone")
        return self._client.bucket(bucket).blob(key, generation=blob.generation)

    def close(self) -> None:
        """See `Source`."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


def _download(blob: Any, start: int, end: int) -> bytes:  # noqa: ANN401  # no types
    data: bytes = blob.download_as_bytes(
        start=start, end=min(end, start + _PIECE) - 1, raw_download=True, checksum=None,
        timeout=_TIMEOUT, retry=None,
    )  # fmt: skip
    return data


def _parsed(uri: str) -> tuple[str, str, int | None]:
    match = _URI.match(uri.partition(":")[0].lower() + ":" + uri.partition(":")[2])
    if match is None:
        raise InvalidValue(
            f"reference '{shown(uri)}'", "is not gs://BUCKET/KEY with the name of a bucket"
        )
    return match[1], match[2] or "", int(match[3]) if match[3] else None


def _checksum(blob: Any) -> str:  # noqa: ANN401  # no types
    if blob.md5_hash:
        return f"md5:{base64.b64decode(blob.md5_hash).hex()}"
    return f"crc32c:{blob.crc32c}" if blob.crc32c else f"etag:{blob.etag}"  # composed of others


def _found(
    blob: Any,  # noqa: ANN401  # no types
    path: str,
    uri: str,
    checksum: bool,
    itself: bool = False,
) -> Found:
    if not uri:
        uri = f"gs://{blob.bucket.name}/{blob.name}"
        if _parsed(uri)[1] != blob.name:  # it ends as a URI with a generation: say which
            uri += f"#{blob.generation}"
    updated: datetime | None = blob.updated
    mtime_ns = int(updated.timestamp() * 1e6) * 1000 if updated is not None else 0
    if not checksum:
        return Found(path, Reference(uri, sized=False), 0, mtime_ns, itself=itself)
    reference = Reference(uri, _checksum(blob), str(blob.generation or ""))
    return Found(path, reference, blob.size or 0, mtime_ns, itself=itself)


@contextlib.contextmanager
def _failures(uri: str) -> Iterator[None]:
    """What the library and what it is made of raise, as ours."""
    try:
        yield
    except answers.NotFound as error:
        raise NotFound(shown(uri), "no such bucket") from error
    except (answers.Unauthorized, answers.Forbidden) as error:
        why, hint = "access denied", "reading it takes the role Storage Object Viewer"
        if isinstance(error, answers.Unauthorized):
            why, hint = "there are no credentials, or none that are valid", _LOGIN
        raise SourceRefused(shown(uri), why, hint) from error
    except (answers.TooManyRequests, answers.ServerError, answers.RetryError) as error:
        raise Unreachable(shown(uri), f"the server answers {_said(error)}") from error
    except answers.GoogleAPICallError as error:
        raise SourceRefused(shown(uri), f"the server answers {_said(error)}") from error
    except (requests.exceptions.RequestException, credentials.TransportError) as error:
        why = "the server cannot be reached, or the line broke"
        raise Unreachable(shown(uri), why, "check the network") from error
    except credentials.GoogleAuthError as error:
        raise SourceRefused(shown(uri), f"no credentials: {_line(error)}", _LOGIN) from error


def _said(error: answers.GoogleAPICallError | answers.RetryError) -> str:
    """The status and the server's own words; the library puts the request before these."""
    words = re.sub(r"^[A-Z]+ https?://\S+: ", "", " ".join(error.message.split()))[:200]
    code = getattr(error, "code", None)
    return words if code is None else f"{int(code)}: {words}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
