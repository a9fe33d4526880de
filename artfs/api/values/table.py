"""Tables: rows of cells under named columns, each with a type that is found from the data.

How a table becomes a document, and is read from one, is in `tablefile`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

from artfs.api.values import columntypes as types
from artfs.api.values import tablefile
from artfs.api.values.base import Value
from artfs.api.values.links import ForeignIndex, ForeignKey, Key, PrimaryKey, RowIndex
from artfs.api.values.optional import is_array, is_dataframe, require
from artfs.api.values.places import Json, Source, Target

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ColumnKey: TypeAlias = str | int
LogMode: TypeAlias = Literal["IMMUTABLE", "MUTABLE"]


class Table(Value):
    """A table. `columns` are the names of its columns, `data` its rows, each a list of cells.

    A cell is a number, a string, a truth value, None, a time, a list, dictionary or numpy array of
    such, or a media value (`Image`, `Audio`, …).

    - `data`: rows (lists or tuples), a numpy array of two dimensions, or a pandas DataFrame
    - `dataframe`: a pandas DataFrame, which brings the names of its columns
    - `dtype`: the type of all columns, or a list with one for each: a class (`int`, `str`,
      `artfs.Image`), a list or dictionary of these, or a constant
    - `optional`: whether None is allowed, for all columns or each
    - `allow_mixed_types`: let a column hold values of different types
    - `log_mode`: recorded in the file, for W&B. INCREMENTAL tables are made by W&B's runs: they
      can be read, and are then ordinary ones

    Raises `TypeError` for data that do not fit together.
    """

    type_name = "table"
    #: W&B's limits, for who asks. There is none here.
    MAX_ROWS = MAX_ARTIFACT_ROWS = sys.maxsize

    def __init__(
        self,
        columns: Sequence[ColumnKey] | None = None,
        data: Sequence[Iterable[Any]] | np.ndarray | pd.DataFrame | None = None,
        rows: Sequence[Iterable[Any]] | None = None,
        dataframe: pd.DataFrame | None = None,
        dtype: object = None,
        optional: bool | list[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: LogMode = "IMMUTABLE",
    ) -> None:
        if log_mode not in ("IMMUTABLE", "MUTABLE"):
            raise ValueError(f"log_mode {log_mode!r} is neither 'IMMUTABLE' nor 'MUTABLE'")
        if dataframe is None and is_dataframe(data):
            dataframe = data
        if dataframe is not None:
            if not is_dataframe(dataframe):
                raise TypeError("dataframe is no pandas DataFrame")
            columns, data = _split_dataframe(dataframe)
        if columns is None:
            columns = ["Input", "Output", "Expected"]
        if not isinstance(columns, list) or not all(type(c) in (str, int) for c in columns):
            raise TypeError("columns must be a list of strings or integers")
        self.columns: list[Any] = list(columns)
        self.data: list[list[Any]] = []
        self.log_mode: LogMode = log_mode
        self._types: dict[ColumnKey, types.ColumnType] = {}
        self._make_types(types.ANY if allow_mixed_types else dtype, optional)
        found = data if data is not None else rows if rows is not None else []
        if not (isinstance(found, list | tuple) or is_array(found)):
            raise TypeError("data must be a list of rows, a numpy array or a pandas DataFrame")
        for row in found:
            self.add_data(*row)

    def _make_types(self, dtype: object, optional: bool | list[bool]) -> None:
        count = len(self.columns)
        dtypes = dtype if isinstance(dtype, list) else [dtype] * count
        optionals = optional if isinstance(optional, list) else [optional] * count
        if not len(dtypes) == len(optionals) == count:
            raise ValueError(f"dtype and optional must be one, or one for each of {count} columns")
        for column, kind, may_be_none in zip(self.columns, dtypes, optionals, strict=True):
            self.cast(column, types.UNKNOWN if kind is None else kind, may_be_none)

    def add_data(self, *data: object) -> None:
        """Add a row. Raises `ValueError` for a wrong number of cells, `TypeError` for a cell that
        does not fit the type of its column."""
        if len(data) != len(self.columns):
            raise ValueError(f"{len(data)} cells for {len(self.columns)} columns: {self.columns}")
        changed: dict[ColumnKey, types.ColumnType] = {}
        for column, cell in zip(self.columns, data, strict=True):
            if isinstance(cell, Key | RowIndex):
                self.cast(column, types.type_of(cell))
            changed[column] = self._types[column].assign(cell)
            if changed[column] == types.INVALID:
                raise TypeError(
                    f"column {column!r} holds {self._types[column]}, and {cell!r} is of type "
                    f"{types.type_of(cell)}"
                )
        self._types = changed
        self.data.append(list(data))
        self._link(self.data[-1])

    add_row = add_data

    def add_column(self, name: str, data: list[Any] | np.ndarray, optional: bool = False) -> None:
        """Add a column with as many cells as the table has rows."""
        if not isinstance(name, str) or name in self.columns:
            raise ValueError(f"a new column needs a name of its own: {name!r}")
        if not (isinstance(data, list) or is_array(data)):
            raise TypeError("data must be a list or a numpy array")
        first = not self.columns
        if not first and len(data) != len(self.data):
            raise ValueError(f"{len(data)} cells for {len(self.data)} rows")
        rows: list[list[Any]] = [[] for _ in data] if first else self.data
        kind = _type_of_column(types.optional(types.UNKNOWN) if optional else types.UNKNOWN, data)
        self.columns.append(name)
        self._types[name] = kind
        for row, cell in zip(rows, data, strict=True):
            row.append(cell)
        self.data = rows
        self._link_all()

    def add_computed_columns(
        self, fn: Callable[[int, dict[ColumnKey, Any]], dict[str, Any]]
    ) -> None:
        """Add columns made from what is there: `fn(index, row as dictionary)` gives a dictionary
        with the cells of the new columns."""
        added: dict[str, list[Any]] = {}
        for index, row in self.iterrows():
            for name, cell in fn(index, dict(zip(self.columns, row, strict=True))).items():
                added.setdefault(name, []).append(cell)
        for name, cells in added.items():
            self.add_column(name, cells)

    def cast(self, col_name: ColumnKey, dtype: object, optional: bool = False) -> types.ColumnType:
        """Give a column a type. Raises `TypeError` if a cell in it does not fit."""
        position = self._position(col_name)
        kind = types.type_from(dtype)
        if isinstance(kind, PrimaryKey | ForeignKey | ForeignIndex):
            self._check_key(col_name, kind, optional)
        start = types.optional(kind) if optional else kind
        self._types[col_name] = _type_of_column(start, [row[position] for row in self.data])
        self._link_all()
        return self._types[col_name]

    def _check_key(
        self, column: ColumnKey, kind: PrimaryKey | ForeignKey | ForeignIndex, optional: bool
    ) -> None:
        if optional:
            raise ValueError("the cells of a key column cannot be None")
        if isinstance(kind, PrimaryKey):
            others = [c for c, t in self._types.items() if isinstance(t, PrimaryKey)]
            if others and others != [column]:
                raise ValueError(f"column {others[0]!r} is the primary key already")
        elif kind.table is self:
            raise ValueError("a table cannot refer to itself")

    def set_pk(self, col_name: ColumnKey) -> None:
        """Make a column of strings the one whose values name the rows."""
        self.cast(col_name, PrimaryKey())

    def set_fk(self, col_name: ColumnKey, table: Table, table_col: ColumnKey) -> None:
        """Say that the cells of a column are values of a column of another table."""
        self.cast(col_name, ForeignKey(table, table_col))

    def _link_all(self) -> None:
        if any(isinstance(t, PrimaryKey | ForeignKey | ForeignIndex) for t in self._types.values()):
            for row in self.data:
                self._link(row)

    def _link(self, row: list[Any]) -> None:
        """Make the cells of key columns know what they refer to."""
        for position, column in enumerate(self.columns):
            kind = self._types.get(column)
            cell = row[position]
            if isinstance(kind, PrimaryKey):
                row[position] = Key(cell, self, column)
            elif isinstance(kind, ForeignKey) and not isinstance(cell, Key):
                row[position] = Key(cell, kind.table, kind.column)
            elif isinstance(kind, ForeignIndex) and not isinstance(cell, RowIndex):
                row[position] = RowIndex(cell, kind.table)

    @overload
    def get_column(self, name: ColumnKey, convert_to: None = None) -> list[Any]: ...
    @overload
    def get_column(self, name: ColumnKey, convert_to: Literal["numpy"]) -> np.ndarray: ...

    def get_column(
        self, name: ColumnKey, convert_to: Literal["numpy"] | None = None
    ) -> list[Any] | np.ndarray:
        """The cells of a column, as a list or numpy array (images become their pixels)."""
        position = self._position(name)
        cells = [row[position] for row in self.data]
        if convert_to is None:
            return cells
        if convert_to != "numpy":
            raise ValueError(f"cannot convert to {convert_to!r}, only to 'numpy'")
        numpy = require("numpy", "a column as an array")
        plain = [cell.to_data_array() if isinstance(cell, Value) else cell for cell in cells]
        array: np.ndarray = numpy.array(plain)
        return array

    def get_dataframe(self) -> pd.DataFrame:
        """The table as a pandas DataFrame."""
        pandas = require("pandas", "a table as a DataFrame")
        return pandas.DataFrame.from_records(self.data, columns=self.columns)

    def iterrows(self) -> Iterator[tuple[RowIndex, list[Any]]]:
        """The rows with their numbers. Such a number, in another table, refers to the row."""
        for index, row in enumerate(self.data):
            yield RowIndex(index, self), row

    def get_index(self) -> list[RowIndex]:
        """The numbers of all rows, for a column of another table."""
        return [RowIndex(index, self) for index in range(len(self.data))]

    def index_ref(self, index: int) -> RowIndex:
        """The number of one row, for a cell of another table."""
        if not 0 <= index < len(self.data):
            raise IndexError(f"the table has {len(self.data)} rows, and none is row {index}")
        return RowIndex(index, self)

    def column_type(self, name: ColumnKey) -> types.ColumnType:
        """The type of a column."""
        self._position(name)
        return self._types[name]

    def _position(self, column: ColumnKey) -> int:
        if column not in self.columns:
            raise ValueError(f"the table has no column {column!r}: {self.columns}")
        return self.columns.index(column)

    def to_json(self, target: Target) -> Json:
        return tablefile.to_json(self, target)

    @classmethod
    def from_json(cls, document: Json, source: Source) -> Self:
        read = tablefile.from_json(document, source)
        if read.types is None:
            try:
                return cls(read.columns, read.rows, log_mode=read.log_mode)
            except TypeError:  # written before columns had types
                return cls(read.columns, read.rows, allow_mixed_types=True, log_mode=read.log_mode)
        table = cls([], log_mode=read.log_mode)
        table.columns, table.data, table._types = read.columns, read.rows, read.types
        table._link_all()
        return table

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return (
            self.columns == other.columns
            and self._types == other._types
            and len(self.data) == len(other.data)
            and all(map(_rows_equal, self.data, other.data))
        )

    __hash__ = None  # type: ignore[assignment]  # it can change


def _split_dataframe(frame: pd.DataFrame) -> tuple[list[Any], list[list[Any]]]:
    columns = list(frame.columns)
    cells = [frame[column].values for column in columns]
    return columns, [[column[row] for column in cells] for row in range(len(frame))]


def _type_of_column(start: types.ColumnType, cells: Iterable[object]) -> types.ColumnType:
    kind = start
    for cell in cells:
        result = kind.assign(cell)
        if result == types.INVALID:
            raise TypeError(f"{cell!r}, of type {types.type_of(cell)}, is not of type {kind}")
        kind = result
    return kind


def _rows_equal(mine: list[Any], other: list[Any]) -> bool:
    for a, b in zip(mine, other, strict=True):
        equal = a == b
        # Arrays are compared cell by cell; of different shapes, they are just not equal.
        if not (bool(equal.all()) if is_array(equal) else bool(equal)):
            return False
    return True


types.register(Table, lambda table: TableType(types.TypedDict(table._types)), lambda: TableType())


class TableType(types.ColumnType):
    """Tables as cells of tables."""

    name = "table"
    old_names = ("wandb.Table",)

    def __init__(self, column_types: object = types.UNKNOWN) -> None:
        self.columns = types.type_from(column_types)

    @property
    def params(self) -> Json:
        return {"column_types": self.columns}

    def assign_type(self, other: types.ColumnType) -> types.ColumnType:
        if not isinstance(other, TableType):
            return types.INVALID
        columns = self.columns.assign_type(other.columns)
        return types.INVALID if columns == types.INVALID else TableType(columns)
