"""Whether a server keeps to conditions: without them two writers overwrite each other.

Some servers ignore If-None-Match and If-Match (rclone serve s3, JuiceFS' gateway) or know them in a
form of their own (Ceph before 18). So before the first write to a store they are tried, on an
object made for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from artfs.errors import Unsupported
from artfs.store.keys import PROBE
from artfs.store.s3.errors import is_conflict, is_missing, translated
from artfs.store.s3.transfer import Transfer
from artfs.store.s3.writer import sweep

#: Seconds after which a server is tried again: it may have been replaced.
_REMEMBERED = 86_400.0
_NO_ETAG = '"00000000000000000000000000000000"'
_HINT = "SeaweedFS 4, MinIO, Ceph 18 and AWS do; a store there can still be read"


class Conditions:
    """What is known of one store's server. `memory` is a directory where it is remembered."""

    def __init__(self, transfer: Transfer, memory: Path | None) -> None:
        self._transfer = transfer
        self._memory = memory
        self._known: set[str] = set()

    def check_writes(self) -> None:
        """Try conditional PUTs, and drop what crashes have left.

        Raises `Unsupported`, `Unreachable`.
        """
        if self._is_known("writes"):
            return
        transfer, key = self._transfer, _scratch()
        with translated(transfer.location, key):
            etag = transfer.put(key, b"1", IfNoneMatch="*")
            try:
                why = self._ignored(key, etag)
            finally:
                transfer.client.delete_object(**transfer.where(key))
            if why:
                raise self._unsupported(why)
            with contextlib.suppress(BotoCoreError, ClientError):
                sweep(transfer)
        self._remember("writes")

    def _ignored(self, key: str, etag: str) -> str:
        put = self._transfer.put
        if not _refused(lambda: put(key, b"2", IfNoneMatch="*")):
            return "overwrites objects in spite of If-None-Match"
        if not _refused(lambda: put(key, b"3", IfMatch=_NO_ETAG)):
            return "overwrites objects in spite of If-Match"
        if _refused(lambda: put(key, b"4", IfMatch=etag)):
            return "does not know the ETag that it gave in If-Match"
        return ""

    def check_deletes(self) -> None:
        """Try a conditional DELETE. AWS has them since 2025, others not yet.

        Raises `Unsupported`, `Unreachable`.
        """
        if self._is_known("deletes"):
            return
        transfer, key = self._transfer, _scratch()
        where = transfer.where(key)
        with translated(transfer.location, key):
            transfer.put(key, b"1")
            refused = _refused(lambda: transfer.client.delete_object(**where, IfMatch=_NO_ETAG))
            transfer.client.delete_object(**where)
        if not refused:
            raise self._unsupported("deletes objects in spite of If-Match")
        self._remember("deletes")

    def _unsupported(self, why: str) -> Unsupported:
        return Unsupported(self._transfer.location.url, f"the server {why}", _HINT)

    def _is_known(self, what: str) -> bool:
        if what in self._known:
            return True
        if self._memory is not None:
            with contextlib.suppress(OSError):
                return time.time() - self._mark(self._memory, what).stat().st_mtime < _REMEMBERED
        return False

    def _remember(self, what: str) -> None:
        self._known.add(what)
        if self._memory is not None:
            mark = self._mark(self._memory, what)
            with contextlib.suppress(OSError):
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()

    def _mark(self, memory: Path, what: str) -> Path:
        server = f"{self._transfer.client.meta.endpoint_url} {self._transfer.location.url}"
        return memory / f"{hashlib.sha256(server.encode()).hexdigest()[:32]}.{what}"


def _scratch() -> str:
    return f"{PROBE}{secrets.token_hex(16)}"


def _refused(request: Callable[[], object]) -> bool:
    """Whether the server refuses a request because its condition does not hold."""
    try:
        request()
    except ClientError as error:
        if is_conflict(error) or is_missing(error):
            return True
        raise
    return False
