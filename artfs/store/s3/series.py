"""The end of a series of objects: versions of an artifact, found in a round trip or two.

Probing one after the other, as a directory does it, would take 17 round trips for 320 versions.
"""

from __future__ import annotations

from collections.abc import Callable

from artfs.store.s3.errors import translated
from artfs.store.s3.existence import existing
from artfs.store.s3.transfer import Transfer

#: Keys of one listing, the most that S3 gives.
_PAGE = 1000
#: Places tried at once in a longer series.
_PROBES = 16


def last_of(transfer: Transfer, key: Callable[[int], str], after: int) -> int:
    """As `Store.last_of`. Raises `Unreachable`.

    Most often nothing is new, which the cheapest request shows. Else a listing has the next 1,000;
    beyond them the end is fenced in by 16 probes at a time, until a listing has the rest.
    """
    if after >= 0 and not existing(transfer, [key(after + 1)]):
        return after
    low = _listed(transfer, key, after)
    while low == after + _PAGE:
        after = _near_the_end(transfer, key, low)
        low = _listed(transfer, key, after)
    return low


def _listed(transfer: Transfer, key: Callable[[int], str], after: int) -> int:
    location = transfer.location
    directory = location.name(key(0)).rpartition("/")[0] + "/"
    with translated(location, key(0)):
        page = transfer.client.list_objects_v2(
            Bucket=location.bucket, Prefix=directory, MaxKeys=_PAGE,
            StartAfter=location.name(key(after)) if after >= 0 else directory,
        )  # fmt: skip
    names = {location.key(found["Key"]) for found in page.get("Contents", ())}
    while key(after + 1) in names:
        after += 1
    return after


def _near_the_end(transfer: Transfer, key: Callable[[int], str], low: int) -> int:
    """A number of the series that less than a page follows, most likely."""
    steps = [low + (_PAGE << i) for i in range(_PROBES)]
    while True:
        there = existing(transfer, [key(n) for n in steps])
        low = max((n for n in steps if key(n) in there), default=low)
        high = min((n for n in steps if n > low), default=low + (_PAGE << _PROBES))
        if high - low <= _PAGE:
            return low
        width = max(1, (high - low) // _PROBES)
        steps = [*range(low + width, high, width)]
