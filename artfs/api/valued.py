"""Values in artifacts: `add` writes a table, an image and so on as files, `get` reads it again."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from artfs.api import paths
from artfs.api.attributes import Attributes
from artfs.api.content import Content
from artfs.api.manifest import ArtifactManifestEntry
from artfs.errors import InvalidValue

if TYPE_CHECKING:
    # Loaded when a value is added or got: it takes as long as all the rest of the API.
    from artfs.api.valuefiles import ValueSource
    from artfs.api.values import Value


class Valued(Attributes):
    """The part of an artifact that takes and gives values."""

    #: Local files that were added, and as what.
    _local_files: dict[str, paths.Path]
    #: Values that were added by their `id`, with their files.
    _written: dict[int, tuple[Value, str]]
    _values_of: ValueSource | None = None

    @abstractmethod
    def _open(self) -> Content:
        """The content, to be changed. Raises `ArtifactFinalizedError`."""

    @abstractmethod
    def get_added_local_path_name(self, local_path: str) -> str | None:
        """See `Artifact`."""

    def add(self, obj: Value, name: str, overwrite: bool = False) -> ArtifactManifestEntry:
        """Add a value: `Table`, `JoinedTable`, `PartitionedTable`, `Image`, `Audio`, `Video`,
        `Html`, `Object3D`, `Bokeh`, `Classes`, `ImageMask` or `BoundingBoxes2D`.

        It is written now, as a JSON file `NAME.TYPE.json`, whose entry is returned, and what it
        consists of below `media/`; what is there already is not written again. A value that has
        the name gives way, also without W&B's `overwrite`, without which W&B would keep that one
        and not say so. `get(name)` reads it, once this is logged.
        Raises `ArtifactFinalizedError`; `InvalidValue` (no value, or `name` is no path);
        `ValueError` and `TypeError` of a value that cannot be written; then nothing is added.
        """
        from artfs.api.valuefiles import ValueTarget
        from artfs.api.values import Value, write

        del overwrite
        if not isinstance(obj, Value) or not obj.type_name:
            why = "is no value, such as a Table or an Image"
            raise InvalidValue(f"object of type {type(obj).__name__}", why, "add_file adds a file")
        path = paths.parse(name)
        with self._lock:
            content = self._open()
            target = ValueTarget(content, self._written, self.get_added_local_path_name)
            file_name = write(obj, paths.text_of(path), target)
            entry = target.finish()[file_name]
            self._written = target.written
            self._local_files.update(target.local_files)
        return ArtifactManifestEntry(file_name, entry)

    def get(self, name: str) -> Value | None:
        """The value that was added as `name`, or whose file that is; None if there is none.

        Only its JSON file is read; files of media are fetched when they are asked for, into a
        temporary directory that lives as long as the value does.
        Raises `ArtifactNotLoggedError`, `Damaged`, `Unreachable`.
        """
        from artfs.api.valuefiles import ValueSource
        from artfs.api.values import find, read

        with self._lock:
            version = self._logged()
            source = self._values_of
            if source is None:
                source = self._values_of = ValueSource(version)
        file_name = find(paths.text_of(paths.parse(name)), source)
        return None if file_name is None else read(file_name, source)

    def __getitem__(self, name: str) -> Value | None:
        """As `get`."""
        return self.get(name)

    def __setitem__(self, name: str, value: Value) -> None:
        """As `add`."""
        self.add(value, name)
