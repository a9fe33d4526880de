"""Cells of tables as JSON, in the form that W&B gives them, and back."""

from __future__ import annotations

import datetime
import enum
import math
from decimal import Decimal
from typing import Any, TypeAlias

from artfs.api.values.base import Value, from_document
from artfs.api.values.optional import is_array, is_scalar, plain_of
from artfs.api.values.places import JsonValue, Source, Target, with_json_keys

#: What somebody puts into a table.
Cell: TypeAlias = Any


def cell_to_json(value: Cell, target: Target) -> JsonValue:
    """Raises `TypeError` for what JSON has no form for."""
    if isinstance(value, Value):
        return value.to_json(target)
    if isinstance(value, enum.Enum):  # which may be a number or a string as well
        return value.name
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if is_array(value) or is_scalar(value):
        return _numpy_to_json(value, target)
    if isinstance(value, dict):
        return with_json_keys({key: cell_to_json(item, target) for key, item in value.items()})
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return [cell_to_json(item, target) for item in value]
    if isinstance(value, datetime.date):  # a datetime is one too
        return _milliseconds(value)
    return _other_to_json(value, target)


def _numpy_to_json(value: Cell, target: Target) -> JsonValue:
    plain = plain_of(value)
    if type(value).__name__ == "datetime64" and isinstance(plain, int):
        return plain / 1_000_000  # nanoseconds, for which Python has no type
    return str(plain) if isinstance(plain, complex) else cell_to_json(plain, target)


def _milliseconds(value: datetime.date) -> int | None:
    """Since 1970; what has no time zone is in UTC. pandas' "not a time" is None."""
    if value != value:
        return None
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return int(value.timestamp() * 1000)


def _other_to_json(value: Cell, target: Target) -> JsonValue:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "tolist"):  # arrays of other libraries
        return cell_to_json(value.tolist(), target)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"a table cannot hold {value!r}, of type {type(value).__name__}")


def cell_from_json(value: Cell, source: Source) -> Cell:
    """A media value where the cell is the document of one, else what is there."""
    if isinstance(value, dict) and "_type" in value:
        found = from_document(value, source)
        return value if found is None else found
    return value


def time_from_json(value: float) -> datetime.datetime | float:
    """The time; the number itself where Python has no such time."""
    try:
        return datetime.datetime.fromtimestamp(value / 1000, tz=datetime.UTC)
    except (ValueError, OverflowError):
        return value
