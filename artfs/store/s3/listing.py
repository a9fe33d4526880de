"""Listings in the order of keys. AWS lists in that order; SeaweedFS and others list directory by
directory, `o/a/b` before `o/a-`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from artfs.store.base import ObjectInfo
from artfs.store.keys import RESERVED, is_component
from artfs.store.s3.errors import translated
from artfs.store.s3.existence import those_of
from artfs.store.s3.transfer import Transfer

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

#: Servers that have no directories, so that what is listed as one has an object below it. Of others
#: that takes a request for each, all at once.
_FLAT = frozenset({"AmazonS3"})
#: Keys of one answer, the most that S3 gives; and where the first one is all that counts.
_PAGE, _FEW = 1000, 3


def objects(transfer: Transfer, prefix: str) -> Iterator[ObjectInfo]:
    """Every object below a prefix, by key. Raises `Unreachable` as it goes.

    In either order, all that comes after an object is at or after its next path component. So
    what lies before that component can go out; only one component's objects are held back.
    """
    held: list[ObjectInfo] = []
    component = ""
    for info in _unordered(transfer, prefix):
        current = prefix + info.key[len(prefix) :].partition("/")[0]
        if current != component:
            component = current
            held.sort(key=_key)
            ready = next((i for i, o in enumerate(held) if o.key >= component), len(held))
            yield from held[:ready]
            del held[:ready]
        held.append(info)
    yield from sorted(held, key=_key)


def _key(info: ObjectInfo) -> str:
    return info.key


def _unordered(transfer: Transfer, prefix: str, size: int = _PAGE) -> Iterator[ObjectInfo]:
    location = transfer.location
    for page in _pages(transfer, prefix, "", size):
        for found in page.get("Contents", ()):
            key = location.key(found["Key"])
            if _is_key(key):
                yield ObjectInfo(key, found["Size"], found["LastModified"].timestamp())


def names(transfer: Transfer, prefix: str, after: str) -> list[str]:
    """The next path components below a prefix that sort after one, sorted. Raises `Unreachable`."""
    found, doubtful = set[str](), set[str]()
    for page in _pages(transfer, prefix, "/", _PAGE, after):
        flat = page["ResponseMetadata"]["HTTPHeaders"].get("server") in _FLAT
        keys = [transfer.location.key(o["Key"]) for o in page.get("Contents", ())]
        found.update(filter(_is_key, keys))
        below = [transfer.location.key(p["Prefix"])[:-1] for p in page.get("CommonPrefixes", ())]
        (found if flat else doubtful).update(filter(_is_key, below))
    found |= those_of(doubtful, lambda key: _is_filled(transfer, key))
    return sorted(name for name in (key[len(prefix) :] for key in found) if name > after)


def _is_filled(transfer: Transfer, key: str) -> bool:
    return any(True for _ in _unordered(transfer, f"{key}/", _FEW))


def _is_key(key: str) -> bool:
    """Not what other programs put there to show a directory, or whatever else is no key."""
    parts = key.split("/")
    return all(map(is_component, parts)) and parts[0] not in RESERVED


def _pages(
    transfer: Transfer, prefix: str, delimiter: str, size: int, after: str = ""
) -> Iterator[ListObjectsV2OutputTypeDef]:
    location = transfer.location
    below = location.name_prefix(prefix)
    begin: dict[str, Any] = {"StartAfter": below + after} if after else {}  # keyword arguments
    pages = iter(
        transfer.client.get_paginator("list_objects_v2").paginate(
            Bucket=location.bucket,
            Prefix=below,
            Delimiter=delimiter,
            PaginationConfig={"PageSize": size},
            **begin,
        )
    )
    while True:
        with translated(location, prefix):
            page = next(pages, None)
        if page is None:
            return
        yield page
