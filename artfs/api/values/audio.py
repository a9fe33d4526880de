"""Sound clips."""

from __future__ import annotations

import io
import sys
import wave
from pathlib import Path
from typing import Any, Self

from artfs.api.values import columntypes as types
from artfs.api.values.content import Staged, content_of
from artfs.api.values.media import Media, stored
from artfs.api.values.optional import Arraylike, Foreign, array_of, require
from artfs.api.values.places import Json, Source


class Audio(Media):
    """A sound clip: the path of a file, a reference (`s3://…`), or samples.

    Samples are a numpy array, a tensor or a list, of one dimension, or with a second one for
    channels; floats from -1 to 1 (what is beyond is cut off, what is no number is silent), or 16
    or 32 bit integers. They are saved as WAV with 16 bits, at `sample_rate` samples a second, and
    need numpy.
    """

    type_name = "audio-file"
    folder = "media/audio"

    def __init__(
        self,
        data_or_path: str | Path | list[Any] | Arraylike,
        sample_rate: int | None = None,
        caption: str | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        #: In seconds; None for files, which are not looked into.
        self.duration: float | None = None
        if isinstance(data_or_path, str | Path):
            super().__init__(content_of(data_or_path), caption)
            return
        if sample_rate is None:
            raise ValueError("samples need a sample_rate")
        numpy = require("numpy", "Audio of samples")
        found = array_of(data_or_path)
        samples = numpy.asarray(data_or_path) if found is None else found
        wav = _wav(samples, sample_rate)
        self.duration = len(samples) / float(sample_rate)
        super().__init__(Staged(wav, ".wav"), caption)

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        audio = cls.__new__(cls)
        Media.__init__(audio, stored(document, source), document.get("caption"))
        audio.sample_rate = audio.duration = None
        return audio


def _wav(data: Foreign, rate: int) -> bytes:
    numpy = require("numpy", "Audio of samples")
    if data.ndim not in (1, 2):
        raise ValueError(f"samples have one or two dimensions, and not {data.ndim}")
    if data.dtype.kind == "f":
        # By way of 32 bits, as libsndfile does it for W&B, to the last bit.
        data = numpy.rint(numpy.nan_to_num(data.astype(numpy.float64)) * 2.0**31)
        data = numpy.clip(data, -(2**31), 2**31 - 1).astype(numpy.int64) >> 16
    elif data.dtype == numpy.int32:
        data = data >> 16
    elif data.dtype != numpy.int16:
        raise TypeError(f"samples must be floats, int16 or int32, and not {data.dtype}")
    data = data.astype(numpy.int16)
    if sys.byteorder == "big":
        data = data.byteswap()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1 if data.ndim == 1 else data.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data.tobytes())
    return buffer.getvalue()


class AudioType(types.ColumnType):
    name = "audio-file"


types.register(Audio, lambda _: AudioType(), AudioType)
