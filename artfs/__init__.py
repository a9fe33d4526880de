"""Versioned artifacts as a filesystem.

Importing this costs next to nothing: a name's module is loaded when the name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artfs.api.files import open_file as open  # noqa: A004  # `artfs.open`, after the builtin
    from artfs.api.mounting import mounted as mounted

__all__ = ["mounted", "open"]

#: Public name -> module, and what it is called there.
_WHERE = {
    "mounted": ("artfs.api.mounting", "mounted"),
    "open": ("artfs.api.files", "open_file"),
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'artfs' has no attribute '{name}'")
    module, attribute = _WHERE[name]
    value: object = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
