"""Saying which errno a block fails with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def fails(number: int) -> Iterator[None]:
    """Assert that the block fails with an errno."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # narrower than any pattern: see below
        yield
    found = caught.value.errno or 0
    assert found == number, f"{errno.errorcode[found]}, not {errno.errorcode[number]}"
