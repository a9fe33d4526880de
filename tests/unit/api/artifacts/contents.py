"""What artifacts and directories hold, to be compared."""

from __future__ import annotations

import os
from pathlib import Path

from artfs import Artifact
from artfs.api.place import find_place
from artfs.errors import NotFound
from artfs.types import parse_ref
from tests.unit.repo.trees import read_flat


def stored(ref: str) -> dict[str, object]:
    """A version as the store has it: path -> bytes, link target, or None of a directory."""
    place = find_place()
    found = place.repository.catalog.resolve(parse_ref(ref, (place.entity, place.project)))
    tree = read_flat(found.root.entry(), place.repository)
    return {os.fsdecode(path): value for path, value in tree.items()}


def local(directory: Path | str) -> dict[str, bytes]:
    """The files below a directory."""
    files = (path for path in Path(directory).rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def versions(name: str) -> list[int]:
    place = find_place()
    try:
        return place.repository.catalog.versions(place.key(name))
    except NotFound:
        return []


def made(name: str = "data", **files: str | bytes) -> Artifact:
    """An artifact with files; `a__b` names the path `a/b`."""
    artifact = Artifact(name, "dataset")
    for path, data in files.items():
        with artifact.new_file(path.replace("__", "/"), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
    return artifact


def saved(name: str = "data", **files: str | bytes) -> Artifact:
    """The same, logged."""
    artifact = made(name, **files)
    artifact.save()
    return artifact
