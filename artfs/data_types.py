"""The values under the name that their module has in the wandb package."""

from __future__ import annotations

from artfs.api.values import (
    Audio,
    Bokeh,
    BoundingBoxes2D,
    Classes,
    Html,
    Image,
    ImageMask,
    JoinedTable,
    Object3D,
    PartitionedTable,
    Table,
    Value,
    Video,
)

#: What all of them are.
WBValue = Value

__all__ = [
    "Audio",
    "Bokeh",
    "BoundingBoxes2D",
    "Classes",
    "Html",
    "Image",
    "ImageMask",
    "JoinedTable",
    "Object3D",
    "PartitionedTable",
    "Table",
    "Video",
    "WBValue",
]
