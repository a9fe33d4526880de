"""Tables made of tables: joined and partitioned ones, incremental ones, and those in the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from artfs.api import values
from artfs.api.values import JoinedTable, PartitionedTable, Table
from artfs.errors import Damaged
from tests.support.values import Folder, WandbView


def people() -> Table:
    return Table(["id", "name"], [[1, "ann"], [2, "bob"]])


def ages() -> Table:
    return Table(["id", "age"], [[1, 3], [2, 4]])


def test_a_joined_table_brings_its_tables(ours: Folder) -> None:
    joined = JoinedTable(people(), ages(), "id")
    assert values.write(joined, "both", ours) == "both.joined-table.json"
    read = values.read("both", ours)
    assert isinstance(read, JoinedTable)
    assert read == joined
    assert read.table1 == people()
    assert read.table2 == ages()


def test_a_joined_table_uses_the_tables_that_are_there(ours: Folder) -> None:
    table = people()
    name = values.write(table, "people", ours)
    values.write(ages(), "ages", ours)
    values.write(JoinedTable(table, "ages.table.json", ["id", "id"]), "both", ours)
    assert ours.names("") == ["ages.table.json", "both.joined-table.json", name]
    assert ours.document("both.joined-table.json") == {
        "_type": "joined-table",
        "table1": name,
        "table2": "ages.table.json",
        "join_key": ["id", "id"],
    }


def test_a_joined_table_of_one_that_is_not_there(ours: Folder) -> None:
    with pytest.raises(ValueError, match=r"ages\.table\.json is not in the artifact"):
        values.write(JoinedTable(people(), "ages.table.json", "id"), "both", ours)


@pytest.mark.parametrize("key", [1, ["a"], ["a", "b", "c"]])
def test_a_join_key_is_one_column_or_two(key: str) -> None:
    with pytest.raises(ValueError, match="join_key"):
        JoinedTable(people(), ages(), key)


def test_wandb_reads_a_joined_table(wandb: ModuleType, ours: Folder) -> None:
    values.write(JoinedTable(people(), ages(), "id"), "both", ours)
    read = WandbView(ours).get("both")
    assert isinstance(read, wandb.JoinedTable)
    assert read._table1.data == people().data
    assert read._table2.columns == ages().columns


def test_a_joined_table_of_wandb_is_read(
    wandb: ModuleType, add_theirs: Callable[..., Folder], ours: Folder
) -> None:
    first, second = (wandb.Table(t.columns, t.data) for t in (people(), ages()))
    theirs = add_theirs(both=wandb.JoinedTable(first, second, "id"))
    read = values.read("both", theirs)
    assert read == JoinedTable(people(), ages(), "id")
    name = values.write(read, "both", ours)
    assert ours.document(name).keys() == theirs.document(name).keys()


def parts(folder: Folder) -> None:
    """Two tables of two rows, of which one has an image beside it."""
    for index in range(2):
        table = Table(["a"], [[2 * index], [2 * index + 1]])
        values.write(table, f"parts/table_{index}", folder)
    with folder.new_file("parts/readme.txt") as file:
        file.write(b"no table")


def test_a_partitioned_table_has_the_rows_of_its_parts(ours: Folder) -> None:
    parts(ours)
    values.write(PartitionedTable("parts"), "all", ours)
    read = values.read("all", ours)
    assert isinstance(read, PartitionedTable)
    assert list(read.iterrows()) == [(0, [0]), (1, [1]), (2, [2]), (3, [3])]


def test_parts_are_read_one_at_a_time(ours: Folder) -> None:
    parts(ours)
    values.write(PartitionedTable("parts"), "all", ours)
    read = values.read("all", ours)
    assert isinstance(read, PartitionedTable)
    next(read.iterrows())
    assert "parts/table_0.table.json" in ours.fetched
    assert "parts/table_1.table.json" not in ours.fetched


def test_parts_with_other_columns(ours: Folder) -> None:
    parts(ours)
    values.write(Table(["b"], [[1]]), "parts/z", ours)
    values.write(PartitionedTable("parts"), "all", ours)
    read = values.read("all", ours)
    assert isinstance(read, PartitionedTable)
    with pytest.raises(ValueError, match="different columns"):
        list(read.iterrows())


def test_wandb_reads_a_partitioned_table(wandb: ModuleType, ours: Folder) -> None:
    for index in range(2):
        values.write(Table(["a"], [[index]]), f"parts/table_{index}", ours)
    values.write(PartitionedTable("parts"), "all", ours)
    read = WandbView(ours).get("all")
    assert list(read.iterrows()) == [(0, [0]), (1, [1])]


def test_an_incremental_table_has_the_rows_of_all_increments(ours: Folder) -> None:
    table = Table(["a"], [[1]])
    for number in (0, 2, 10):
        name = values.write(Table(["a"], [[number]]), f"{number}-1700000000000.key", ours)
        document = ours.document(name) | {"log_mode": "INCREMENTAL", "increment_num": number}
        with ours.new_file(name) as file:
            file.write(values.places.encode(document))
    read = values.read("10-1700000000000.key", ours)
    assert isinstance(read, Table)
    assert read.data == [[0], [2], [10]]
    assert read.log_mode == table.log_mode == "IMMUTABLE"


def test_a_table_of_a_joined_one_that_is_something_else(ours: Folder) -> None:
    values.write(values.Html("x"), "page", ours)
    values.write(JoinedTable(people(), ages(), "id"), "both", ours)
    document = ours.document("both.joined-table.json") | {"table1": "page"}
    with ours.new_file("both.joined-table.json") as file:
        file.write(values.places.encode(document))
    with pytest.raises(Damaged, match=r"both.joined-table.json: .* page holds Html"):
        values.read("both", ours)


def test_a_joined_table_is_called_so_when_it_is_damaged(ours: Folder) -> None:
    with ours.new_file("both.joined-table.json") as file:
        file.write(b"no json")
    with pytest.raises(Damaged, match="is no joined-table"):
        values.read("both", ours)


def test_a_linked_table_is_written_once(ours: Folder, tmp_path: Path) -> None:
    first = people()
    table = Table(["a", "b"], [[first.index_ref(1), first.index_ref(0)]])
    values.write(first, "people", ours)
    values.write(table, "links", ours)
    assert ours.names("") == ["links.table.json", "people.table.json"]
    read = values.read("links", ours)
    assert isinstance(read, Table)
    assert read.data[0][0].get_row() == {"id": 2, "name": "bob"}
