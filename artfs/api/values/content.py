"""The bytes of a media value: the user's file, bytes made here, a reference, or a file of an
artifact; and how they get into an artifact.

A file is called after its content, so that adding the same again adds nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import weakref
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from artfs.api.values.places import Source, Target, name_of
from artfs.errors import Unsupported

_REFERENCE = re.compile(r"(gs|s3|https?)://")


class Content(Protocol):
    @property
    def sha256(self) -> str:
        """Of the bytes, in hex; of its URI for a reference, as W&B has it."""

    def local(self) -> Path:
        """A local file with the bytes, which is not to be changed. Raises `Unsupported`."""

    def put(self, folder: str, target: Target) -> str:
        """Add it to an artifact below `folder`, unless it is there; returns its name."""


def is_reference(path: object) -> bool:
    return isinstance(path, str) and _REFERENCE.match(path) is not None


def content_of(path: str | Path) -> Content:
    """A file, or a reference (`s3://`, `gs://`, `http(s)://`)."""
    return Reference(str(path)) if is_reference(path) else LocalFile(Path(path))


class LocalFile:
    """A file of the user's, hashed now and read again when it is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def sha256(self) -> str:
        return self._sha256

    def local(self) -> Path:
        return self._path

    def put(self, folder: str, target: Target) -> str:
        name = target.added(self._path)
        if name is not None:
            return name
        name = f"{folder}/{self._sha256[:20]}/{self._path.name}"
        if not target.has(name):
            target.add_file(self._path, name)
        return name


class Staged:
    """Bytes made here, kept in a temporary file: a table may hold more images than memory."""

    def __init__(self, data: bytes, extension: str) -> None:
        self._sha256 = hashlib.sha256(data).hexdigest()
        self._name = name_of(data)
        self._extension = extension
        handle, path = tempfile.mkstemp(suffix=extension, prefix="artfs-media-")
        with open(handle, "wb") as file:
            file.write(data)
        self._path = Path(path)
        weakref.finalize(self, _unlink, self._path, os.getpid())

    def __reduce__(self) -> tuple[object, ...]:
        # A copy, perhaps in another process, has a file of its own: this one goes with this object.
        return Staged, (self._path.read_bytes(), self._extension)

    @property
    def sha256(self) -> str:
        return self._sha256

    def local(self) -> Path:
        return self._path

    def put(self, folder: str, target: Target) -> str:
        name = f"{folder}/{self._name}{self._extension}"
        if not target.has(name):
            # Copied, not added: the file goes with this object.
            with target.new_file(name) as file:
                file.write(self._path.read_bytes())
        return name


def _unlink(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that inherited the finalizer by fork
        path.unlink(missing_ok=True)


class Reference:
    """Something that lies elsewhere and stays there."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.uri.encode()).hexdigest()

    def local(self) -> Path:
        raise Unsupported(self.uri, "is a reference, and not here before it was added and got")

    def put(self, folder: str, target: Target) -> str:
        base = PurePosixPath(urlsplit(self.uri).path).name
        name = f"{folder}/{self.sha256[:20]}/{base}"
        if not target.has(name):
            target.add_reference(self.uri, name)
        return name


class Stored:
    """A file of an artifact, fetched when it is first used.

    `sha256` is what the document says; for a reference it is the URI's, which is of no use.
    """

    def __init__(self, source: Source, name: str, sha256: str | None) -> None:
        self._source = source
        self._name = name
        self._sha256 = sha256

    def __reduce__(self) -> tuple[object, ...]:
        # In another process it is what it would be if it were made there.
        _, dot, endings = PurePosixPath(self._name).name.partition(".")
        return Staged, (self.local().read_bytes(), dot + endings)

    def __deepcopy__(self, _memo: object) -> Stored:
        return self  # it does not change

    @property
    def sha256(self) -> str:
        if self._sha256 is None:
            self._sha256 = LocalFile(self.local()).sha256
        return self._sha256

    def local(self) -> Path:
        return self._source.local(self._name)

    def put(self, folder: str, target: Target) -> str:
        # Names below media/ belong to one content, W&B's as well as ours: keeping them makes a
        # table that goes from version to version use the files that are there.
        name = self._name
        if not name.startswith("media/"):
            name = f"{folder}/{self.sha256[:20]}/{PurePosixPath(name).name}"
        if not target.has(name):
            target.add_stored(self._source, self._name, name)
        return name
