"""The reader of each scheme, made when it is first needed: their libraries take long to load."""

from __future__ import annotations

import importlib.util
import os
import threading
import weakref

from artfs.errors import Unsupported
from artfs.sources.base import Source
from artfs.store.options import StoreOptions


class Sources:
    """The readers of one process. Thread-safe."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._opened: dict[str, Source] = {}
        self._process = os.getpid()
        #: Releases connections; also when nobody has this object any more.
        self.close = weakref.finalize(self, _close, self._lock, self._opened)

    def of(self, scheme: str) -> Source | None:
        """The reader of a scheme; None if there is none. Raises `Unsupported` if what it needs is
        not installed."""
        scheme = "http" if scheme == "https" else scheme
        with self._lock:
            if self._process != os.getpid():
                self._opened.clear()  # a child process must not use its parent's connections
                self._process = os.getpid()
            source = self._opened.get(scheme)
            if source is None:
                source = self._open(scheme)
                if source is not None:
                    self._opened[scheme] = source
            return source

    def _open(self, scheme: str) -> Source | None:
        if scheme == "http":
            from artfs.sources.http import HttpSource

            return HttpSource(self._options.sources)
        if scheme == "file":
            from artfs.sources.files import FileSource

            return FileSource(self._options.sources)
        if scheme == "s3":
            from artfs.sources.s3 import S3Source

            return S3Source(self._options.s3)
        if scheme == "gs":
            if importlib.util.find_spec("google") is None or (
                importlib.util.find_spec("google.cloud.storage") is None
            ):
                raise Unsupported(
                    "gs:// references", "need the package google-cloud-storage",
                    "pip install 'artfs[gs]'",
                )  # fmt: skip
            from artfs.sources.gs import GoogleSource

            return GoogleSource()
        return None


def _close(lock: threading.Lock, opened: dict[str, Source]) -> None:
    with lock:
        for source in opened.values():
            source.close()
        opened.clear()
