"""Python's packages in a draft: pip, and those that keep data in files of their own kind."""

from __future__ import annotations

import mmap
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import Mount, artfs, mounted
from tests.support.twin import here

pytestmark = pytest.mark.fuse

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1.0"
"""
# A backend of its own, as nothing can be downloaded.
BACKEND = """
import os, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    files = {
        "tiny/__init__.py": "def say():\\n    print('tiny')\\n",
        "tiny/data/table.csv": "1,2\\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nTag: py3-none-any\\n",
        "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\\ntiny = tiny:say\\n",
    }
    files["tiny-1.0.dist-info/RECORD"] = "".join(name + ",,\\n" for name in files)
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""


@pytest.fixture
def mount(home: Path, tmp_path: Path) -> Iterator[Mount]:
    """A draft over nothing."""
    here("init")
    with mounted("draft", "--new", "--type", "dataset", "data", at=tmp_path / "mnt") as found:
        yield found


def python(*args: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *args], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{args} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def test_pip(mount: Mount) -> None:
    pytest.importorskip("pip")
    project, target = mount.path / "project", mount.path / "site"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "backend.py").write_text(BACKEND)
    install = [
        "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
        "--no-index", "--no-build-isolation", "--target",
    ]  # fmt: skip
    python(*install, target, project, cwd=mount.path)
    assert python("-c", "import tiny; tiny.say()", cwd=target) == "tiny\n"
    assert list((target / "tiny" / "__pycache__").glob("*.pyc"))
    (target / "tiny" / "data" / "table.csv").write_text("changed")
    python(*install, target, "--upgrade", project, cwd=mount.path)
    assert (target / "tiny" / "data" / "table.csv").read_text() == "1,2\n"
    env = {"PYTHONPATH": str(target)}
    assert (
        subprocess.run([target / "bin" / "tiny"], env=env, capture_output=True).stdout == b"tiny\n"
    )


def test_numpy(mount: Mount, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    path = mount.path / "array"
    array = numpy.memmap(path, dtype="int64", mode="w+", shape=(1000, 1000))
    array[:] = numpy.arange(1_000_000).reshape(1000, 1000)
    array[5, 5] = -1
    array.flush()
    assert numpy.fromfile(path, dtype="int64").sum() == 499_999_500_000 - 5005 - 1
    version = artfs("sync", mount.path).stdout.strip()
    array[7, :] = 0  # over the version that has just been made
    del array
    again = numpy.memmap(path, dtype="int64", mode="r+", shape=(1000, 1000))
    assert (again[5, 5], again[7].sum(), again[8, 0]) == (-1, 0, 8000)
    copied = numpy.memmap(path, dtype="int64", mode="c", shape=(1000, 1000))
    copied[:] = 1
    assert again[8, 0] == 8000
    del again, copied
    numpy.savez_compressed(mount.path / "many.npz", a=numpy.arange(1000), b=numpy.eye(50))
    with numpy.load(mount.path / "many.npz") as many:
        assert many["b"].trace() == 50
    assert mount.umount().stdout == "data:v1\n"
    for number, expected in ((version, 7_499_500), ("data:v1", 0)):
        here("get", number, tmp_path / number)
        stored = numpy.fromfile(tmp_path / number / "array", dtype="int64").reshape(1000, 1000)
        assert stored[7].sum() == expected


def test_h5py(mount: Mount) -> None:
    h5py = pytest.importorskip("h5py")
    path = mount.path / "data.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=range(10_000), chunks=(100,), compression="gzip")
        file.create_group("g").attrs["key"] = "value"
    artfs("sync", mount.path)
    with h5py.File(path, "r+") as file:
        file["a"][500:600] = -1
        del file["g"]
    with h5py.File(path, "r") as file:
        assert file["a"][499:502].tolist() == [499, -1, -1]
        assert list(file) == ["a"]


def test_parquet(mount: Mount) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"n": list(range(100_000)), "s": [str(n % 97) for n in range(100_000)]})
    parquet.write_table(table, mount.path / "one.parquet", row_group_size=10_000)
    parquet.write_to_dataset(table, str(mount.path / "many"), partition_cols=["s"])
    artfs("sync", mount.path)
    assert parquet.read_table(mount.path / "one.parquet", memory_map=True).equals(table)
    assert parquet.read_table(mount.path / "many").num_rows == 100_000


def test_a_mapping_that_grows(mount: Mount) -> None:
    """As databases do it: extend the file, map it anew, go on."""
    with (mount.path / "grows").open("w+b") as file:
        for n in range(1, 20):
            file.truncate(n * 50_000)
            with mmap.mmap(file.fileno(), 0) as memory:
                memory[(n - 1) * 50_000 : n * 50_000] = bytes([n]) * 50_000
                assert memory[0] == 1
    expected = b"".join(bytes([n]) * 50_000 for n in range(1, 20))
    assert (mount.path / "grows").read_bytes() == expected
