"""From a store's URL to the store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from artfs.errors import InvalidValue, NotFound, Unreachable, Unsupported
from artfs.store.base import Store
from artfs.store.directory import DirectoryStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_store(url: str, create: bool = False) -> Store:
    """The store at `DIR`, or at `file:///DIR`, made if it is missing and `create` is true.

    A relative directory is made absolute here, once, because a daemon changes its own.
    Raises `InvalidValue`, `NotFound`, `Unreachable`, `Unsupported`; and with `create` also
    `AlreadyExists` and `OSError`.
    """
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
    if scheme == "s3":
        raise Unsupported(url, "S3 stores are not supported by this release")
    if scheme not in ("", "file"):
        raise InvalidValue(url, f"'{scheme}' is no kind of store", "give a directory")
    if scheme:
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise InvalidValue(url, "is not of the form file:///DIR")
        url = unquote(parts.path)
    if not url or "\0" in url:
        raise InvalidValue(f"store {url!r}", "is not the name of a directory")
    return Path(url).absolute()
