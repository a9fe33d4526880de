"""The values under the name that their module has in the wandb package."""

from __future__ import annotations

from artfs.api.values import Audio as Audio
from artfs.api.values import Bokeh as Bokeh
from artfs.api.values import BoundingBoxes2D as BoundingBoxes2D
from artfs.api.values import Classes as Classes
from artfs.api.values import Html as Html
from artfs.api.values import Image as Image
from artfs.api.values import ImageMask as ImageMask
from artfs.api.values import JoinedTable as JoinedTable
from artfs.api.values import Object3D as Object3D
from artfs.api.values import PartitionedTable as PartitionedTable
from artfs.api.values import Table as Table
from artfs.api.values import Value
from artfs.api.values import Video as Video

#: What all of them are.
WBValue = Value
