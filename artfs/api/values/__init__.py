"""The values that an artifact takes beside files: tables, images, sounds and so on.

They are written in W&B's file layout, so that files move between the two: a JSON document
`NAME.TYPE.json`, and the files that it points to below `media/`. Nothing here knows of artifacts;
who has one offers it as

- a `Target`, into which values write themselves: `write(value, name, target)` gives the name of
  the JSON file, which replaces one of that name; `value.with_suffix(name)` tells it beforehand;
- a `Source`, from which they are read: `read(name, source)` takes the name that a value was added
  under, or that of its JSON file, `find(name, source)` gives the latter, or None. What a type is
  called is told by the file name's suffix and by `_type` in the document.

Values are as in the wandb package, with its arguments. What belongs to W&B's runs and servers is
not there. A value that was read fetches its media files when they are asked for. Files are called
after their content, so that writing the same value again writes the same files.

numpy, pandas, Pillow and bokeh are imported when a value needs them, and `Unsupported` says so
where one is missing. Wrong arguments are `TypeError` and `ValueError`, as in wandb where it
asserts; a file that is not what its name says is `Damaged`.
"""

from __future__ import annotations

from artfs.api.values.audio import Audio
from artfs.api.values.base import Value, find, read, write
from artfs.api.values.bokeh import Bokeh
from artfs.api.values.classes import Classes
from artfs.api.values.html import Html
from artfs.api.values.image import Image
from artfs.api.values.imagetype import ImageType
from artfs.api.values.joined import JoinedTable, PartitionedTable
from artfs.api.values.object3d import Object3D
from artfs.api.values.overlays import BoundingBoxes2D, ImageMask
from artfs.api.values.places import Source, Target
from artfs.api.values.table import Table
from artfs.api.values.video import Video

__all__ = [
    "Audio",
    "Bokeh",
    "BoundingBoxes2D",
    "Classes",
    "Html",
    "Image",
    "ImageMask",
    "ImageType",
    "JoinedTable",
    "Object3D",
    "PartitionedTable",
    "Source",
    "Table",
    "Target",
    "Value",
    "Video",
    "find",
    "read",
    "write",
]
