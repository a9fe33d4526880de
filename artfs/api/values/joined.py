"""Tables that consist of others in the same artifact, or in others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, TypeAlias

from artfs.api.values import columntypes as types
from artfs.api.values.base import Value, find, read, write_part
from artfs.api.values.places import ForeignEntry, Json, Source, Target
from artfs.api.values.table import Table

SUFFIX = ".table.json"


class PartitionedTable(Value):
    """A table whose rows are those of all tables below the directory `parts_path` of the artifact.

    The parts may be added before it or after, by several writers.
    """

    type_name = "partitioned-table"

    def __init__(self, parts_path: str) -> None:
        self.parts_path = parts_path
        self._source: Source | None = None

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """The rows with their numbers, part after part in the order of their names; one part is
        in memory at a time. None before it was got from an artifact.

        Raises `ValueError` for a part with other columns than the first.
        """
        columns: list[Any] | None = None
        index = 0
        for part in self._parts():
            if columns is None:
                columns = part.columns
            elif part.columns != columns:
                raise ValueError(f"parts have different columns: {columns} and {part.columns}")
            for row in part.data:
                yield index, row
                index += 1

    def _parts(self) -> Iterator[Table]:
        if self._source is None:
            return
        for name in self._source.names(self.parts_path):
            if name.endswith(SUFFIX):
                part = read(name, self._source)
                assert isinstance(part, Table), name
                yield part

    def to_json(self, _target: Target) -> Json:
        return {"_type": self.type_name, "parts_path": self.parts_path}

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        table = cls(document["parts_path"])
        table._source = source
        return table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartitionedTable) and self.parts_path == other.parts_path

    def __hash__(self) -> int:
        return hash(self.parts_path)


#: A table, the path of one in the artifact, or an entry of another artifact.
Part: TypeAlias = Table | PartitionedTable | str | ForeignEntry


class JoinedTable(Value):
    """Two tables, and the column that they are joined by.

    `table1` and `table2` are tables, which are added with it unless they were before, names of
    their files in the artifact (`….table.json`), or entries of such files in another artifact of
    the store (`get_path`), which are referred to; `join_key` is a column, or a list of two.
    """

    type_name = "joined-table"

    def __init__(self, table1: Part, table2: Part, join_key: str | list[str]) -> None:
        if not isinstance(join_key, str) and not (
            isinstance(join_key, list) and len(join_key) == 2
        ):
            raise ValueError(f"join_key must be a string or a list of two: {join_key!r}")
        self.table1 = _checked(table1)
        self.table2 = _checked(table2)
        self.join_key = join_key

    def to_json(self, target: Target) -> Json:
        return {
            "_type": self.type_name,
            "table1": _in_artifact(self.table1, "t1_", target),
            "table2": _in_artifact(self.table2, "t2_", target),
            "join_key": self.join_key,
        }

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        table1, table2 = _part(document["table1"], source), _part(document["table2"], source)
        return cls(table1, table2, document["join_key"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JoinedTable):
            return NotImplemented
        return (self.table1, self.table2, self.join_key) == (
            other.table1,
            other.table2,
            other.join_key,
        )

    __hash__ = None  # type: ignore[assignment]  # its tables can change


def _checked(table: Part) -> Part:
    if isinstance(table, Table | PartitionedTable):
        return table
    path = table if isinstance(table, str) else getattr(table, "path", None)
    if isinstance(path, str) and path.endswith(SUFFIX):
        return table
    raise ValueError(f"neither a table nor the name of a {SUFFIX} file: {table!r}")


def _in_artifact(table: Part, beginning: str, target: Target) -> str:
    if isinstance(table, Table | PartitionedTable):
        return write_part(table, beginning, target)
    if not isinstance(table, str):
        name = f"{table.digest[:20]}{SUFFIX}"
        if not target.has(name):
            target.add_reference(table, name)
        return name
    if not target.has(table):
        raise ValueError(f"{table} is not in the artifact: add it before the JoinedTable")
    return table


def _part(name: str, source: Source) -> Part:
    if find(name, source) is None:
        return name
    table = read(name, source)
    if not isinstance(table, Table | PartitionedTable):
        raise TypeError(f"{name} holds {type(table).__name__}")
    return table


class JoinedTableType(types.ColumnType):
    name = "joined-table"


class PartitionedTableType(types.ColumnType):
    name = "partitioned-table"


types.register(JoinedTable, lambda _: JoinedTableType(), JoinedTableType)
types.register(PartitionedTable, lambda _: PartitionedTableType(), PartitionedTableType)
