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


def last_of(transfer: Transfer, key: Callable[[int], str], after: int, hint: int) -> int:
    """As `Store.last_of`. Raises `Unreachable`.

    Most often nothing is new, which the cheapest request shows. Else a listing has the next 1,000,
    from the hint on if it is right; beyond them the end is fenced in by 16 probes at a time, until
    a listing has the rest.
    """
    if after >= 0 and not existing(transfer, [key(after + 1)]):
        return after
    low, is_more = _listed(transfer, key, max(after, hint - 1))
    if low < hint:
        low, is_more = _listed(transfer, key, after)
    while is_more:
        after = _near_the_end(transfer, key, low)
        low, is_more = _listed(transfer, key, after)
    return low


def _listed(transfer: Transfer, key: Callable[[int], str], after: int) -> tuple[int, bool]:
    """How far the series goes behind a number, and whether it may go on behind the listing.

    What other programs have put between its objects takes room in the listing, too.
    """
    location = transfer.location
    first = location.name(key(after + 1))
    with translated(location, key(0)):
        page = transfer.client.list_objects_v2(
            Bucket=location.bucket, Prefix=first.rpartition("/")[0] + "/", MaxKeys=_PAGE,
            StartAfter=first[:-1],  # right before it
        )  # fmt: skip
    names = {location.key(found["Key"]) for found in page.get("Contents", ())}
    low = after
    while key(low + 1) in names:
        low += 1
    return low, low > after and page["IsTruncated"]


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
