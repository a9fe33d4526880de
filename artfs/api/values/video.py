"""Videos."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from artfs.api.values import columntypes as types
from artfs.api.values.content import Content, LocalFile, Staged
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Arraylike, Foreign, array_of, require
from artfs.api.values.places import Json, Source, Target

FORMATS = ("gif", "mp4", "webm", "ogg")
# ffmpeg's names.
_CODECS = {"mp4": "libx264", "webm": "libvpx", "ogg": "libtheora"}
_PIXELS = {1: "gray", 3: "rgb24"}


class Video(Media):
    """A video: the path of a file (`.gif`, `.mp4`, `.webm` or `.ogg`), a `BytesIO` with the bytes
    of one, or frames.

    Frames are a numpy array or a tensor (frame, channel, height, width) of numbers from 0 to 255;
    with a dimension before these, several videos are shown side by side. They need numpy, and
    Pillow to become a GIF, imageio-ffmpeg for other formats.

    - `fps`: frames a second, 4 when left out; only for frames
    - `format`: one of the above; for all but paths
    """

    type_name = "video-file"
    folder = "media/videos"

    def __init__(
        self,
        data_or_path: str | Path | io.BytesIO | Arraylike,
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
        array = array_of(frames)
        if array is None:
            raise TypeError(f"a video cannot be made from {type(frames).__name__}")
        tiled = _tiled(array)
        self.height, self.width = tiled.shape[1], tiled.shape[2]
        return _gif(tiled, fps) if self.format == "gif" else _encoded(tiled, fps, self.format)

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
    """Frames as (frame, height, width, channel), several videos in a grid as W&B lays it out.

    Without transparency, as there.
    """
    numpy = require("numpy", "Video of frames")
    if frames.ndim == 4:
        frames = frames[None]
    if frames.ndim != 5:
        raise ValueError("frames have four dimensions: frame, channel, height, width")
    if frames.shape[2] == 4:
        frames = frames[:, :, :3]
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


def _encoded(frames: Foreign, fps: float, format_: str) -> bytes:
    """By the encoder, and with the settings, that moviepy uses for W&B."""
    ffmpeg = require("imageio_ffmpeg", f"Video of frames as {format_}").get_ffmpeg_exe()
    count, height, width, channels = frames.shape
    if channels not in _PIXELS or not count:
        raise ValueError(f"a video has frames, with 1, 3 or 4 channels: {frames.shape}")
    command = [ffmpeg, "-y", "-loglevel", "error", "-f", "rawvideo", "-vcodec", "rawvideo"]
    command += ["-s", f"{width}x{height}", "-pix_fmt", _PIXELS[channels], "-r", f"{fps:.02f}"]
    command += ["-an", "-i", "-", "-vcodec", _CODECS[format_], "-preset", "medium"]
    if format_ == "mp4" and width % 2 == height % 2 == 0:
        command += ["-pix_fmt", "yuv420p"]  # what players can show; it has pixels in pairs
    elif format_ != "mp4":
        command += ["-fflags", "+bitexact"]  # without numbers drawn at random: equal if made again
    with tempfile.TemporaryDirectory(prefix="artfs-video-") as directory:
        path = os.path.join(directory, f"video.{format_}")
        done = subprocess.run([*command, path], input=frames.tobytes(), capture_output=True)
        if done.returncode:
            raise ValueError(f"ffmpeg: {done.stderr.decode(errors='replace').strip()}")
        return Path(path).read_bytes()


class VideoType(types.ColumnType):
    name = "video-file"


types.register(Video, lambda _: VideoType(), VideoType)
