"""Packages that only some values need are not needed by the others, nor imported."""

from __future__ import annotations

import subprocess
import sys

OPTIONAL = ("PIL", "bokeh", "matplotlib", "numpy", "pandas", "torch", "wandb")

USE = f"""
import sys
for name in {OPTIONAL}:
    sys.modules[name] = None  # an import of it raises ImportError
from artfs.api import values
table = values.Table(["a", "b"], [[1, [2.5]], [2, None]])
table.add_column("page", [values.Html("x"), values.Html("y")])
values.Classes([{{"id": 1, "name": "cat"}}])
values.BoundingBoxes2D({{"box_data": []}}, "b")
print(len(table.data), table.get_column("b"))
"""


def test_tables_and_pages_need_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("2 [[2.5], None]\n", "")


def test_nothing_is_imported_that_is_not_used() -> None:
    code = f"import sys, artfs.api.values; print(sorted(sys.modules.keys() & {set(OPTIONAL)}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
