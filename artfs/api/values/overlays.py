"""What is laid over an image: masks, with the class of each pixel, and boxes."""

from __future__ import annotations

import io
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from artfs.api.values.base import Value
from artfs.api.values.content import LocalFile, Staged
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Foreign, array_of, bare, require
from artfs.api.values.places import Json, Source, Target


class ImageMask(Media):
    """The class of each pixel of an image. `val` is a dictionary of

    - `mask_data`: a numpy array of two dimensions of numbers from 0 to 255, or
      `path`: an image file with such a mask;
    - `class_labels`: the names of the classes by number; `class_N` when left out.

    `key` is the name of the mask among those of its image.
    """

    type_name = "mask"
    folder = "media/images/mask"

    def __init__(self, val: Mapping[str, Any], key: str) -> None:
        self.key = key
        #: Names of classes by number. None where nobody said, as with a mask that was read: its
        #: image has the names.
        self.class_labels: dict[Any, str] | None = None
        if "class_labels" in val:
            self.class_labels = checked_labels(val["class_labels"])
        if "path" in val:
            super().__init__(LocalFile(Path(val["path"])))
            return
        if "mask_data" not in val:
            raise TypeError("a mask needs mask_data, an array of two dimensions, or path")
        numpy = require("numpy", "ImageMask")
        data = val["mask_data"]
        found = array_of(data)
        data = numpy.asarray(data) if found is None else found
        if data.ndim != 2:
            raise TypeError(f"mask_data must have two dimensions, and has {data.ndim}")
        if not ((data >= 0).all() and (data <= 255).all()):
            raise TypeError("mask_data must be integers between 0 and 255")
        if self.class_labels is None:
            self.class_labels = {int(n): f"class_{int(n)}" for n in numpy.unique(data)}
        super().__init__(Staged(_png(data.astype(numpy.uint8)), ".mask.png"))

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        mask = cls.__new__(cls)
        mask.key = ""
        mask.class_labels = None
        Media.__init__(mask, stored(document, source), document.get("caption"))
        return mask


def _png(pixels: Foreign) -> bytes:
    image = require("PIL.Image", "ImageMask").fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


class BoundingBoxes2D(Value):
    """Boxes over an image. `val` is a dictionary of

    - `box_data`: a list of boxes, dictionaries with `position` (`minX`, `maxX`, `minY`, `maxY`, or
      `middle`, `width`, `height`), and where wanted `domain` (`"pixel"`; else fractions of the
      image), `class_id`, `scores` (numbers by name) and `box_caption`;
    - `class_labels`: the names of the classes by number; `class_N` when left out.

    `key` is the name of these boxes among those of their image.
    """

    type_name = "bounding-boxes"

    def __init__(self, val: Mapping[str, Any], key: str) -> None:
        boxes = val["box_data"]
        if not isinstance(boxes, list):
            raise TypeError("box_data must be a list")
        self.boxes = [_checked_box(box) for box in boxes]
        self.key = key
        if "class_labels" in val:
            self.class_labels = checked_labels(val["class_labels"])
        else:
            ids = sorted({int(box["class_id"]) for box in self.boxes if "class_id" in box})
            self.class_labels = {n: f"class_{n}" for n in ids}

    def to_json(self, _target: Target) -> list[Json]:
        return self.boxes

    @classmethod
    def from_json(cls, document: list[Json], _source: Source) -> Self:
        return cls({"box_data": document}, "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundingBoxes2D) and self.boxes == other.boxes

    __hash__ = None  # type: ignore[assignment]  # it can change


def checked_labels(labels: Mapping[Any, str]) -> dict[Any, str]:
    for number, name in labels.items():
        if not isinstance(number, numbers.Number) or not isinstance(name, str):
            raise TypeError(f"class labels must be strings by number, and not {number!r}: {name!r}")
    return {bare(number): name for number, name in labels.items()}


def _checked_box(box: Mapping[str, Any]) -> Json:
    checked = {**box, "position": _checked_position(box.get("position"))}
    scores = box.get("scores", {})
    if not isinstance(scores, Mapping) or not all(
        isinstance(name, str) and isinstance(score, numbers.Number)
        for name, score in scores.items()
    ):
        raise TypeError(f"scores must be numbers by name: {scores!r}")
    if "class_id" in box and not isinstance(box["class_id"], numbers.Integral):
        raise TypeError(f"class_id must be an integer: {box['class_id']!r}")
    if "box_caption" in box and not isinstance(box["box_caption"], str):
        raise TypeError(f"box_caption must be a string: {box['box_caption']!r}")
    return checked


def _checked_position(position: object) -> Json:
    if isinstance(position, Mapping):
        place = dict(position)
        if "middle" in place and hasattr(place["middle"], "tolist"):
            place["middle"] = place["middle"].tolist()
        by_middle = len(place.get("middle", ())) == 2 and _has_numbers(place, "width", "height")
        if by_middle or _has_numbers(place, "minX", "maxX", "minY", "maxY"):
            return place
    raise TypeError(
        "each box needs a position with middle, width and height, or minX, maxX, minY and maxY; "
        f"this has {position!r}"
    )


def _has_numbers(place: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(place.get(key), numbers.Number) for key in keys)
