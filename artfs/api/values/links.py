"""Cells that refer to rows of tables: keys and row numbers, and the column types of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from artfs.api.values import columntypes as types
from artfs.api.values.base import read, write_part
from artfs.api.values.places import Json, Source, Target

if TYPE_CHECKING:
    from artfs.api.values.table import ColumnKey, Table

#: Where tables lie that others refer to.
LINKED = "media/tables/"


class Key(str):
    """A string that is a value of the column `column` of `table`."""

    table: Table
    column: ColumnKey

    def __new__(cls, value: str, table: Table, column: ColumnKey) -> Key:
        key = super().__new__(cls, value)
        key.table = table
        key.column = column
        return key

    def __reduce__(self) -> tuple[object, ...]:
        # The table, which may hold this key, comes after it.
        return str.__new__, (Key, str(self)), {"table": self.table, "column": self.column}


class RowIndex(int):
    """The number of a row of `table`."""

    table: Table

    def __new__(cls, value: int, table: Table) -> RowIndex:
        index = super().__new__(cls, value)
        index.table = table
        return index

    def __reduce__(self) -> tuple[object, ...]:
        return int.__new__, (RowIndex, int(self)), {"table": self.table}

    def get_row(self) -> dict[ColumnKey, Any]:
        """The row, by column."""
        return dict(zip(self.table.columns, self.table.data[self], strict=True))


class PrimaryKey(types.ColumnType):
    name = "primaryKey"
    old_names = ("wandb.TablePrimaryKey",)

    def assign_type(self, other: types.ColumnType) -> types.ColumnType:
        return self if isinstance(other, types.String | PrimaryKey) else types.INVALID


class ForeignKey(types.ColumnType):
    """Values of a column of another table."""

    name = "foreignKey"
    old_names = ("wandb.TableForeignKey",)

    def __init__(self, table: Table, col_name: ColumnKey) -> None:
        if col_name not in table.columns:
            raise ValueError(f"the other table has no column {col_name!r}: {table.columns}")
        self.table = table
        self.column = col_name

    @property
    def params(self) -> Json:
        return {"table": self.table, "col_name": self.column}

    def assign_type(self, other: types.ColumnType) -> types.ColumnType:
        if isinstance(other, types.String):
            return self
        same = (
            isinstance(other, ForeignKey)
            and other.table is self.table
            and other.column == self.column
        )
        return self if same else types.INVALID

    def to_json(self, target: Target) -> Json:
        table = write_part(self.table, LINKED, target)
        return {"wb_type": self.name, "params": {"table": table, "col_name": self.column}}

    @classmethod
    def from_params(cls, params: Json, source: Source) -> ForeignKey:
        return cls(_table(params, source), params["col_name"])


class ForeignIndex(types.ColumnType):
    """Numbers of rows of another table."""

    name = "foreignIndex"
    old_names = ("wandb.TableForeignIndex",)

    def __init__(self, table: Table) -> None:
        self.table = table

    @property
    def params(self) -> Json:
        return {"table": self.table}

    def assign_type(self, other: types.ColumnType) -> types.ColumnType:
        same = isinstance(other, ForeignIndex) and other.table is self.table
        return self if same or isinstance(other, types.Number) else types.INVALID

    def to_json(self, target: Target) -> Json:
        table = write_part(self.table, LINKED, target)
        return {"wb_type": self.name, "params": {"table": table}}

    @classmethod
    def from_params(cls, params: Json, source: Source) -> ForeignIndex:
        return cls(_table(params, source))


def _table(params: Json, source: Source) -> Table:
    table: Any = read(params["table"], source)
    return table  # type: ignore[no-any-return]  # its class is in a module that imports this one


types.register(Key, lambda key: ForeignKey(key.table, key.column))
types.register(RowIndex, lambda index: ForeignIndex(index.table))
