"""From a store's URL to the store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from artfs.errors import InvalidValue, NotFound, Unreachable
from artfs.store.base import Store
from artfs.store.directory import DirectoryStore
from artfs.store.options import StoreOptions

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_store(
    url: str,
    create: bool = False,
    options: StoreOptions = StoreOptions(),  # noqa: B008  # frozen
) -> Store:
    """The store at `DIR`, `file:///DIR` or `s3://BUCKET/PREFIX`. A directory is made if it is
    missing and `create` is true; a bucket must be there, and nothing is asked of it yet.

    A relative directory is made absolute here, once, because a daemon changes its own.
    Raises `InvalidValue`, `NotFound`, `Unreachable`; and with `create` also `AlreadyExists` and
    `OSError`.
    """
    match = _SCHEME.match(url)
    if match and match[1].lower() == "s3":
        from artfs.store.s3.store import S3Store  # boto3 takes 0.3 s to load

        return S3Store(url, options)
    path = _directory(url)
    if create:
        return DirectoryStore.create(path)
    try:
        present = path.is_dir()
    except OSError as error:
        raise Unreachable(url, error.strerror or str(error)) from error
    if not present:
        raise NotFound(url, "no store there", "artfs init makes one")
    return DirectoryStore(path)


def _directory(url: str) -> Path:
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme not in ("", "file"):
        raise InvalidValue(
            url, f"'{scheme}' is no kind of store", "give a directory or s3://BUCKET/PREFIX"
        )
    if scheme:
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise InvalidValue(url, "is not of the form file:///DIR")
        url = unquote(parts.path)
    if not url or "\0" in url:
        raise InvalidValue(f"store {url!r}", "is not the name of a directory")
    return Path(url).absolute()
