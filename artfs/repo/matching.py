"""Directories that are to hold what a version does, and nothing else."""

from __future__ import annotations

import os
import shutil
import stat

from artfs.errors import InvalidValue, VerificationFailed
from artfs.format.digest import EXECUTE
from artfs.repo import partial
from artfs.repo.blobs import Blobs
from artfs.repo.export import ExportFailed, make_writable, same_content
from artfs.repo.reading import children
from artfs.types import Entry, Kind


def prune(root: Entry, target: str, blobs: Blobs, store: str | None = None) -> None:
    """Remove from the directory `target` all that a version does not have, or has as another kind
    of thing; with an export after it, the directory holds the version.

    `store`: a directory that must not go, the store itself. Nothing is removed across the border
    of a file system. A `target` that is not there is none of our business.
    Raises `InvalidValue` (the root directory, or the store would go), `ExportFailed`.
    """
    path = os.path.realpath(os.fsencode(target))
    if path == b"/":
        raise InvalidValue(target, "is the root directory, and is not emptied")
    if store:
        real = os.path.realpath(os.fsencode(store))
        if os.path.commonpath([real, path]) in (real, path):
            raise InvalidValue(target, "contains the store, or is in it")
    try:
        if os.path.isdir(path):
            _prune(root, path, blobs)
    except OSError as error:
        name = os.fsdecode(error.filename or target)
        raise ExportFailed(name, os.strerror(error.errno or 0)) from error


def _prune(directory: Entry, path: bytes, blobs: Blobs) -> None:
    make_writable(path, os.stat(path))
    with os.scandir(path) as found:
        local = {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
    for entry in children(directory, blobs):
        if local.get(entry.name) != entry.is_dir:
            continue  # not there, or of another kind
        del local[entry.name]
        if entry.is_dir:
            _prune(entry, path + b"/" + entry.name, blobs)
    for name, is_dir in local.items():
        if partial.is_partial(name) and not is_dir:
            partial.remove(path + b"/" + name)  # unless another one is writing it
        else:
            _remove(path + b"/" + name, is_dir)


def _remove(path: bytes, is_dir: bool) -> None:
    if not is_dir:
        os.unlink(path)
        return
    device = os.lstat(os.path.dirname(path)).st_dev
    for inner, _, _, fd in os.fwalk(path):
        if os.fstat(fd).st_dev != device:
            raise ExportFailed(os.fsdecode(inner), "is a mount point, and is not removed")
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)  # or what is in it could not be removed
    shutil.rmtree(path)


def verify(root: Entry, target: str, blobs: Blobs) -> int:
    """Prove that a directory has the paths and contents of a version, by reading all of it.

    Modification times and permission bits other than the owner's execute bit may differ;
    references are passed over. Returns how many of these there are. Raises `VerificationFailed`
    naming the first difference.
    """
    path = os.fsencode(target)
    if not os.path.isdir(path):
        raise VerificationFailed(target, "is not a directory")
    try:
        return _verify(root, path, blobs)
    except OSError as error:
        name = os.fsdecode(error.filename or target)
        raise VerificationFailed(name, os.strerror(error.errno or 0)) from error


def _verify(directory: Entry, path: bytes, blobs: Blobs) -> int:
    local, references = set(os.listdir(path)), 0
    for entry in children(directory, blobs):
        if entry.kind == Kind.REFERENCE:
            local.discard(entry.name)
            references += 1
            continue
        target = path + b"/" + entry.name
        if entry.name not in local:
            raise VerificationFailed(os.fsdecode(target), "is missing")
        local.remove(entry.name)
        why = _difference(entry, target, blobs)
        if why:
            raise VerificationFailed(os.fsdecode(target), why)
        if entry.is_dir:
            references += _verify(entry, target, blobs)
    if local:
        raise VerificationFailed(os.fsdecode(path + b"/" + min(local)), "is not in the version")
    return references


def _difference(entry: Entry, target: bytes, blobs: Blobs) -> str:
    info = os.lstat(target)
    if entry.is_dir:
        return "" if stat.S_ISDIR(info.st_mode) else "is not a directory"
    if entry.kind == Kind.SYMLINK:
        is_link = stat.S_ISLNK(info.st_mode)
        return "" if is_link and os.readlink(target) == entry.target else "is another link"
    if not stat.S_ISREG(info.st_mode):
        return "is not a regular file"
    if (info.st_mode ^ entry.mode) & EXECUTE:
        return "has another execute bit"
    same = same_content(entry, target, info, blobs)
    return "" if same else "has another content than in the version"
