"""Versioned artifacts as a filesystem.

Importing this costs next to nothing: the module of a name is loaded when the name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artfs.api.files import open  # noqa: A004  # `artfs.open` is the builtin for versions
    from artfs.api.mounting import mounted

__all__ = ["mounted", "open"]

_MODULES = {"mounted": "mounting", "open": "files"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'artfs' has no attribute '{name}'")
    found: object = getattr(importlib.import_module(f"artfs.api.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
