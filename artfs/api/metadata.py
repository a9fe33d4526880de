"""What may be the metadata of a version."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from artfs.api.plain import plain
from artfs.errors import InvalidValue
from artfs.repo.labels import MAX_KEYS


def checked(metadata: Mapping[str, object] | None) -> dict[str, object]:
    """A copy of metadata as a record keeps it: JSON, with tuples as lists, numbers of NumPy as
    numbers, dates and paths as text.

    Raises `InvalidValue`: more than 100 keys, or something that JSON cannot keep as it is.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidValue("metadata", f"is a {type(metadata).__name__}, not a dict")
    if len(metadata) > MAX_KEYS:
        raise InvalidValue("metadata", f"has {len(metadata)} keys; {MAX_KEYS} are the most")
    items = {key: _plain(str(key), value) for key, value in metadata.items()}
    for key, value in items.items():
        _check_value(str(key), {key: value})
    found: dict[str, object] = json.loads(json.dumps(items))
    return found


def _plain(name: str, value: object) -> object:
    try:
        return plain(value)
    except RecursionError:
        raise InvalidValue(f"metadata '{name}'", "is nested too deeply") from None


def _check_value(name: str, value: object) -> None:
    try:
        _check_keys(value)
        msgspec.json.encode(json.loads(json.dumps(value, allow_nan=False)))
    except RecursionError:
        raise InvalidValue(f"metadata '{name}'", "is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"metadata '{name}'", f"is not JSON ({error})") from None


def _check_keys(value: object) -> None:
    """JSON's keys are text; `json` would make text of numbers, and lose which it was."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not a str")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def checked_text(text: str | None, what: str) -> str:
    """The text, "" for None. Raises `InvalidValue` unless it is text that can be stored."""
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InvalidValue(what, f"is a {type(text).__name__}, not text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(what, "is not valid UTF-8") from None
    return text
