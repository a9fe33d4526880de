"""Packages that are only needed for some values: imported when used.

Nothing here needs them to be installed to tell that a value is none of theirs: an object of a
package can only exist once somebody has imported it.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, TypeAlias

from artfs.errors import Unsupported

#: An object of a package that may not be installed, and has no type here then.
Foreign: TypeAlias = Any

# What `pip install` calls the packages whose modules are called otherwise.
_DISTRIBUTIONS = {"PIL": "pillow"}


def require(module: str, purpose: str) -> ModuleType:
    """Import a module, or raise `Unsupported` that says what for and how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        name = _DISTRIBUTIONS.get(package, package)
        raise Unsupported(purpose, f"needs {name}: {error}", f"pip install {name}") from error


def is_array(value: object) -> bool:
    """Whether it is a numpy array."""
    return _is_instance(value, "numpy", "ndarray")


def is_scalar(value: object) -> bool:
    """Whether it is a numpy number, string, time or truth value."""
    return _is_instance(value, "numpy", "generic")


def is_dataframe(value: object) -> bool:
    return _is_instance(value, "pandas", "DataFrame")


def is_torch_tensor(value: object) -> bool:
    return _is_instance(value, "torch", "Tensor")


def _is_instance(value: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)
