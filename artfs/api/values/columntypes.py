"""The types of a table's columns, as W&B writes them into `column_types`.

A type takes a value by `assign`, and answers with the type that holds the value too, which may be
itself, or with `INVALID`. That is how columns get types from data: they begin as `UNKNOWN`.
The order of the types in a union is that of their `repr`, here as there.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from artfs.api.values.optional import Foreign, is_array, is_scalar
from artfs.api.values.places import Json, JsonValue, Source, Target, with_json_keys


class ColumnType:
    """Base of all types. `params` says more of the type than its name does."""

    name: ClassVar[str] = ""
    #: W&B's earlier names of the type, found in old files.
    old_names: ClassVar[tuple[str, ...]] = ()
    _by_name: ClassVar[dict[str, type[ColumnType]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in (cls.name, *cls.old_names):
            ColumnType._by_name[name] = cls

    @property
    def params(self) -> Json:
        return {}

    def assign(self, value: object) -> ColumnType:
        """The type after a value was added to what is of this type."""
        return self.assign_type(type_of(value))

    def assign_type(self, other: ColumnType) -> ColumnType:
        return self if self == other else INVALID

    def to_json(self, target: Target) -> Json:
        document: Json = {"wb_type": self.name}
        if self.params:
            document["params"] = _params_to_json(self.params, target)
        return document

    @classmethod
    def from_params(cls, params: Json, source: Source) -> ColumnType:
        return cls(**{key: _params_from_json(value, source) for key, value in params.items()})

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ColumnType)
            and self.name == other.name
            and self.params == other.params
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        inner = ", ".join(f"{key}:{value}" for key, value in self.params.items())
        return self.name.capitalize() + (f"({inner})" if inner else "")


class Invalid(ColumnType):
    """What results from an assignment that is not allowed."""

    name = "invalid"

    def assign_type(self, _other: ColumnType) -> ColumnType:
        return self


class AnyValue(ColumnType):
    """Everything but None."""

    name = "any"

    def assign_type(self, other: ColumnType) -> ColumnType:
        return INVALID if other in (NONE, INVALID) else self


class Unknown(ColumnType):
    """Nothing was assigned yet; the first value that is not None decides."""

    name = "unknown"

    def assign_type(self, other: ColumnType) -> ColumnType:
        return INVALID if other == NONE else other


class NoneValue(ColumnType):
    name = "none"


class String(ColumnType):
    name = "string"


class Number(ColumnType):
    name = "number"


class Boolean(ColumnType):
    name = "boolean"


class Timestamp(ColumnType):
    """Points in time, written as milliseconds since 1970."""

    name = "timestamp"


class ArtifactVersion(ColumnType):
    """W&B's address of an artifact, a string `wandb-artifact://…`."""

    name = "artifactVersion"


INVALID = Invalid()
ANY = AnyValue()
UNKNOWN = Unknown()
NONE = NoneValue()
STRING = String()
NUMBER = Number()
BOOLEAN = Boolean()
TIMESTAMP = Timestamp()


class PythonObject(ColumnType):
    """An object of a class that has no type of its own."""

    name = "pythonObject"
    old_names = ("object",)

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name

    @property
    def params(self) -> Json:
        return {"class_name": self.class_name}


class Const(ColumnType):
    """One value, or a set of them."""

    name = "const"

    def __init__(self, val: object = None, is_set: bool = False) -> None:
        self.is_set = is_set or isinstance(val, set)
        if self.is_set and not isinstance(val, Iterable):
            raise TypeError(f"{val!r} is no set")
        self.val: Any = set(val) if isinstance(val, Iterable) and self.is_set else val

    @property
    def params(self) -> Json:
        return {"val": self.val, "is_set": self.is_set}

    def assign(self, value: object) -> ColumnType:
        return self.assign_type(Const(value))

    def __repr__(self) -> str:
        return str(self.val)


class Union(ColumnType):
    """One of several types."""

    name = "union"

    def __init__(self, allowed_types: Iterable[object] = ()) -> None:
        self.allowed = sorted(_flat(type_from(kind) for kind in allowed_types), key=repr)

    @property
    def params(self) -> Json:
        return {"allowed_types": self.allowed}

    def assign(self, value: object) -> ColumnType:
        return self._extended(lambda kind: kind.assign(value))

    def assign_type(self, other: ColumnType) -> ColumnType:
        result: ColumnType = self
        for kind in other.allowed if isinstance(other, Union) else [other]:
            if not isinstance(result, Union):
                return INVALID
            result = result._extended(lambda allowed, kind=kind: allowed.assign_type(kind))  # type: ignore[misc]  # the default binds the loop's value, which mypy takes for an argument
        return result

    def _extended(self, assign: Callable[[ColumnType], ColumnType]) -> ColumnType:
        """With the first type replaced that takes the value; an unknown one takes it last."""
        known_first = sorted(range(len(self.allowed)), key=lambda i: self.allowed[i] == UNKNOWN)
        for index in known_first:
            result = assign(self.allowed[index])
            if result is self.allowed[index]:
                return self
            if result != INVALID:
                return Union([*self.allowed[:index], result, *self.allowed[index + 1 :]])
        return INVALID

    def __repr__(self) -> str:
        return " or ".join(map(repr, self.allowed))


def _flat(kinds: Iterable[ColumnType]) -> list[ColumnType]:
    flat: list[ColumnType] = []
    for kind in kinds:
        flat += kind.allowed if isinstance(kind, Union) else [kind]
    return flat


def optional(kind: ColumnType) -> Union:
    """The type, or None."""
    return Union([kind, NONE])


class ListOf(ColumnType):
    """A list of values of one type; `length` is None where lists of several lengths were seen."""

    name = "list"

    def __init__(self, element_type: object = UNKNOWN, length: int | None = None) -> None:
        self.element_type = type_from(element_type)
        self.length = length

    @property
    def params(self) -> Json:
        return {"element_type": self.element_type, "length": self.length}

    @staticmethod
    def of(items: list[Any]) -> ListOf:
        start: ColumnType = optional(UNKNOWN) if any(item is None for item in items) else UNKNOWN
        return ListOf(_assign_all(start, items), len(items))

    def assign(self, value: object) -> ColumnType:
        if not isinstance(value, Iterable):
            return INVALID
        items = list(value)
        element_type = _assign_all(self.element_type, items)
        return INVALID if items and element_type == INVALID else ListOf(element_type, len(items))

    def assign_type(self, other: ColumnType) -> ColumnType:
        if not isinstance(other, ListOf):
            return INVALID
        element_type = self.element_type.assign_type(other.element_type)
        if element_type == INVALID:
            return INVALID
        return ListOf(element_type, self.length if self.length == other.length else None)

    def __repr__(self) -> str:
        return f"{self.element_type}[]"


def _assign_all(kind: ColumnType, items: Iterable[object]) -> ColumnType:
    for item in items:
        kind = kind.assign(item)
    return kind


class NDArray(ColumnType):
    """Numpy arrays of one shape; `serialization_path` tells where a column of them is stored."""

    name = "ndarray"

    def __init__(
        self, shape: Iterable[int], serialization_path: dict[str, str] | None = None
    ) -> None:
        self.shape = list(shape)
        self.serialization_path = serialization_path

    @property
    def params(self) -> Json:
        return {"shape": self.shape}

    @staticmethod
    def of(value: Foreign) -> NDArray:
        if not isinstance(value, list):
            return NDArray(value.shape)
        shape: list[int] = []
        while isinstance(value, list):
            shape.append(len(value))
            value = value[0] if value else None
        return NDArray(shape)

    def assign(self, value: object) -> ColumnType:
        if is_array(value) or isinstance(value, list):
            return self.assign_type(NDArray.of(value))
        return INVALID

    def assign_type(self, other: ColumnType) -> ColumnType:
        return self if self == other or isinstance(other, ListOf) else INVALID

    def to_json(self, _target: Target) -> Json:
        path = self.serialization_path
        return {
            "wb_type": self.name,
            "params": {"shape": self.shape, "serialization_path": path},
        }


class TypedDict(ColumnType):
    """A dictionary with a type for each of its keys."""

    name = "typedDict"
    old_names = ("dictionary",)

    def __init__(self, type_map: dict[Any, object] | None = None) -> None:
        self.types = {key: type_from(kind) for key, kind in (type_map or {}).items()}

    @property
    def params(self) -> Json:
        return {"type_map": self.types}

    def assign(self, value: object) -> ColumnType:
        if not isinstance(value, dict) or value.keys() - self.types.keys():
            return INVALID
        return _dict_of({key: kind.assign(value.get(key)) for key, kind in self.types.items()})

    def assign_type(self, other: ColumnType) -> ColumnType:
        if not isinstance(other, TypedDict) or other.types.keys() - self.types.keys():
            return INVALID
        return _dict_of(
            {k: kind.assign_type(other.types.get(k, UNKNOWN)) for k, kind in self.types.items()}
        )

    def __repr__(self) -> str:
        return repr(self.types)


def _dict_of(types: dict[Any, ColumnType]) -> ColumnType:
    if any(kind == INVALID for kind in types.values()):
        return INVALID
    return TypedDict({**types})


# From the class of a value to its type; values add their own. Subclasses are not looked for: W&B
# takes an instance of a subclass of str for an object of unknown type, too.
_BY_CLASS: dict[type, Callable[[Any], ColumnType]] = {
    type(None): lambda _: NONE,
    str: lambda _: STRING,
    int: lambda _: NUMBER,
    float: lambda value: NONE if math.isnan(value) else NUMBER,
    bool: lambda _: BOOLEAN,
    datetime.datetime: lambda _: TIMESTAMP,
    datetime.date: lambda _: TIMESTAMP,
    dict: lambda value: TypedDict({key: type_of(item) for key, item in value.items()}),
    **dict.fromkeys((list, tuple, set, frozenset), lambda value: ListOf.of(list(value))),
}
# From a class to the type that is meant where a class is given in place of a type.
_CLASS_ITSELF: dict[type, Callable[[], ColumnType]] = {
    type(None): lambda: NONE,
    str: lambda: STRING,
    int: lambda: NUMBER,
    float: lambda: NUMBER,
    bool: lambda: BOOLEAN,
    datetime.datetime: lambda: TIMESTAMP,
    datetime.date: lambda: TIMESTAMP,
    dict: TypedDict,
    **dict.fromkeys((list, tuple, set, frozenset), ListOf),
}


def register(
    cls: type, of: Callable[[Any], ColumnType], itself: Callable[[], ColumnType] | None = None
) -> None:
    """Say which type the instances of a class have, and which one the class itself stands for."""
    _BY_CLASS[cls] = of
    if itself is not None:
        _CLASS_ITSELF[cls] = itself


def type_of(value: object) -> ColumnType:
    """The type of a value."""
    if isinstance(value, str) and value.startswith("wandb-artifact://"):
        return ArtifactVersion()
    if isinstance(value, dict) and value.get("_type") == "artifactVersion":
        return ArtifactVersion()
    known = _BY_CLASS.get(type(value))
    if known is not None:
        return known(value)
    if is_array(value):
        return NDArray.of(value)
    if is_scalar(value):
        return _type_of_scalar(type(value)) or PythonObject(type(value).__name__)
    return PythonObject(type(value).__name__)


def _type_of_scalar(cls: type) -> ColumnType | None:
    names = {base.__name__ for base in cls.__mro__}
    if "datetime64" in names:
        return TIMESTAMP
    if "number" in names and "timedelta64" not in names:
        return NUMBER
    # numpy 1 calls it bool_.
    return BOOLEAN if names & {"bool", "bool_"} else None


def type_from(dtype: object) -> ColumnType:
    """The type that somebody means: a type, a class (`int`, `artfs.Image`), a list or dictionary
    of these; anything else is a constant."""
    if isinstance(dtype, ColumnType):
        return dtype
    if isinstance(dtype, type):
        if issubclass(dtype, ColumnType):
            return dtype()
        known = _CLASS_ITSELF.get(dtype) or _scalar_class(dtype)
        return known() if known is not None else PythonObject(dtype.__name__)
    if isinstance(dtype, list):
        return Union(dtype) if len(dtype) > 1 else ListOf(*dtype)
    if isinstance(dtype, dict):
        return TypedDict(dtype)
    return Const(dtype)


def _scalar_class(cls: type) -> Callable[[], ColumnType] | None:
    kind = _type_of_scalar(cls) if cls.__module__ == "numpy" else None
    return None if kind is None else lambda: kind


def type_from_json(document: Json, source: Source) -> ColumnType:
    """Raises `ValueError` for a type that nobody here knows."""
    name = document["wb_type"]
    kind = ColumnType._by_name.get(name)
    if kind is None:
        raise ValueError(f"unknown type {name!r}")
    return kind.from_params(document.get("params", {}), source)


def _params_to_json(value: JsonValue, target: Target) -> JsonValue:
    if isinstance(value, ColumnType):
        return value.to_json(target)
    if isinstance(value, dict):
        return with_json_keys({key: _params_to_json(item, target) for key, item in value.items()})
    if isinstance(value, set):
        value = sorted(value, key=repr)
    if isinstance(value, list):
        return [_params_to_json(item, target) for item in value]
    return value


def _params_from_json(value: JsonValue, source: Source) -> JsonValue:
    if isinstance(value, dict):
        if "wb_type" in value:
            return type_from_json(value, source)
        return {key: _params_from_json(item, source) for key, item in value.items()}
    if isinstance(value, list):
        return [_params_from_json(item, source) for item in value]
    return value
