"""Storing blobs: each once, in packs, durable before anything refers to them.

The caller's thread hashes, looks up and compresses; one thread of the writer's own writes and
syncs packs, so that the disk is busy while the next pack is made. Chunks and manifest nodes go to
packs of their own: files of a directory then lie side by side, and so do the nodes.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future

from blake3 import blake3

from artfs.errors import ObjectNotFound
from artfs.format import blob, keys, pack
from artfs.format.pack import BlobKind
from artfs.repo.repository import Repository
from artfs.repo.worker import Worker
from artfs.store.base import BytesLike, ObjectWriter
from artfs.types import BlobRef

#: Bytes handed to the writing thread at once: enough to make the hand-over cheap.
_BATCH = 2 << 20
#: Bytes that may wait for the writing thread; then the caller waits.
_QUEUED = 64 << 20
#: New bytes after which even a store with many packs is listed (see `known.CHEAP_LISTING`).
_WORTH_LISTING = 4 << 20
#: Indexes of packs that are read of a remote store, and bytes for each of which it may be one more.
_INDEXES, _BYTES_PER_INDEX = 64, 256 << 10


class PackWriter:
    """Stores blobs of one commit; a context manager that drops what was not finished.

    For one thread at a time.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._known = repository.known
        self._thread = Worker("artfs-pack")
        self._room = threading.Semaphore(_QUEUED // _BATCH)
        self._own: dict[bytes, BlobRef] = {}
        self._looked_up: dict[bytes, BlobRef | None] = {}
        self._reused: set[bytes] = set()
        self._done: list[_OpenPack] = []
        self._open: dict[BlobKind, _OpenPack] = {}
        self._refreshed = False
        self._refresh_at = _WORTH_LISTING
        #: Bytes of the blobs stored anew.
        self.stored = 0

    def look_up(self, digests: Iterable[bytes]) -> None:
        """Find out at one go which of some blobs, about to be stored, are stored already."""
        self._looked_up = {}
        wanted = [digest for digest in digests if digest not in self._own]
        worth = self.stored >= self._refresh_at
        if wanted and (worth or not self._refreshed) and (worth or self._known.is_cheap()):
            self._refresh()
        found = self._known.find(wanted)
        self._looked_up = {digest: found.get(digest) for digest in wanted}

    def _refresh(self) -> None:
        """Look for what other machines have stored.

        Over a network the index of a pack costs a request, so as many are read as the bytes stored
        so far make worth while, and more when there are four times as many.
        """
        self._refreshed = True
        all_known = self._known.refresh(_INDEXES + self.stored // _BYTES_PER_INDEX)
        self._refresh_at = sys.maxsize if all_known else max(_WORTH_LISTING, 4 * self.stored)

    def chunk(self, data: BytesLike, digest: bytes | None = None) -> BlobRef:
        """Store a chunk of file content unless it is stored already.

        `data` must not change until `finish`. Raises `OSError` (ENOSPC), `Unreachable`.
        """
        return self._add(BlobKind.CHUNK, data, digest or blake3(data).digest())

    def node(self, data: bytes) -> BlobRef:
        """Store a manifest node unless it is stored already. Raises as `chunk`."""
        ref = self._add(BlobKind.NODE, data, blake3(data).digest())
        if self.repository.store.is_remote:
            self.repository.blobs.made(ref, data)
        return ref

    def _add(self, kind: BlobKind, data: BytesLike, digest: bytes) -> BlobRef:
        ref = self._own.get(digest)
        if ref is not None:
            return ref
        if digest not in self._looked_up:
            self.look_up((digest,))
        ref = self._looked_up[digest]
        if ref is not None:
            self._reused.add(ref.pack)
            return ref
        stored = blob.encode(data)
        target = self._open.get(kind)
        if target is None:
            target = self._open[kind] = _OpenPack(self.repository, self._thread, self._room)
        ref = self._own[digest] = target.append(kind, stored, digest, len(data))
        self.stored += len(stored)
        if target.offset >= pack.TARGET_SIZE:
            self._close(kind)
        return ref

    def _close(self, kind: BlobKind) -> None:
        target = self._open.pop(kind)
        self._done.append(target)
        target.close()

    def settle(self) -> None:
        """Make what was stored so far readable (and durable). Raises as `finish`."""
        for kind in list(self._open):
            self._close(kind)
        for target in self._done:
            target.wait()

    def finish(self) -> None:
        """Make everything durable; more may be stored after it, and finished again.

        Raises `OSError` (ENOSPC), `Unreachable`, and `ObjectNotFound` if a pack that blobs were to
        be shared with is gone: what was built refers to it and must be built again.
        """
        self.settle()
        gone = sorted(self._reused - self._known.there(self._reused))
        for pack_id in gone:
            self._known.forget(pack_id)
        if gone:
            raise ObjectNotFound(keys.pack(gone[0]))
        for target in self._done:
            self._known.add(target.id, [ref for _, ref in target.blobs])
        self._done.clear()

    def abort(self) -> None:
        """Give up; unfinished packs are dropped. Idempotent, and harmless after `finish`."""
        self._thread.shutdown()
        for target in (*self._done, *self._open.values()):
            target.abort()
        self._open.clear()

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class _OpenPack:
    """A pack being written. `append` is called by the owner, the rest runs in its thread."""

    def __init__(self, repository: Repository, thread: Worker, room: threading.Semaphore) -> None:
        self.id = secrets.token_bytes(16)
        self.blobs: list[tuple[BlobKind, BlobRef]] = []
        self.offset = len(pack.HEADER)
        self._repository = repository
        self._thread = thread
        self._room = room
        self._writer: ObjectWriter | None = None
        self._parts: list[BytesLike] = [pack.HEADER]
        self._pending = 0
        self._jobs: list[Future[None]] = []
        self._failed = False

    def append(self, kind: BlobKind, stored: BytesLike, digest: bytes, size: int) -> BlobRef:
        ref = BlobRef(digest, size, self.id, self.offset, len(stored))
        self.blobs.append((kind, ref))
        self._parts.append(stored)
        self.offset += len(stored)
        self._pending += len(stored)
        if self._pending >= _BATCH:
            self._hand_over()
        return ref

    def _hand_over(self) -> None:
        parts, self._parts, self._pending = self._parts, [], 0
        self._room.acquire()
        self._jobs = [job for job in self._jobs if not job.done() or job.exception()]
        self._raise_failed()
        self._jobs.append(self._thread.submit(self._write, parts))

    def _raise_failed(self) -> None:
        for job in self._jobs:
            if job.done():
                job.result()

    def _write(self, parts: list[BytesLike]) -> None:
        # After a failure nothing more is written: what follows a gap makes no pack.
        try:
            if not self._failed:
                if self._writer is None:
                    self._writer = self._repository.store.writer(keys.pack(self.id))
                self._writer.write(parts)
        except BaseException:
            self._failed = True
            raise
        finally:
            self._room.release()

    def close(self) -> None:
        self._parts.append(pack.encode_index(self.blobs, self.offset))
        self._hand_over()
        self._jobs.append(self._thread.submit(self._commit))

    def _commit(self) -> None:
        if self._writer is not None and not self._failed:
            self._writer.commit()

    def wait(self) -> None:
        for job in self._jobs:
            job.result()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
