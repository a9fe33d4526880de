"""Packages that are only needed for some values: imported when used.

Nothing here needs them to be installed to tell that a value is none of theirs: an object of a
package can only exist once somebody has imported it.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from artfs.errors import Unsupported

#: An object of a package that may not be installed, and has no type here then.
Foreign: TypeAlias = Any


class Arraylike(Protocol):
    """What can become a numpy array: one itself, tensors of torch, TensorFlow and JAX."""

    def __array__(self) -> Any: ...  # noqa: ANN401  # numpy's, which may not be installed


# What `pip install` calls the packages whose modules are called otherwise.
_DISTRIBUTIONS = {"PIL": "pillow", "imageio_ffmpeg": "imageio-ffmpeg"}


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


def array_of(value: Foreign) -> Foreign:
    """The numpy array of what is like one; None of anything else."""
    if is_array(value):
        return value
    if is_torch_tensor(value):
        return value.detach().cpu().numpy()
    if hasattr(value, "__array__"):
        return require("numpy", type(value).__name__).asarray(value)
    return None


def plain_of(value: Foreign) -> Foreign:
    """A numpy number or array as Python's numbers and lists."""
    plain = value.tolist()
    # What is longer than Python's numbers stays what it is.
    return float(plain) if is_scalar(plain) else plain


def bare(value: Foreign) -> Foreign:
    """A numpy number as Python's; anything else as it is."""
    return plain_of(value) if is_scalar(value) else value


def is_dataframe(value: object) -> bool:
    return _is_instance(value, "pandas", "DataFrame")


def is_torch_tensor(value: object) -> bool:
    return _is_instance(value, "torch", "Tensor")


def _is_instance(value: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)
