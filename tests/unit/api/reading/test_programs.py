"""Programs that read `artfs://`: pandas, pyarrow, duckdb, dask."""

from __future__ import annotations

import io
import os
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import dataset as ds
from pyarrow import parquet as pq

from artfs.api.filesystem import ArtfsFileSystem
from tests.unit.api.reading.conftest import Put

_ROWS = 20_000


@pytest.fixture
def table(put: Put) -> pa.Table:
    """`animals:v0`: a table as CSV, as Parquet, and as a directory of Parquet files."""
    legs = [n % 7 for n in range(_ROWS)]
    table = pa.table({"n": list(range(_ROWS)), "legs": legs, "name": [f"no {n}" for n in legs]})
    csv = table.to_pandas().to_csv(index=False).encode()
    halves = [parquet(table.slice(0, _ROWS // 2)), parquet(table.slice(_ROWS // 2))]
    put({
        b"t.csv": csv,
        b"t.parquet": parquet(table),
        b"parts": {b"kind=a": {b"1.parquet": halves[0]}, b"kind=b": {b"2.parquet": halves[1]}},
        b"link.csv": "t.csv",
    })  # fmt: skip
    return table


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=1000)
    return out.getvalue()


@pytest.mark.parametrize("name", ["t.csv", "link.csv"])
def test_pandas_csv(table: pa.Table, name: str) -> None:
    frame = pd.read_csv(f"artfs://animals:v0/{name}")
    pd.testing.assert_frame_equal(frame, table.to_pandas(), check_dtype=False)
    chunks = pd.read_csv(f"artfs://animals:latest/{name}", chunksize=3000)
    assert sum(len(chunk) for chunk in chunks) == _ROWS


def test_pandas_parquet(table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"store": os.environ["ARTFS_STORE"]}
    monkeypatch.delenv("ARTFS_STORE")
    for path in ("t.parquet", "parts"):
        frame = pd.read_parquet(
            f"artfs://animals:v0/{path}", storage_options=options, columns=["n"]
        )
        assert list(frame["n"]) == table["n"].to_pylist()


def test_pandas_says_what_is_not_there(table: pa.Table) -> None:
    with pytest.raises(FileNotFoundError, match="animals:v0/none"):
        pd.read_csv("artfs://animals:v0/none.csv")
    with pytest.raises(OSError, match="Read-only"):
        table.to_pandas().to_csv("artfs://animals:v0/new.csv")


def test_pyarrow_parquet(table: pa.Table, fs: ArtfsFileSystem) -> None:
    assert pq.read_table("animals:v0/t.parquet", filesystem=fs) == table
    file = pq.ParquetFile("animals:v0/t.parquet", filesystem=fs)
    assert file.read_row_group(3, ["n"])["n"].to_pylist() == list(range(3000, 4000))
    file.close()


def test_pyarrow_dataset(table: pa.Table, fs: ArtfsFileSystem) -> None:
    found = ds.dataset("animals:v0/parts", filesystem=fs, partitioning="hive")
    assert found.count_rows() == _ROWS
    assert sorted(found.to_table(filter=ds.field("kind") == "b")["n"].to_pylist()) == list(
        range(_ROWS // 2, _ROWS)
    )
    with pytest.raises(FileNotFoundError):
        ds.dataset("animals:v0/none", filesystem=fs)


def test_duckdb(table: pa.Table, fs: ArtfsFileSystem) -> None:
    with duckdb.connect() as db:
        db.register_filesystem(fs)
        for source in (
            "read_parquet('artfs://animals:v0/t.parquet')",
            "read_parquet('artfs://animals:v0/parts/*/*.parquet')",
            "read_csv('artfs://animals:latest/t.csv')",
        ):
            (row,) = db.sql(f"SELECT count(*), sum(n) FROM {source} WHERE legs < 9").fetchall()
            assert row == (_ROWS, sum(range(_ROWS)))
        with pytest.raises(duckdb.IOException, match="none"):
            db.sql("FROM read_parquet('artfs://animals:v0/none.parquet')").fetchall()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # dask's use of pandas
def test_dask(table: pa.Table) -> None:
    dd = pytest.importorskip("dask.dataframe")
    for frame in (
        dd.read_csv("artfs://animals:v0/t.csv", blocksize=100_000),
        dd.read_parquet("artfs://animals:latest/parts/*/*.parquet"),
        dd.read_parquet("artfs://animals:v0/parts", columns=["n"]),
    ):
        assert frame.npartitions > 1
        assert frame.n.sum().compute(scheduler="threads") == sum(range(_ROWS))


def test_what_is_read_is_there_without_a_mount(table: pa.Table, tmp_path: Path) -> None:
    pd.read_csv("artfs://animals:v0/t.csv")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
