"""Images, with masks, boxes and classes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from artfs.api.values import pixels
from artfs.api.values.classes import Classes, read_classes
from artfs.api.values.content import Content, Reference, Staged, content_of
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Arraylike, require
from artfs.api.values.overlays import BoundingBoxes2D, ImageMask
from artfs.api.values.places import Json, Source, Target

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

#: Pillow's names of the formats that arrays and Pillow images are saved in.
FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "bmp": "BMP"}

T = TypeVar("T")

Boxes: TypeAlias = "Mapping[str, BoundingBoxes2D | Mapping[str, Any]]"
Masks: TypeAlias = "Mapping[str, ImageMask | Mapping[str, Any]]"


class Image(Media):
    """An image: a numpy array (height, width, channels; numbers from 0 to 255) or a tensor like it,
    a torch tensor (channels, height, width), a Pillow image, a matplotlib figure, the path of a
    file, a reference (`s3://…`), or another `Image`, of which everything but boxes and masks is
    taken.

    - `mode`: Pillow's mode (`"L"`, `"RGB"`, `"RGBA"`); guessed from the array when left out
    - `caption`: shown with it
    - `grouping`: W&B's number of a group of images
    - `classes`: `Classes`, or their list
    - `boxes`, `masks`: `BoundingBoxes2D` and `ImageMask`, or what these are made from, by name
    - `file_type`: `"png"`, `"jpg"`, `"jpeg"` or `"bmp"`, for what is not a file already

    Needs Pillow, and numpy for arrays.
    """

    type_name = "image-file"
    folder = "media/images"

    def __init__(
        self,
        data_or_path: str | Path | Image | Arraylike | PILImage,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Classes | Sequence[Mapping[str, Any]] | None = None,
        boxes: Boxes | None = None,
        masks: Masks | None = None,
        file_type: str | None = None,
    ) -> None:
        self.format: str = ""
        self.width: int | None = None
        self.height: int | None = None
        self.grouping = grouping
        self._classes: Classes | None = None
        self._classes_in: tuple[str, Source] | None = None
        if isinstance(data_or_path, Image):
            super().__init__(data_or_path._content, caption)
            self._take_from(data_or_path)
        elif isinstance(data_or_path, str | Path):
            super().__init__(content_of(data_or_path), caption)
            self._measure()
        else:
            super().__init__(self._encoded(data_or_path, mode, file_type), caption)
        self.boxes = {key: _boxes(value, key) for key, value in _by_name(boxes).items()}
        self.masks = {key: _mask(value, key) for key, value in _by_name(masks).items()}
        self._collect_classes(classes)

    def _take_from(self, other: Image) -> None:
        self.format, self.width, self.height = other.format, other.width, other.height
        self._classes, self._classes_in = other._classes, other._classes_in
        self.caption = other.caption if self.caption is None else self.caption
        self.grouping = other.grouping if self.grouping is None else self.grouping

    def _measure(self) -> None:
        if isinstance(self._content, Reference):
            self.format = Path(self._content.uri.partition("?")[0]).name.rpartition(".")[2]
            return
        self.format = self.path.suffix[1:]
        image = self.image
        self.width, self.height = image.size

    def _encoded(self, data: object, mode: str | None, file_type: str | None) -> Content:
        self.format = file_type or "png"
        if self.format not in FORMATS:
            raise ValueError(f"file_type must be one of {', '.join(FORMATS)}: {file_type!r}")
        image = pixels.to_image(data, mode, self.format)
        self.width, self.height = image.size
        buffer = io.BytesIO()
        image.save(buffer, format=FORMATS[self.format], transparency=None)
        return Staged(buffer.getvalue(), f".{self.format}")

    def _collect_classes(self, given: Classes | Sequence[Mapping[str, Any]] | None) -> None:
        labels: dict[Any, str] = {}
        overlays: list[BoundingBoxes2D | ImageMask] = [*self.boxes.values(), *self.masks.values()]
        for overlay in overlays:
            labels.update(overlay.class_labels or {})
        if given is not None:
            labels.update((given if isinstance(given, Classes) else Classes(given)).labels())
        if labels:
            self._classes = Classes([{"id": n, "name": name} for n, name in labels.items()])

    def __getstate__(self) -> dict[str, object]:
        # Classes that were not read yet are in an artifact that copies may not have.
        return {**self.__dict__, "_classes": self.classes, "_classes_in": None}

    @property
    def classes(self) -> Classes | None:
        """Those given, and those of the boxes and masks."""
        if self._classes is None and self._classes_in is not None:
            self._classes = read_classes(*self._classes_in)
        return self._classes

    @property
    def image(self) -> PILImage:
        """The pixels, as a Pillow image. It is loaded anew each time."""
        image: PILImage = require("PIL.Image", "Image").open(self.path)
        image.load()
        return image

    def to_data_array(self) -> list[Any]:
        """Rows of pixels, each a number or a tuple of them."""
        image = self.image
        data = pixels.flat(image)
        return [data[row * image.width :][: image.width] for row in range(image.height)]

    def to_json(self, target: Target) -> Json:
        if (self.masks or self.boxes) and self.classes is None:
            raise ValueError("an image with masks or boxes needs classes to be put in an artifact")
        document = super().to_json(target)
        document["format"] = self.format
        if self.width is not None and self.height is not None:
            document |= {"width": self.width, "height": self.height}
        if self.grouping:
            document["grouping"] = self.grouping
        if self.classes is not None:
            document["classes"] = self.classes.put(target)
        if self.boxes:
            document["boxes"] = {key: boxes.to_json(target) for key, boxes in self.boxes.items()}
        if self.masks:
            document["masks"] = {key: mask.to_json(target) for key, mask in self.masks.items()}
        return document

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        image = cls.__new__(cls)
        Media.__init__(image, stored(document, source), document.get("caption"))
        image.format = document.get("format") or Path(document["path"]).suffix[1:]
        image.width, image.height = document.get("width"), document.get("height")
        image.grouping = document.get("grouping")
        image._classes = None
        where = document.get("classes")
        image._classes_in = None if where is None else (where["path"], source)
        image.boxes, image.masks = {}, {}
        for key, boxes in (document.get("boxes") or {}).items():
            image.boxes[key] = BoundingBoxes2D.from_json(boxes, source)
            image.boxes[key].key = key
        for key, mask in (document.get("masks") or {}).items():
            image.masks[key] = ImageMask.from_json(mask, source)
            image.masks[key].key = key
        return image

    def __eq__(self, other: object) -> bool:
        """By pixels, caption, grouping and classes."""
        if not isinstance(other, Image):
            return NotImplemented
        return (
            self.grouping == other.grouping
            and self.caption == other.caption
            and (self.width, self.height) == (other.width, other.height)
            and self.classes == other.classes
            and (self.sha256 == other.sha256 or self._same_pixels(other))
        )

    def _same_pixels(self, other: Image) -> bool:
        if isinstance(self._content, Reference) or isinstance(other._content, Reference):
            return False
        return pixels.flat(self.image) == pixels.flat(other.image)

    def __hash__(self) -> int:
        return hash((self.caption, self.width, self.height))


def _by_name(overlays: Mapping[str, T] | None) -> Mapping[str, T]:
    if overlays and not isinstance(overlays, Mapping):
        raise ValueError(f"boxes and masks are dictionaries by name, and not {overlays!r}")
    return overlays or {}


def _boxes(value: BoundingBoxes2D | Mapping[str, Any], key: str) -> BoundingBoxes2D:
    return value if isinstance(value, BoundingBoxes2D) else BoundingBoxes2D(value, key)


def _mask(value: ImageMask | Mapping[str, Any], key: str) -> ImageMask:
    return value if isinstance(value, ImageMask) else ImageMask(value, key)
