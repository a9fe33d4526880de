"""A new object, uploaded while it is being written: in one request if it is small, else in parts.

A part that fails is sent again alone. The object appears when all parts are there and the upload
is completed; what is never completed takes room in the bucket until `sweep` or a lifecycle rule
removes it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from artfs.errors import ObjectNotFound, Refused, Unreachable
from artfs.store.base import BytesLike, ObjectWriter
from artfs.store.s3.errors import code_of, translated
from artfs.store.s3.transfer import Transfer, checksum

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = logging.getLogger(__name__)

#: A pack of 32 MiB is two of these and a little: four requests more than in one piece.
PART = 16 << 20
#: Parts of one store that may be in memory at once.
PARTS_AT_ONCE = 4
_STALE = timedelta(days=7)


class S3Writer(ObjectWriter):
    """Belongs to one thread at a time; parts are sent by threads of their own.

    Not by an executor: that takes no work when the interpreter exits, and a program whose last
    line logs an artifact commits it then.
    """

    def __init__(self, transfer: Transfer, key: str, room: threading.Semaphore) -> None:
        transfer.where(key)
        self._transfer = transfer
        self._key = key
        self._room = room
        self._buffer = bytearray()
        self._size = 0
        self._upload = ""
        self._parts: list[Future[CompletedPartTypeDef]] = []
        self._open = True

    def write(self, parts: Sequence[BytesLike]) -> None:
        self._require_open()
        try:
            for part in parts:
                self._append(memoryview(part))
        except BaseException:
            self.abort()
            raise

    def _append(self, data: memoryview) -> None:
        while len(data) > PART - len(self._buffer):
            left = PART - len(self._buffer)
            self._buffer += data[:left]
            data = data[left:]
            self._send()
        self._buffer += data

    def _send(self) -> None:
        """Send off the buffer as a part."""
        self._raise_failed()
        if not self._upload:
            with translated(self._transfer.location, self._key):
                self._upload = self._transfer.client.create_multipart_upload(
                    **self._transfer.where(self._key), ChecksumAlgorithm="SHA256"
                )["UploadId"]
        body, self._buffer = bytes(self._buffer), bytearray()
        self._size += len(body)
        job: Future[CompletedPartTypeDef] = Future()
        number = len(self._parts) + 1
        name = f"artfs-upload-{number}"
        thread = threading.Thread(target=self._put_part, args=(job, number, body), name=name)
        self._room.acquire()
        try:
            thread.start()
        except RuntimeError as error:  # no more threads; nobody would ever finish the job
            self._room.release()
            what = f"{self._transfer.location.url}/{self._key}"
            raise Unreachable(what, f"this machine starts no more threads: {error}") from error
        self._parts.append(job)

    def _put_part(self, job: Future[CompletedPartTypeDef], number: int, body: bytes) -> None:
        transfer = self._transfer
        digest = checksum(body)
        where = transfer.where(self._key)
        try:
            with translated(transfer.location, self._key):
                answer = transfer.retrying(
                    lambda: transfer.client.upload_part(
                        **where, UploadId=self._upload, PartNumber=number, Body=body,
                        ChecksumSHA256=digest,
                    )
                )  # fmt: skip
        except BaseException as error:
            job.set_exception(error)
        else:
            job.set_result({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest})
        finally:
            self._room.release()

    def _raise_failed(self) -> None:
        for part in self._parts:
            if part.done():
                part.result()

    def commit(self) -> None:
        self._require_open()
        try:
            if not self._upload:
                with translated(self._transfer.location, self._key):
                    self._transfer.put(self._key, bytes(self._buffer))
            else:
                self._send()
                self._complete([part.result() for part in self._parts])
        except BaseException:
            self.abort()
            raise
        self._open = False

    def _complete(self, parts: list[CompletedPartTypeDef]) -> None:
        transfer = self._transfer
        with translated(transfer.location, self._key):
            try:
                transfer.client.complete_multipart_upload(
                    **transfer.where(self._key), UploadId=self._upload,
                    MultipartUpload={"Parts": parts},
                )  # fmt: skip
            except ClientError as error:
                # It may be complete, and only the answer to our first request lost.
                if code_of(error) != "NoSuchUpload" or not self._is_there():
                    raise

    def _is_there(self) -> bool:
        with contextlib.suppress(ObjectNotFound):
            return self._transfer.info(self._key).size == self._size
        return False

    def abort(self) -> None:
        if not self._open:
            return
        self._open = False
        self._buffer = bytearray()
        failures = [part.exception() for part in self._parts]  # none is being sent any more
        if not self._upload or any(map(_is_down, failures)):
            return  # asking a server that does not answer would only take time
        try:
            self._transfer.client.abort_multipart_upload(
                **self._transfer.where(self._key), UploadId=self._upload
            )
        except (BotoCoreError, ClientError) as error:
            log.debug("the unfinished upload of %s stays: %s", self._key, error)

    def _require_open(self) -> None:
        if not self._open:
            raise ValueError(f"the writer of {self._key} has failed or is finished")


def _is_down(error: BaseException | None) -> bool:
    return isinstance(error, Unreachable) and not isinstance(error, Refused)


def sweep(transfer: Transfer) -> None:
    """Drop uploads that were begun a week ago and never completed. Raises what botocore does.

    Not of a store that is a whole bucket: there they may be anybody's.
    """
    location, client = transfer.location, transfer.client
    if not location.prefix:
        return
    before = datetime.now(UTC) - _STALE
    pages = client.get_paginator("list_multipart_uploads").paginate(
        Bucket=location.bucket, Prefix=location.prefix
    )
    for page in pages:
        for upload in page.get("Uploads", ()):
            if upload["Initiated"] < before:
                client.abort_multipart_upload(
                    Bucket=location.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
