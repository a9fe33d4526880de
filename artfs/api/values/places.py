"""Where values are written to and read from, as protocols: what the package needs of an artifact.

Names are paths inside the artifact, with `/` between their parts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from artfs.api.values.optional import is_array, is_scalar, plain_of

if TYPE_CHECKING:
    from artfs.api.values.base import Value

#: Anything that JSON has a form for: what a document holds is checked where it is used.
JsonValue: TypeAlias = Any
#: A JSON object.
Json: TypeAlias = dict[str, Any]


class ForeignEntry(Protocol):
    """An entry of another artifact, as `get_path` gives it."""

    path: str
    digest: str

    def ref_url(self) -> str:
        """Its URI, which `Target.add_reference` takes with it."""


class Target(Protocol):
    """An artifact that is being made."""

    #: The values written so far by their `id`, with the names of their files. Empty to begin with;
    #: only this package changes it. It keeps a table that two others refer to from being written
    #: twice, and the values alive, so that their ids stay theirs.
    written: dict[int, tuple[Value, str]]

    def new_file(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file to write, in place of what has this name; it is there when the context ends."""

    def add_file(self, local_path: Path, name: str) -> None:
        """Add a file of the user's. It may be read later: such a file is not ours to delete."""

    def add_reference(self, uri: str | ForeignEntry, name: str) -> None:
        """Add what lies elsewhere (`s3://…`, a file of another artifact) as a reference called
        exactly `name`."""

    def add_stored(self, source: Source, stored: str, name: str) -> None:
        """Add the file `stored` of another artifact; not read where that is of the same store."""

    def has(self, name: str) -> bool:
        """Whether there is a file or a reference of this name."""

    def added(self, local_path: Path) -> str | None:
        """The name under which this local file was added before, by whomever."""


class Source(Protocol):
    """An artifact that can be read.

    The names asked for come from files in it, which may say anything: one that is not of a file
    inside, such as `../x`, is `NotFound`.
    """

    def open(self, name: str) -> BinaryIO:
        """The content of a file. Raises `NotFound`."""

    def local(self, name: str) -> Path:
        """A local file with the content of a file or reference, fetched when this is called.

        It ends like `name`: media types are told by that. Raises `NotFound`.
        """

    def has(self, name: str) -> bool:
        """Whether there is a file or a reference of this name."""

    def origin(self, name: str) -> tuple[Source, str]:
        """Where a file is that a document may be read from: of a reference to another artifact,
        that artifact and the name there, as the names in the document are of it. Raises `NotFound`.
        """

    def names(self, directory: str) -> Iterable[str]:
        """The names of all files at any depth below a directory, whole, in a fixed order."""


def encode(document: object) -> bytes:
    """A JSON document byte for byte as W&B writes it, so that equal ones have equal digests.

    Raises `TypeError` for what JSON has no form for; numpy's numbers and arrays have one.
    """
    return json.dumps(document, sort_keys=True, default=_plain).encode()


def encode_compact(content: object) -> bytes:
    """The same for JSON in media files, which W&B writes otherwise."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return text.encode()


def _plain(value: object) -> JsonValue:
    if is_array(value) or is_scalar(value):
        return plain_of(value)
    raise TypeError(f"{value!r}, of type {type(value).__name__}, has no form in JSON")


def with_json_keys(items: dict[Any, Any]) -> dict[Any, Any]:
    """The same with keys that JSON takes and can sort: as they are where it does, as W&B leaves
    them to it (`1, 2, 10`, and then strings); else as strings."""
    if all(isinstance(key, str) for key in items):
        return items
    if all(isinstance(key, int | float) for key in items) or items.keys() == {None}:
        return items
    return {str(key): item for key, item in items.items()}


def wandb_digest(content: bytes) -> str:
    """The digest that W&B gives a file in its manifest."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def name_of(content: bytes) -> str:
    """What W&B calls a file that is made by it, and not the user: after its content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()[:20]
