"""Arrays and figures as Pillow images."""

from __future__ import annotations

import io
from types import ModuleType
from typing import TYPE_CHECKING, Any

from artfs.api.values.optional import Foreign, array_of, is_torch_tensor, require

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def to_image(data: Foreign, mode: str | None, file_type: str) -> PILImage:
    """A Pillow image of a numpy array, a tensor, a Pillow image or a matplotlib figure.

    Raises `TypeError` for anything else, `ValueError` for a wrong shape.
    """
    pil = require("PIL.Image", "Image")
    image: PILImage
    if isinstance(data, pil.Image):
        image = data
        return image
    home = data.__name__ if isinstance(data, ModuleType) else type(data).__module__
    if home.startswith("matplotlib."):
        return _figure(data, file_type)
    numpy = require("numpy", "Image of an array")
    if is_torch_tensor(data) and data.ndim == 3:
        data = data.permute(1, 2, 0)
    array = array_of(data)
    if array is None:
        raise TypeError(f"an image cannot be made from {type(data).__name__}")
    data = array
    if data.ndim > 2:
        data = data.squeeze()
    mode = mode or guess_mode(data.ndim, data.shape[-1], file_type)
    image = pil.fromarray(data.astype(numpy.uint8)).convert(mode)
    return image


def _figure(artist: Foreign, file_type: str) -> PILImage:
    # pyplot itself, a figure, or something drawn in one.
    figure = artist.gcf() if hasattr(artist, "gcf") else getattr(artist, "figure", None) or artist
    buffer = io.BytesIO()
    # Drawn without transparency, where the file has none.
    figure.savefig(buffer, format=file_type if file_type in ("jpg", "jpeg") else "png")
    image: PILImage = require("PIL.Image", "Image").open(buffer)
    image.load()
    return image


def guess_mode(dimensions: int, channels: int, file_type: str) -> str:
    """Pillow's mode for an array; JPEG has no transparency, which is left out."""
    if dimensions == 2 or channels == 1:
        return "L"
    if channels == 3 or (channels == 4 and file_type in ("jpg", "jpeg")):
        return "RGB"
    if channels == 4:
        return "RGBA"
    raise ValueError(f"an image has 1, 3 or 4 channels, and this array {channels}")


def flat(image: PILImage) -> list[Any]:
    """All pixels, row by row, each a number or a tuple of them."""
    # `getdata` has a new name since Pillow 12.1, and warns.
    get: Any = getattr(image, "get_flattened_data", None) or image.getdata
    return list(get())
