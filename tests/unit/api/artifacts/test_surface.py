"""What programs use of the API is typed: mypy accepts one that uses all of it, and it runs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import artfs
from artfs.api.recorded import RecordedRun
from tests.support.manual import ROOT

pytest.importorskip("numpy")
pytest.importorskip("PIL.Image")

PROGRAM = Path(__file__).parent / "surface.py"
#: Methods by which the parts of the API call one another.
INSIDE = {
    "check_type", "fill_in", "is_pending", "key_in", "log_in", "note_use", "of_version",
    "store_id", "that_made",
}  # fmt: skip


def test_the_program_uses_the_whole_surface() -> None:
    used = {node.attr for node in ast.walk(ast.parse(PROGRAM.read_text()))
            if isinstance(node, ast.Attribute)}  # fmt: skip
    kinds = (
        artfs.Artifact, artfs.Run, artfs.Api, artfs.ArtifactManifest, artfs.ArtifactManifestEntry,
        RecordedRun,
    )  # fmt: skip
    names = {name for kind in kinds for name in dir(kind) if not name.startswith("_")} - INSIDE
    assert names - used == set()
    assert set(artfs.__all__) - used - {"data_types"} == set()


@pytest.mark.slow
def test_mypy_accepts_the_program() -> None:
    """Strictly, as pyproject.toml says; with the cache of whoever has run mypy here before."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", str(PROGRAM)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_program_runs(work: Path) -> None:
    from tests.unit.api.artifacts import surface

    (work / "file.txt").write_text("text")
    (work / "folder").mkdir()
    (work / "folder/x").write_text("x")
    surface.main()


@pytest.mark.fuse
def test_its_mount(work: Path) -> None:
    from tests.unit.api.artifacts import surface

    artifact = artfs.Artifact("data", "dataset")
    (work / "file.txt").write_text("text")
    artifact.add_file("file.txt", "in/file.txt")
    artifact.save()
    surface.mount(artifact)
