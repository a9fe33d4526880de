"""The names of classes by their ids, for masks and boxes over images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

from artfs.api.values import columntypes as types
from artfs.api.values.base import Value, read
from artfs.api.values.optional import bare
from artfs.api.values.places import Json, Source, Target, encode, wandb_digest


class Classes(Value):
    """A list of `{"id": number or string, "name": string}`."""

    type_name = "classes"

    def __init__(self, class_set: Sequence[Mapping[str, Any]]) -> None:
        class_set = list(class_set)
        for one in class_set:
            if "id" not in one or "name" not in one:
                raise ValueError(f"a class needs an id and a name: {one!r}")
        self.class_set = [{**one, "id": bare(one["id"])} for one in class_set]

    def get_type(self) -> types.ColumnType:
        """The type of a column that holds ids of these classes."""
        return ClassesId(self)

    def labels(self) -> dict[Any, str]:
        """The names by id."""
        return {one["id"]: one["name"] for one in self.class_set}

    def to_json(self, _target: Target) -> Json:
        return {"_type": self.type_name, "class_set": self.class_set}

    @classmethod
    def from_json(cls, document: Json, _source: Source) -> Self:
        return cls(document["class_set"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self.class_set == other.class_set

    def __hash__(self) -> int:
        return hash(str(self.class_set))

    def put(self, target: Target) -> Json:
        """Write the file, unless it is there; returns how others point to it."""
        content = encode(self.to_json(target))
        # W&B's name for the same classes is the same.
        digest = hashlib.md5(str(self.class_set).encode(), usedforsecurity=False).hexdigest()
        name = self.with_suffix(f"media/classes/{digest}_cls")
        if not target.has(name):
            with target.new_file(name) as file:
                file.write(content)
        return {"type": "classes-file", "path": name, "digest": wandb_digest(content)}


def read_classes(name: str, source: Source) -> Classes:
    found = read(name, source)
    if not isinstance(found, Classes):
        raise TypeError(f"{name} holds {type(found).__name__}")
    return found


class ClassesId(types.ColumnType):
    """Ids of classes."""

    name = "classesId"
    old_names = ("wandb.Classes_id",)

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.valid = types.Union([types.Const(one["id"]) for one in classes.class_set])

    @property
    def params(self) -> Json:
        return {"valid_ids": self.valid}

    def assign(self, value: object) -> types.ColumnType:
        return self.assign_type(types.Const(value))

    def assign_type(self, other: types.ColumnType) -> types.ColumnType:
        return types.INVALID if self.valid.assign_type(other) == types.INVALID else self

    def to_json(self, target: Target) -> Json:
        document = super().to_json(target)
        document["params"]["classes_obj"] = self.classes.put(target)
        return document

    @classmethod
    def from_params(cls, params: Json, source: Source) -> ClassesId:
        where = params["classes_obj"]
        if where.get("type") == "classes-file":
            return cls(read_classes(where["path"], source))
        return cls(Classes.from_json(where, source))


types.register(Classes, ClassesId)
