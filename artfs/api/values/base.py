"""What all values have in common: a JSON document, and a suffix that tells their type."""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from artfs.api.values.places import Json, JsonValue, Source, Target, encode, name_of
from artfs.errors import Damaged, NotFound


class Value(ABC):
    """Something with a type that can be put into an artifact under a name.

    A subclass that sets `type_name` can be read again. `to_json` makes the document and writes
    the files that it points to; `from_json` is the way back.
    """

    #: W&B's name of the type: the suffix of the file's name, and `_type` in the document.
    type_name: ClassVar[str] = ""
    _registry: ClassVar[dict[str, type[Value]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "type_name" in cls.__dict__:
            Value._registry[cls.type_name] = cls

    @abstractmethod
    def to_json(self, target: Target) -> JsonValue:
        """The document. Boxes are a list, everything else is an object."""

    @classmethod
    @abstractmethod
    def from_json(cls, document: JsonValue, source: Source) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError` for a document that is not of this type;
        who reads a file makes `Damaged` of that."""

    @classmethod
    def with_suffix(cls, name: str) -> str:
        """The name of the file for a value that is added as `name`, which may be that already."""
        suffix = f"{cls.type_name}.json"
        return name if name.endswith(suffix) else f"{name}.{suffix}"

    def to_data_array(self) -> list[Any]:
        """The value as nested lists of numbers, for a column that is converted to numpy."""
        raise TypeError(f"{type(self).__name__} cannot be converted to an array")


def write(value: Value, name: str, target: Target) -> str:
    """Write a value and all that it consists of; returns the name of its JSON file."""
    file_name = value.with_suffix(name)
    _write_file(file_name, encode(value.to_json(target)), target)
    target.written[id(value)] = (value, file_name)
    return file_name


def write_part(value: Value, beginning: str, target: Target) -> str:
    """Write a value that another one refers to, unless it was written before; returns the file.

    What such a file is called is of no interest to anybody: it is `beginning` and a digest.
    """
    written = target.written.get(id(value))
    if written is not None and target.has(written[1]):  # and was not removed since
        return written[1]
    content = encode(value.to_json(target))
    file_name = value.with_suffix(beginning + name_of(content))
    if not target.has(file_name):
        _write_file(file_name, content, target)
    target.written[id(value)] = (value, file_name)
    return file_name


def _write_file(name: str, content: bytes, target: Target) -> None:
    with target.new_file(name) as file:
        file.write(content)


def find(name: str, source: Source) -> str | None:
    """The JSON file of the value that was added as `name` (which may be the file's own name)."""
    for kind in Value._registry.values():
        file_name = kind.with_suffix(name)
        if source.has(file_name):
            return file_name
    return None


# What reading JSON and `.npz` files raises, and using them as if they were right.
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, EOFError, zipfile.BadZipFile)


def read(name: str, source: Source) -> Value:
    """The value in a JSON file, or the one that was added as `name`.

    Raises `NotFound`, and `Damaged` where the file is not what its name says. Media files are
    fetched when they are used.
    """
    file_name = find(name, source)
    if file_name is None:
        raise NotFound(name, "there is no value of this name")
    kind = _kind_of(file_name)
    source, file_name = source.origin(file_name)
    try:
        with source.open(file_name) as file:
            document = json.load(file)
        if isinstance(document, dict):
            kind = Value._registry[document["_type"]]
        return kind.from_json(document, source)
    except _MALFORMED as error:
        why = f"is no {kind.type_name}: {type(error).__name__}: {error}"
        raise Damaged(file_name, why) from error


def _kind_of(file_name: str) -> type[Value]:
    # The longest suffix: `joined-table.json` ends like `table.json` too.
    fitting = [
        kind for kind in Value._registry.values() if kind.with_suffix(file_name) == file_name
    ]
    return max(fitting, key=lambda kind: len(kind.type_name))


def from_document(document: Json, source: Source) -> Value | None:
    """The value of a document inside another one; None for a type that nobody here knows."""
    kind = Value._registry.get(document.get("_type", ""))
    return None if kind is None else kind.from_json(document, source)
