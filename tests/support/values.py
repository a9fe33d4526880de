"""A directory as the artifact that values are written into and read from; and wandb's artifacts."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from artfs.api.values import Source, Value
from artfs.api.values.places import ForeignEntry
from artfs.errors import NotFound


class Folder:
    """`Target` and `Source` in one. References are files that hold the URI."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: dict[int, tuple[Value, str]] = {}
        self.fetched: list[str] = []
        self._added: dict[Path, str] = {}

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[BinaryIO]:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            yield file

    def add_file(self, local_path: Path, name: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local_path, path)
        self._added[local_path] = name

    def add_reference(self, uri: str | ForeignEntry, name: str) -> None:
        with self.new_file(name) as file:
            file.write((uri if isinstance(uri, str) else uri.ref_url()).encode())

    def add_stored(self, source: Source, stored: str, name: str) -> None:
        self.add_file(source.local(stored), name)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def added(self, local_path: Path) -> str | None:
        return self._added.get(local_path)

    def open(self, name: str) -> BinaryIO:
        return self.local(name).open("rb")

    def local(self, name: str) -> Path:
        if not self.has(name):
            raise NotFound(name, "there is no such file")
        self.fetched.append(name)
        return self.root / name

    def origin(self, name: str) -> tuple[Folder, str]:
        return self, name

    def names(self, directory: str) -> list[str]:
        files = (p for p in (self.root / directory).rglob("*") if p.is_file())
        return sorted(p.relative_to(self.root).as_posix() for p in files)

    def document(self, name: str) -> Any:  # noqa: ANN401  # JSON
        with self.open(name) as file:
            return json.load(file)

    def media(self) -> list[str]:
        return self.names("media")


class WandbView:
    """What wandb's classes ask of the artifact that they are read from, over a directory."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.aliases = ["latest"]
        self.manifest = self

    def get_entry(self, name: str) -> _Entry:
        return _Entry(name, self._folder.local(name))

    def get_entries_in_directory(self, directory: str) -> list[_Entry]:
        return [self.get_entry(name) for name in self._folder.names(directory)]

    @property
    def entries(self) -> dict[str, _Entry]:
        return {name: self.get_entry(name) for name in self._folder.names("")}

    def get(self, name: str) -> Any:  # noqa: ANN401  # a value of wandb's
        """As wandb.Artifact.get, which needs a server to answer that the artifact is logged."""
        from wandb.sdk.data_types.base_types.wb_value import WBValue

        for kind in WBValue.type_mapping().values():
            file_name = kind.with_suffix(name)
            if self._folder.has(file_name):
                return kind.from_json(self._folder.document(file_name), self)
        return None


class _Entry:
    def __init__(self, path: str, local: Path) -> None:
        self.path = path
        self._local = local

    def download(self) -> str:
        return str(self._local)
