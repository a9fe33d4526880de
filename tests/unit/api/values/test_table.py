"""Tables: what they take, what they refuse, and what they give."""

from __future__ import annotations

import datetime
import time

import pytest

from artfs.api import values
from artfs.api.values import Classes, Html, Table
from artfs.errors import Damaged, NotFound, Unsupported
from tests.support.values import Folder

np = pytest.importorskip("numpy")


def small() -> Table:
    return Table(["a", "b"], [[1, "x"], [2, "y"]])


def test_rows_and_columns() -> None:
    table = small()
    table.add_data(3, None)
    table.add_column("c", [True, False, True])
    table.add_computed_columns(lambda index, row: {"d": index * 10 + row["a"]})
    assert table.columns == ["a", "b", "c", "d"]
    assert table.data == [[1, "x", True, 1], [2, "y", False, 12], [3, None, True, 23]]
    assert table.get_column("b") == ["x", "y", None]
    assert [(int(index), row[0]) for index, row in table.iterrows()] == [(0, 1), (1, 2), (2, 3)]
    assert table.get_column("a", convert_to="numpy").tolist() == [1, 2, 3]


def test_the_list_of_columns_stays_the_callers() -> None:
    columns = ["a"]
    table = Table(columns, [[1]])
    table.add_column("b", [2])
    assert columns == ["a"]


def test_columns_have_names_when_nobody_gave_any() -> None:
    assert Table().columns == ["Input", "Output", "Expected"]


def test_a_dataframe_there_and_back() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"n": [1, 2], "s": ["x", "y"], "f": [0.5, 1.5]})
    for table in (Table(dataframe=frame), Table(data=frame)):
        assert table.columns == ["n", "s", "f"]
        assert table.data == [[1, "x", 0.5], [2, "y", 1.5]]
        again = table.get_dataframe()
        assert list(again.columns) == ["n", "s", "f"]
        assert again["n"].tolist() == [1, 2]


def test_an_array_as_data() -> None:
    assert Table(["a", "b"], np.arange(4).reshape(2, 2)).data == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ((1,), ValueError, "1 cells for 2 columns"),
        (("x", "y"), TypeError, "column 'a' holds None or Number, and 'x' is of type String"),
        ((1, 2), TypeError, "column 'b' holds None or String, and 2 is of type Number"),
    ],
)
def test_rows_that_do_not_fit(row: tuple[object, ...], error: type, message: str) -> None:
    table = small()
    with pytest.raises(error, match=message):
        table.add_data(*row)
    assert table == small()


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [("a", [1, 2], ValueError), ("c", [1], ValueError), ("c", [1, "x"], TypeError)],
)
def test_columns_that_do_not_fit(name: str, data: list[object], error: type) -> None:
    table = small()
    with pytest.raises(error):
        table.add_column(name, data)
    assert table == small()


def test_none_is_refused_where_it_is_not_optional() -> None:
    with pytest.raises(TypeError, match="column 'a' holds Number"):
        Table(["a"], [[None]], dtype=int, optional=False)


def test_a_cast_that_does_not_fit() -> None:
    table = small()
    with pytest.raises(TypeError, match="'x', of type String, is not of type Number"):
        table.cast("b", int)
    assert table == small()


def test_ids_of_classes() -> None:
    table = Table(["id"], [[1]])
    table.cast("id", Classes([{"id": 1, "name": "cat"}]).get_type())
    table.add_data(1)
    with pytest.raises(TypeError):
        table.add_data(2)


def test_keys() -> None:
    table = small()
    table.set_pk("b")
    with pytest.raises(ValueError, match="column 'b' is the primary key already"):
        table.cast("a", values.links.PrimaryKey())
    with pytest.raises(ValueError, match="a table cannot refer to itself"):
        table.set_fk("b", table, "b")
    with pytest.raises(IndexError):
        table.index_ref(2)
    other = Table(["who"], [["x"]])
    other.set_fk("who", table, "b")
    assert other.data[0][0].table is table


def test_only_strings_are_primary_keys() -> None:
    with pytest.raises(TypeError, match="1, of type Number, is not of type Primarykey"):
        small().set_pk("a")


def test_a_time_that_python_does_not_have_is_a_number(ours: Folder) -> None:
    rows = [[datetime.datetime.max], [datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)]]
    values.write(Table(["t"], rows), "v", ours)
    read = values.read("v", ours)
    assert isinstance(read, Table)
    assert read.data == [[253402300800000], rows[1]]


def test_arrays_of_objects_are_written_as_lists(ours: Folder) -> None:
    cells = [[np.array([[{"k": 1}], [None]], dtype=object)]]
    values.write(Table(["a"], cells), "v", ours)
    read = values.read("v", ours)
    assert isinstance(read, Table)
    assert read.data == [[[[{"k": 1}], [None]]]]
    assert ours.media() == []


def test_numbers_longer_than_pythons(ours: Folder) -> None:
    values.write(Table(["a"], [[np.longdouble(1.5)]], allow_mixed_types=True), "v", ours)
    assert ours.document("v.table.json")["data"] == [[1.5]]


def test_keys_of_several_kinds_are_strings(ours: Folder) -> None:
    cells = [[{1: "a", "b": 2, None: 3}]]
    values.write(Table(["a"], cells, allow_mixed_types=True), "v", ours)
    assert ours.document("v.table.json")["data"] == [[{"1": "a", "b": 2, "None": 3}]]


def test_a_table_from_before_columns_had_types(ours: Folder) -> None:
    document = {"_type": "table", "columns": ["a"], "data": [[1], ["x"], [None]]}
    with ours.new_file("v.table.json") as file:
        file.write(values.places.encode(document))
    read = values.read("v", ours)
    assert isinstance(read, Table)
    assert read.data == [[1], ["x"], [None]]


def test_incremental_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="log_mode 'INCREMENTAL'"):
        Table(log_mode="INCREMENTAL")  # type: ignore[arg-type]  # that is the point


def test_times_come_back_in_utc(ours: Folder) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    rows = [[datetime.datetime(2024, 1, 2, 3, 4, 5, 678000, zone)], [datetime.date(2024, 1, 2)]]
    values.write(Table(["t"], rows), "v", ours)
    read = values.read("v", ours)
    assert isinstance(read, Table)
    assert read.get_column("t") == [
        datetime.datetime(2024, 1, 2, 1, 4, 5, 678000, datetime.UTC),
        datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    ]


def test_times_without_a_zone_are_in_utc_wherever_we_are(
    ours: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        values.write(Table(["t"], [[datetime.datetime(1970, 1, 1, 0, 0, 1)]]), "v", ours)
        assert ours.document("v.table.json")["data"] == [[1000]]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_arrays_come_back_as_arrays(ours: Folder) -> None:
    matrices = [[np.arange(6).reshape(2, 3) * i] for i in range(3)]
    table = Table(["m"], matrices)
    values.write(table, "v", ours)
    assert [name for name in ours.media() if name.endswith(".npz")] == ours.media()
    assert values.read("v", ours) == table


def test_arrays_with_none_among_them(ours: Folder) -> None:
    values.write(Table(["m"], [[np.ones((2, 2))], [None]]), "v", ours)
    read = values.read("v", ours)
    assert isinstance(read, Table)
    assert read.data == [[[[1, 1], [1, 1]]], [None]]


def test_columns_may_have_numbers_for_names(ours: Folder) -> None:
    values.write(Table([0, "x"], [[1, 2]]), "v", ours)
    read = values.read("v", ours)
    assert read == Table([0, "x"], [[1, 2]])
    assert isinstance(read, Table)
    read.add_data(3, 4)


def test_old_tables_have_no_types(ours: Folder) -> None:
    with ours.new_file("v.table.json") as file:
        file.write(b'{"_type": "table", "columns": ["a"], "data": [[1], [2]]}')
    assert values.read("v", ours) == Table(["a"], [[1], [2]])


def test_what_json_has_no_form_for(ours: Folder) -> None:
    with pytest.raises(TypeError, match="a table cannot hold <object object"):
        values.write(Table(["a"], [[object()]]), "v", ours)


def test_media_files_are_fetched_when_used(ours: Folder) -> None:
    values.write(Table(["page"], [[Html("one")], [Html("two")]]), "v", ours)
    ours.fetched.clear()
    read = values.read("v", ours)
    assert ours.fetched == ["v.table.json"]
    assert isinstance(read, Table)
    assert "two" in read.data[1][0].html
    assert len(ours.fetched) == 2


def test_the_same_content_is_written_once(ours: Folder) -> None:
    values.write(Table(["page"], [[Html("one")], [Html("one")]]), "v", ours)
    values.write(Html("one"), "page", ours)
    assert len(ours.media()) == 1


def test_a_name_may_have_its_suffix(ours: Folder) -> None:
    assert values.write(small(), "dir/v.table.json", ours) == "dir/v.table.json"
    assert values.find("dir/v", ours) == values.find("dir/v.table.json", ours)
    assert values.read("dir/v", ours) == values.read("dir/v.table.json", ours) == small()


def test_nothing_of_this_name(ours: Folder) -> None:
    assert values.find("v", ours) is None
    with pytest.raises(NotFound):
        values.read("v", ours)


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"{}",
        b"[]",
        b'{"_type": "tabel"}',
        b'{"_type": "table"}',
        b'{"_type": "table", "columns": ["a"], "data": [[1]], "column_types": {"wb_type": "x"}}',
        b'{"_type": "table", "columns": ["a"], "data": [[1]], "column_types": {}}',
    ],
)
def test_files_that_are_no_tables(content: bytes, ours: Folder) -> None:
    with ours.new_file("v.table.json") as file:
        file.write(content)
    with pytest.raises(Damaged, match=r"v\.table\.json: is no"):
        values.read("v", ours)


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(Unsupported, match="a table as a DataFrame: needs pandas") as caught:
        small().get_dataframe()
    assert caught.value.hint == "pip install pandas"
