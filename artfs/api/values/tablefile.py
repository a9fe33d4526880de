"""A table's document, and back.

Columns of numpy arrays lie in compressed `.npz` files of their own, one per column, unless the
arrays are short vectors; times are milliseconds since 1970.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from artfs.api.values import columntypes as types
from artfs.api.values.cells import cell_from_json, cell_to_json, time_from_json
from artfs.api.values.optional import Foreign, is_array, require
from artfs.api.values.places import Json, Source, Target, name_of

if TYPE_CHECKING:
    from artfs.api.values.table import ColumnKey, LogMode, Table

ARRAYS = "media/serialized_data"
#: Vectors up to this length are embeddings, and lie in the document as lists of numbers.
MAX_VECTOR = 150


def to_json(table: Table, target: Target) -> Json:
    column_types = {column: table.column_type(column) for column in table.columns}
    elsewhere: set[int] = set()
    for position, column in enumerate(table.columns):
        array = _array_in(column_types[column])
        if array is None:
            continue
        if len(array.shape) == 1 and array.shape[0] <= MAX_VECTOR:
            column_types[column] = types.ListOf(types.NUMBER, array.shape[0])
        elif all(_is_storable(row[position]) for row in table.data):
            stored = _store_arrays(table, column, array, target)
            column_types[column] = _with_array(column_types[column], stored)
            elsewhere.add(position)
        # Arrays with None among them have no common shape, and are written as lists; as are those
        # of Python objects, which nobody would load, as that is to run what a file says.
    return {
        "_type": "table",
        "columns": table.columns,
        "data": [
            [
                None if position in elsewhere else cell_to_json(cell, target)
                for position, cell in enumerate(row)
            ]
            for row in table.data
        ],
        "ncols": len(table.columns),
        "nrows": len(table.data),
        "column_types": types.TypedDict({**column_types}).to_json(target),
        "log_mode": table.log_mode,
    }


def _is_storable(cell: Foreign) -> bool:
    return is_array(cell) and not cell.dtype.hasobject


def _array_in(kind: types.ColumnType) -> types.NDArray | None:
    found = [k for k in _alternatives(kind) if isinstance(k, types.NDArray)]
    return found[0] if found else None


def _alternatives(kind: types.ColumnType) -> list[types.ColumnType]:
    return kind.allowed if isinstance(kind, types.Union) else [kind]


def _with_array(kind: types.ColumnType, array: types.NDArray) -> types.ColumnType:
    if not isinstance(kind, types.Union):
        return array
    return types.Union([array if isinstance(k, types.NDArray) else k for k in kind.allowed])


def _store_arrays(
    table: Table, column: ColumnKey, array: types.NDArray, target: Target
) -> types.NDArray:
    numpy = require("numpy", "a table with arrays")
    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, **{str(column): table.get_column(column, "numpy")})
    content = buffer.getvalue()
    name = f"{ARRAYS}/{name_of(content)}.npz"
    if not target.has(name):
        with target.new_file(name) as file:
            file.write(content)
    return types.NDArray(array.shape, {"path": name, "key": str(column)})


@dataclass(frozen=True)
class Read:
    """What a document says. `types` is None in old ones."""

    columns: list[Any]
    rows: list[list[Any]]
    types: dict[ColumnKey, types.ColumnType] | None
    log_mode: LogMode


def from_json(document: Json, source: Source) -> Read:
    columns: list[Any] = document["columns"]
    incremental = document.get("log_mode") == "INCREMENTAL"
    rows = _rows_of_increments(source) if incremental else document["data"]
    mode: Literal["IMMUTABLE", "MUTABLE"] = (
        "MUTABLE" if document.get("log_mode") == "MUTABLE" else "IMMUTABLE"
    )
    rows = [[cell_from_json(cell, source) for cell in row] for row in rows]
    if document.get("column_types") is None:
        return Read(columns, rows, None, mode)
    described = types.type_from_json(document["column_types"], source)
    if not isinstance(described, types.TypedDict):
        raise ValueError(f"column_types is of type {described.name}")
    # JSON's keys are strings, those of columns may be numbers.
    column_types = {column: described.types[str(column)] for column in columns}
    for position, column in enumerate(columns):
        _convert(position, column_types[column], rows, source)
        array = _array_in(column_types[column])
        if array is not None:
            bare = types.NDArray(array.shape)
            column_types[column] = _with_array(column_types[column], bare)
    return Read(columns, rows, column_types, mode)


def _convert(position: int, kind: types.ColumnType, rows: list[list[Any]], source: Source) -> None:
    """Put what JSON has no form for in place of its form."""
    array = _array_in(kind)
    if array is not None and array.serialization_path is not None:
        where = array.serialization_path
        numpy = require("numpy", "a table with arrays")
        with numpy.load(source.local(where["path"])) as file:
            for row, cell in zip(rows, file[where["key"]], strict=True):
                row[position] = cell
    elif any(isinstance(k, types.Timestamp) for k in _alternatives(kind)):
        for row in rows:
            if isinstance(row[position], int | float):
                row[position] = time_from_json(row[position])


def _rows_of_increments(source: Source) -> list[list[Any]]:
    """The rows of all parts of a table that a W&B run wrote bit by bit, in their order."""
    parts = sorted((n for n in source.names("") if n.endswith(".table.json")), key=_increment)
    rows: list[list[Any]] = []
    for name in parts:
        with source.open(name) as file:
            rows += json.load(file)["data"]
    return rows


def _increment(name: str) -> tuple[int, int]:
    """Number and time of `NUMBER-MILLISECONDS.KEY.table.json`."""
    number, _, time = name.split(".")[0].partition("-")
    return (int(number), int(time or 0)) if number.isdigit() else (0, 0)
