"""What programs have, as JSON has it: numbers of NumPy and PyTorch, dates, paths and so on."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import os
from collections.abc import Mapping

from artfs.format.runs import in_utf8

#: What JSON has no word for.
_INFINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(value: object) -> object:
    """The value in the terms of JSON, as W&B has it, as far as nothing is lost by that; what it
    cannot be said of is as it was. Raises `RecursionError`."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date):  # or datetime
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    for convert in ("tolist", "numpy"):  # NumPy, PyTorch, JAX; TensorFlow
        if callable(found := getattr(value, convert, None)) and not isinstance(value, type):
            return plain(found())
    return value


def as_json(value: object) -> object:
    """The value as it can be recorded, whatever it is: as text if nothing else is left."""
    try:
        return _json(plain(value))
    except RecursionError:
        return "..."


def _json(value: object) -> object:
    if isinstance(value, Mapping):
        return {in_utf8(str(key)): _json(inner) for key, inner in value.items()}
    if isinstance(value, list | set | frozenset):
        return [_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _INFINITE.get(value)  # None for NaN, as W&B has it
    if value is None or isinstance(value, bool | int | float):
        return value
    return in_utf8(str(value))
