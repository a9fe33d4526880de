"""The column type of images, which collects what is laid over the images of the column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from artfs.api.values import columntypes as types
from artfs.api.values.image import Image
from artfs.api.values.overlays import BoundingBoxes2D, ImageMask
from artfs.api.values.places import Json, JsonValue


class ImageType(types.ColumnType):
    """- `box_layers`, `mask_layers`: the ids of classes by the names of boxes and masks
    - `box_class_maps`, `mask_class_maps`: the names of classes by id, by the same
    - `box_score_keys`: the names of all scores
    - `class_map`: the names of the images' classes by id

    Older files have `box_keys` and `mask_keys`, which say less; wandb does not read them either.
    """

    name = "image-file"
    old_names = ("wandb.Image",)

    def __init__(
        self,
        box_layers: object = None,
        box_score_keys: object = None,
        mask_layers: object = None,
        box_class_maps: object = None,
        mask_class_maps: object = None,
        class_map: object = None,
        **_older: object,
    ) -> None:
        self.box_layers = {key: set(ids) for key, ids in _bare(box_layers).items()}
        self.box_score_keys = set(_bare(box_score_keys))
        self.mask_layers = {key: set(ids) for key, ids in _bare(mask_layers).items()}
        self.box_class_maps = _string_keys(_bare(box_class_maps))
        self.mask_class_maps = _string_keys(_bare(mask_class_maps))
        self.class_map: dict[str, str] = _bare(class_map)

    @property
    def params(self) -> Json:
        return {
            "box_layers": types.Const(self.box_layers),
            "box_score_keys": types.Const(self.box_score_keys),
            "mask_layers": types.Const(self.mask_layers),
            "box_class_maps": types.Const(self.box_class_maps),
            "mask_class_maps": types.Const(self.mask_class_maps),
            "class_map": types.Const(self.class_map),
        }

    @staticmethod
    def of(image: Image) -> ImageType:
        classes = image.classes.labels() if image.classes is not None else {}
        scores = {
            name
            for boxes in image.boxes.values()
            for box in boxes.boxes
            for name in box.get("scores", {})
        }
        labelled = {k: m for k, m in image.masks.items() if m.class_labels is not None}
        return ImageType(
            _layers(image.boxes),
            scores,
            _layers(image.masks),
            {key: boxes.class_labels for key, boxes in image.boxes.items()},
            {key: mask.class_labels for key, mask in labelled.items()},
            {str(n): name for n, name in classes.items()},
        )

    def assign_type(self, other: types.ColumnType) -> types.ColumnType:
        if not isinstance(other, ImageType):
            return types.INVALID
        return ImageType(
            _merged_sets(self.box_layers, other.box_layers),
            self.box_score_keys | other.box_score_keys,
            _merged_sets(self.mask_layers, other.mask_layers),
            _merged_maps(self.box_class_maps, other.box_class_maps),
            _merged_maps(self.mask_class_maps, other.mask_class_maps),
            {**other.class_map, **self.class_map},
        )


def _bare(value: object) -> JsonValue:
    if isinstance(value, types.Const):
        value = value.val
    return value or {}


def _string_keys(maps: Mapping[Any, Mapping[Any, str]]) -> dict[str, dict[str, str]]:
    return {str(key): {str(n): name for n, name in m.items()} for key, m in maps.items()}


def _layers(overlays: Mapping[str, BoundingBoxes2D | ImageMask]) -> dict[str, set[Any]]:
    return {str(key): set(overlay.class_labels or ()) for key, overlay in overlays.items()}


def _merged_sets(mine: dict[str, set[Any]], other: dict[str, set[Any]]) -> dict[str, set[Any]]:
    return {key: mine.get(key, set()) | other.get(key, set()) for key in _keys(mine, other)}


def _merged_maps(
    mine: dict[str, dict[str, str]], other: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    return {key: {**other.get(key, {}), **mine.get(key, {})} for key in _keys(mine, other)}


def _keys(mine: Iterable[str], other: Iterable[str]) -> list[str]:
    return sorted({*mine, *other})


types.register(Image, ImageType.of, ImageType)
