"""Which type results when a value is added to what is of another type."""

from __future__ import annotations

import pytest

from artfs.api.values.columntypes import (
    ANY,
    INVALID,
    NONE,
    NUMBER,
    STRING,
    UNKNOWN,
    ColumnType,
    Const,
    ListOf,
    PythonObject,
    TypedDict,
    Union,
    optional,
    type_from,
    type_of,
)


class Thing:
    def __repr__(self) -> str:
        return "Thing()"  # the name of a test case is the same in every process


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (UNKNOWN, 1, NUMBER),
        (UNKNOWN, None, INVALID),
        (ANY, "x", ANY),
        (ANY, None, INVALID),
        (NUMBER, 1.5, NUMBER),
        (NUMBER, True, INVALID),
        (NUMBER, float("nan"), INVALID),
        (optional(NUMBER), float("nan"), optional(NUMBER)),
        (optional(UNKNOWN), None, optional(UNKNOWN)),
        (optional(UNKNOWN), "x", optional(STRING)),
        (Union([NUMBER, STRING]), None, INVALID),
        (Union([UNKNOWN, TypedDict({"a": NUMBER})]), {"a": 1}, None),
        (ListOf(NUMBER, 2), [1, 2], ListOf(NUMBER, 2)),
        (ListOf(NUMBER, 2), [1], ListOf(NUMBER, 1)),
        (ListOf(NUMBER, 2), ["x"], INVALID),
        (ListOf(NUMBER, 2), 3, INVALID),
        (TypedDict({"a": UNKNOWN}), {"a": 1}, TypedDict({"a": NUMBER})),
        (TypedDict({"a": optional(NUMBER)}), {}, None),
        (TypedDict({"a": NUMBER}), {}, INVALID),
        (TypedDict({"a": NUMBER}), {"a": 1, "b": 2}, INVALID),
        (Const(3), 3, Const(3)),
        (Const(3), 4, INVALID),
        (PythonObject("Thing"), Thing(), PythonObject("Thing")),
        (PythonObject("Other"), Thing(), INVALID),
    ],
    ids=repr,
)
def test_assignment(before: ColumnType, value: object, after: ColumnType | None) -> None:
    """`after` is None where nothing changes."""
    assert before.assign(value) == (before if after is None else after)


def test_lists_of_lists_of_several_lengths() -> None:
    assert type_of([[1], [2, 3]]) == ListOf(ListOf(NUMBER, 2), 2)
    column = ListOf(NUMBER, 1).assign_type(ListOf(NUMBER, 2))
    assert column == ListOf(NUMBER, None)


def test_lists_of_values_of_several_types() -> None:
    assert type_of([1, "x"]) == ListOf(INVALID, 2)
    assert type_of([1, None]) == ListOf(optional(NUMBER), 2)


def test_unions_are_flat_and_in_order() -> None:
    union = Union([STRING, Union([NUMBER, NONE])])
    assert union.allowed == [NONE, NUMBER, STRING]
    assert union == Union([NONE, NUMBER, STRING])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (int, NUMBER),
        (str, STRING),
        ([], ListOf()),
        ([int], ListOf(NUMBER)),
        ([int, str], Union([NUMBER, STRING])),
        ({"a": int}, TypedDict({"a": NUMBER})),
        (Thing, PythonObject("Thing")),
        (5, Const(5)),
        (NUMBER, NUMBER),
    ],
)
def test_what_somebody_means_by_a_type(dtype: object, expected: ColumnType) -> None:
    assert type_from(dtype) == expected
