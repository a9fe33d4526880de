"""Clouds of points, with boxes and vectors; and other scenes in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from artfs.api.values import columntypes as types
from artfs.api.values.content import LocalFile, Staged
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Foreign, is_array, require
from artfs.api.values.places import Json, Source, encode_compact

if TYPE_CHECKING:
    import numpy as np

POINTS = "pts.json"
FORMATS = ("obj", "gltf", "glb", "babylon", "stl", POINTS)
LIDAR = "lidar/beta"


class Object3D(Media):
    """A scene in three dimensions:

    - a numpy array of points: rows `x y z`, `x y z category` (1 to 14) or `x y z r g b`;
    - a dictionary with `type` (`"lidar/beta"`) and the numpy arrays `points`, `boxes`, `vectors`;
    - the path of a file: `.pts.json`, `.obj`, `.gltf`, `.glb`, `.babylon` or `.stl`;
    - an open file, with its `file_type` if it has no name.

    wandb itself puts only points (the first two, and `.pts.json`) into artifacts, and reads all.
    """

    type_name = "object3D-file"
    folder = "media/object3D"

    def __init__(
        self,
        data_or_path: np.ndarray | str | Path | IO[Any] | Mapping[str, Any],
        caption: str | None = None,
        file_type: str | None = None,
    ) -> None:
        given: Any = data_or_path
        if not isinstance(given, Path) and isinstance(getattr(given, "name", None), str):
            given = given.name  # an open file
        if isinstance(given, str | Path):
            _check_extension(str(given))
            super().__init__(LocalFile(Path(given)), caption)
        elif hasattr(given, "read"):
            if file_type not in FORMATS:
                raise ValueError(f"file_type must be one of {', '.join(FORMATS)}: {file_type!r}")
            if given.seekable():
                given.seek(0)
            content = given.read()
            content = content.encode() if isinstance(content, str) else content
            super().__init__(Staged(content, f".{file_type}"), caption)
        else:
            super().__init__(Staged(_points_file(given), f".{POINTS}"), caption)

    @classmethod
    def from_file(cls, data_or_path: IO[Any] | str, file_type: str | None = None) -> Self:
        """A file, or an open file with its type."""
        return cls(data_or_path, file_type=file_type)

    @classmethod
    def from_numpy(cls, data: np.ndarray) -> Self:
        """A numpy array of points."""
        if not is_array(data):
            raise ValueError("data must be a numpy array")
        return cls(data)

    @classmethod
    def from_point_cloud(
        cls,
        points: Sequence[Any],
        boxes: Sequence[Any],
        vectors: Sequence[Any] | None = None,
        point_cloud_type: str = LIDAR,
    ) -> Self:
        """Points, with boxes (dictionaries with `corners`, `label`, `color`, `score`) and vectors
        (dictionaries with `start` and `end`)."""
        array = require("numpy", "Object3D.from_point_cloud").array
        return cls(
            {
                "type": point_cloud_type,
                "points": array(points),
                "boxes": array(boxes),
                "vectors": array([] if vectors is None else vectors),
            }
        )

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        scene = cls.__new__(cls)
        Media.__init__(scene, stored(document, source), document.get("caption"))
        return scene


def _check_extension(path: str) -> None:
    if not path.endswith(FORMATS):
        raise ValueError(f"{path} is none of {', '.join(FORMATS)}")


def _points_file(data: Foreign) -> bytes:
    if isinstance(data, Mapping):
        if data.get("type") != LIDAR:
            raise ValueError(f"type must be {LIDAR!r}: {data.get('type')!r}")
        parts = ("vectors", "points", "boxes")
        document: Foreign = {"type": LIDAR}
        asarray = require("numpy", "Object3D").asarray
        document |= {part: asarray(data.get(part, [])).tolist() for part in parts}
    elif is_array(data):
        if data.ndim != 2 or data.shape[1] not in (3, 4, 6):
            raise ValueError(f"points have 3, 4 or 6 numbers in a row: the shape is {data.shape}")
        document = data.tolist()
    else:
        raise ValueError("data must be a numpy array, a dictionary, or a file")
    return encode_compact(document)


class Object3DType(types.ColumnType):
    name = "object3D-file"


types.register(Object3D, lambda _: Object3DType(), Object3DType)
