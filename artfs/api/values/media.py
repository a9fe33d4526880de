"""Values whose document points to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from artfs.api.values.base import Value
from artfs.api.values.content import Content, Stored
from artfs.api.values.places import Json, Source, Target


class Media(Value):
    """A value with a file. Its attributes `path`, `sha256` and `size` are the file's."""

    #: The directory of an artifact in which the files of this type lie.
    folder: ClassVar[str]

    def __init__(self, content: Content, caption: str | None = None) -> None:
        self._content = content
        self.caption = caption

    @property
    def path(self) -> Path:
        """The file, local. Fetches it where the value was read from an artifact. A file that
        was made here, and not by the user, goes with the value."""
        return self._content.local()

    @property
    def sha256(self) -> str:
        """In hex; of the URI where the file is a reference."""
        return self._content.sha256

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.path.stat().st_size

    def to_json(self, target: Target) -> Json:
        document: Json = {
            "_type": self.type_name,
            "path": self._content.put(self.folder, target),
            "sha256": self._content.sha256,
        }
        if self.caption is not None:
            document["caption"] = self.caption
        return document

    def __eq__(self, other: object) -> bool:
        """By content and caption."""
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Media)
        return self.sha256 == other.sha256 and self.caption == other.caption

    def __hash__(self) -> int:
        return hash(self.sha256)


def stored(document: Json, source: Source) -> Stored:
    """The file that a document points to. Raises `TypeError` if it points to none."""
    path: Any = document["path"]
    sha256: Any = document.get("sha256")
    if not isinstance(path, str):
        raise TypeError(f"path is a {type(path).__name__}")
    return Stored(source, path, sha256 if isinstance(sha256, str) else None)
