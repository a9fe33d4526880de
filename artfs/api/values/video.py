"""Videos."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Self

from artfs.api.values import columntypes as types
from artfs.api.values.content import Content, LocalFile, Staged
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Foreign, is_array, require
from artfs.api.values.places import Json, Source, Target
from artfs.errors import Unsupported

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("gif", "mp4", "webm", "ogg")


class Video(Media):
    """A video: the path of a file (`.gif`, `.mp4`, `.webm` or `.ogg`), a `BytesIO` with the bytes
    of one, or frames.

    Frames are a numpy array (frame, channel, height, width) of numbers from 0 to 255; with a
    dimension before these, several videos are shown side by side. They need numpy and Pillow,
    and can only be saved as GIF: other formats need an encoder, and are `Unsupported`. Encode such
    a video to a file with a program of your choice, and give its path.

    - `fps`: frames a second, 4 when left out; only for frames
    - `format`: one of the above; for all but paths
    """

    type_name = "video-file"
    folder = "media/videos"

    def __init__(
        self,
        data_or_path: str | Path | io.BytesIO | np.ndarray,
        caption: str | None = None,
        fps: int | None = None,
        format: str | None = None,  # noqa: A002  # W&B's name
    ) -> None:
        self.width: int | None = None
        self.height: int | None = None
        content: Content
        if isinstance(data_or_path, str | Path):
            path = Path(data_or_path)
            self.format = _checked(path.suffix[1:].lower())
            content = LocalFile(path)
        else:
            if format is None:
                raise ValueError("bytes and frames need a format")
            self.format = _checked(format)
            if isinstance(data_or_path, io.BytesIO):
                data = data_or_path.read()
            else:
                data = self._encoded(data_or_path, fps or 4)
            content = Staged(data, f".{self.format}")
        super().__init__(content, caption)

    def _encoded(self, frames: Foreign, fps: int) -> bytes:
        if not is_array(frames):
            raise TypeError(f"a video cannot be made from {type(frames).__name__}")
        if self.format != "gif":
            why = f"frames can be saved as gif only, and not as {self.format}"
            raise Unsupported("Video", why, "encode them to a file, and give its path")
        tiled = _tiled(frames)
        self.height, self.width = tiled.shape[1], tiled.shape[2]
        return _gif(tiled, fps)

    def to_json(self, target: Target) -> Json:
        document = super().to_json(target)
        if self.width is not None and self.height is not None:
            document |= {"width": self.width, "height": self.height}
        return document

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        video = cls.__new__(cls)
        Media.__init__(video, stored(document, source), document.get("caption"))
        video.format = Path(document["path"]).suffix[1:].lower()
        video.width, video.height = document.get("width"), document.get("height")
        return video


def _checked(format_: str) -> str:
    if format_ not in FORMATS:
        raise ValueError(f"a video is one of {', '.join(FORMATS)}, and not {format_!r}")
    return format_


def _tiled(frames: Foreign) -> Foreign:
    """Frames as (frame, height, width, channel), several videos in a grid as W&B lays it out."""
    numpy = require("numpy", "Video of frames")
    if frames.ndim == 4:
        frames = frames[None]
    if frames.ndim != 5:
        raise ValueError("frames have four dimensions: frame, channel, height, width")
    count, length, channels, height, width = frames.shape
    frames = frames.astype(numpy.uint8)
    full = 1 << (count - 1).bit_length()  # the next power of two
    empty = numpy.zeros((full - count, *frames.shape[1:]), numpy.uint8)
    frames = numpy.concatenate((frames, empty))
    rows = 1 << ((count.bit_length() - 1) // 2)
    grid = frames.reshape(rows, full // rows, length, channels, height, width)
    grid = grid.transpose(2, 0, 4, 1, 5, 3)
    return grid.reshape(length, rows * height, full // rows * width, channels)


def _gif(frames: Foreign, fps: int) -> bytes:
    pil = require("PIL.Image", "Video of frames")
    images = [pil.fromarray(frame.squeeze()) for frame in frames]
    buffer = io.BytesIO()
    # Equal frames would be put together into one.
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=1000 / fps,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


class VideoType(types.ColumnType):
    name = "video-file"


types.register(Video, lambda _: VideoType(), VideoType)
