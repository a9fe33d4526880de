"""fsspec's protocol `artfs`: `artfs://NAME:v3/path`, for pandas, pyarrow, duckdb, dask and others.

A path is `[[ENTITY/]PROJECT/]NAME:VERSION/PATH`, VERSION being `vN` or an alias, or `NAME@DIGEST`
in the place of both; the version is never left out, as PROJECT/NAME and NAME/PATH would look alike.
A path without one is a project, in which every version is a directory and every alias a link.
Listings and what is said of links are as of fsspec's own local filesystem. Read-only, thread-safe.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NoReturn

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile
from fsspec.utils import stringify_path

from artfs import settings
from artfs.api.files import VersionFile, read_range, require_file
from artfs.api.lookup import look_up, raw, text
from artfs.api.oserrors import ABSENT, as_os_errors, failure
from artfs.api.versions import Versions
from artfs.errors import NotFound
from artfs.repo.reading import children
from artfs.types import LATEST, Entry, Kind, Ref, parse_project, parse_ref

Info = dict[str, object]


class ArtfsFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """The versions of one store.

    `store` and `project` are what the environment and the configuration file say, unless given, at
    the time when it is made: fsspec gives the same object again for the same arguments.
    An alias, such as `latest`, is looked up once: all that is read by way of one of these, or of a
    pickled copy, is of one version. `invalidate_cache` has it looked up again.
    """

    protocol = "artfs"

    def __init__(
        self,
        store: str | None = None,
        project: str | None = None,
        pinned: dict[str, int] | None = None,
        **options: object,
    ) -> None:
        """`pinned` comes from a pickled one; `options` are fsspec's."""
        super().__init__(**options)
        found = settings.load(store, project)
        self._project = found.project
        self._versions = Versions(found.store, found.cache, found.options, pinned)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        # With what the environment said here, as another machine's may say something else.
        options = {
            **self.storage_options,
            "store": self._versions.url,
            "project": "/".join(self._project),
            "pinned": self._versions.pinned,
        }
        return _restored, (type(self), options)

    def __eq__(self, other: object) -> bool:
        """Whether both read the same, by what is known now."""
        return isinstance(other, ArtfsFileSystem) and (
            self._versions.url, self._project, self._versions.pinned
        ) == (other._versions.url, other._project, other._versions.pinned)  # fmt: skip

    def __hash__(self) -> int:
        return hash((self._versions.url, self._project))

    @classmethod
    def _strip_protocol(cls, path: object) -> object:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        stripped: str = super()._strip_protocol(stringify_path(path))
        return "/".join(name for name in stripped.split("/") if name not in ("", "."))

    @property
    def fsid(self) -> str:
        return f"artfs:{self._versions.url}"

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look aliases up again, whatever the path."""
        self._versions.forget()
        super().invalidate_cache(path)

    # What is there

    def info(self, path: str, **_: object) -> Info:
        """What is known of a path; of a link, of what it leads to."""
        path = self._path(path)
        ref, inner = self._split(path)
        if ref is None:
            return self._project_info(path)
        entry = self._entry(path, ref, inner, follow=False)
        return self._info(path, entry, self._entry(path, ref, inner))

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Info] | list[str]:
        """What is in a directory; of a file, itself. A link to a directory, and one that leads
        nowhere, is of type "other"."""
        path = self._path(path)
        ref, inner = self._split(path)
        if ref is None:
            found = self._project_listing(path)
        elif (directory := self._entry(path, ref, inner)).is_dir:
            with as_os_errors(path):
                blobs = self._versions.repository.blobs
                inside = [(f"{path}/{text(e.name)}", e) for e in children(directory, blobs)]
            if not detail:
                return [name for name, _ in inside]
            found = [self._listed(name, entry) for name, entry in inside]
        else:
            found = [self.info(path)]
        return found if detail else [str(info["name"]) for info in found]

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], None] = "omit",
        **kwargs: object,
    ) -> Iterator[object]:
        """As fsspec's; but what is omitted is what is not there, never what cannot be read."""
        if on_error == "omit":
            on_error = _raise_unless_absent
        yield from super().walk(path, maxdepth, topdown, on_error, **kwargs)

    def exists(self, path: str, **_: object) -> bool:
        """Whether something can be read there. Raises `OSError` where that cannot be told."""
        return self._type(path) is not None

    def lexists(self, path: str, **_: object) -> bool:
        """The same, but a link is enough, wherever it leads to."""
        path = self._path(path)
        with _none_if_absent():
            ref, inner = self._split(path)
            return ref is None or bool(self._entry(path, ref, inner, follow=False))
        return False

    def isdir(self, path: str) -> bool:
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        return self._type(path) == "file"

    def modified(self, path: str) -> datetime:
        """When a file was last changed before it was committed."""
        path = self._path(path)
        return datetime.fromtimestamp(self._existing(path).mtime_ns / 1e9, UTC)

    def ukey(self, path: str) -> str:
        """The digest of the content, hex."""
        return self._existing(self._path(path)).digest.hex()

    # Reading

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: object
    ) -> bytes:
        """The bytes [start, end) of a file; from its end where they are negative."""
        path = self._path(path)
        entry = require_file(self._existing(path), path, self._versions.repository)
        begin, stop, _step = slice(start, end).indices(entry.size)
        return read_range(entry, self._versions.repository, path, begin, stop)

    def _open(
        self, path: str, mode: str = "rb", cache_type: str | None = None, **_: object
    ) -> VersionFile | AbstractBufferedFile:
        """fsspec's settings of block size and cache are not needed: chunks are read as they are.

        Only its blockcache, which says "none", has a file of its kind, to put blocks into.
        """
        path = self._path(path)
        if mode != "rb":
            raise failure(errno.EROFS, path)
        entry = require_file(self._existing(path), path, self._versions.repository)
        if cache_type == "none":
            return _Ranges(self, path, size=entry.size, cache_type=cache_type)
        return VersionFile(entry, self._versions.repository, path, self._open)

    # Not writing

    def mkdir(self, path: str, create_parents: bool = True, **_: object) -> NoReturn:
        raise failure(errno.EROFS, self._path(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        if not (exist_ok and self.isdir(path)):
            raise failure(errno.EROFS, self._path(path))

    def rmdir(self, path: str) -> NoReturn:
        raise failure(errno.EROFS, self._path(path))

    def _rm(self, path: str) -> NoReturn:
        raise failure(errno.EROFS, self._path(path))

    def cp_file(self, path1: str, path2: str, **_: object) -> NoReturn:
        raise failure(errno.EROFS, self._path(path2))

    def touch(self, path: str, truncate: bool = True, **_: object) -> NoReturn:
        raise failure(errno.EROFS, self._path(path))

    # Inside

    @classmethod
    def _path(cls, path: str) -> str:
        return str(cls._strip_protocol(path))

    def _split(self, path: str) -> tuple[Ref | None, str]:
        """The version that a path is in, None if in a project; and the path in it."""
        names = path.split("/")
        for i, name in enumerate(names[:3], 1):
            if ":" in name or "@" in name:
                with as_os_errors(path):
                    return parse_ref("/".join(names[:i]), self._project), "/".join(names[i:])
        if len(names) > 2:
            raise failure(errno.ENOENT, path, "names no version, as NAME:latest/PATH does")
        return None, path

    def _entry(self, path: str, ref: Ref, inner: str, *, follow: bool = True) -> Entry:
        with as_os_errors(path):
            root = self._versions.root(ref)
            blobs = self._versions.repository.blobs
            return look_up(root, raw(inner), blobs, path, follow=follow)

    def _existing(self, path: str) -> Entry:
        ref, inner = self._split(path)
        if ref is None:
            self._project_info(path)
            raise failure(errno.EISDIR, path)
        return self._entry(path, ref, inner)

    def _type(self, path: str) -> object:
        with _none_if_absent():
            return self.info(path)["type"]
        return None

    def _listed(self, path: str, entry: Entry) -> Info:
        if entry.kind != Kind.SYMLINK:
            return self._info(path, entry, entry)
        behind = None
        with _none_if_absent():
            behind = self._existing(path)
        if behind is None or behind.is_dir:
            return {**self._info(path, entry, entry), "type": "other", "size": 0}
        return self._info(path, entry, behind)

    @staticmethod
    def _info(path: str, entry: Entry, behind: Entry) -> Info:
        """`behind` is what the entry leads to if it is a link, else the entry itself."""
        info: Info = {
            "name": path,
            "size": 0 if behind.is_dir else behind.size,
            "type": "directory" if behind.is_dir else "file",
            "mode": behind.mode,
            "mtime": behind.mtime_ns / 1e9,
            "digest": behind.digest.hex(),
            "islink": entry.kind == Kind.SYMLINK,
        }
        if entry.kind == Kind.SYMLINK:
            info["destination"] = text(entry.target)
        return info

    def _project_info(self, path: str) -> Info:
        if path and not self._project_listing(path):
            why = "no such project; a version is written NAME:latest or NAME:v3"
            raise failure(errno.ENOENT, path, why)
        return {"name": path, "size": 0, "type": "directory", "islink": False}

    def _project_listing(self, path: str) -> list[Info]:
        """The versions and aliases of a project, by name and number; [] if there is no project."""
        found: list[Info] = []
        with as_os_errors(path):
            project = parse_project(path) if path else self._project
            catalog = self._versions.repository.catalog
            for key in catalog.artifacts(*project):
                name = f"{path}/{key.name}" if path else key.name
                with contextlib.suppress(NotFound):  # all its versions have been deleted
                    links = {LATEST: catalog.latest(key), **catalog.aliases(key)}
                    found += [_version(f"{name}:v{n}") for n in catalog.versions(key)]
                    found += [_alias(f"{name}:{alias}", n) for alias, n in sorted(links.items())]
        return found


class _Ranges(AbstractBufferedFile):  # type: ignore[misc]  # fsspec ships no types
    """A file as fsspec has them, which reads ranges and may be given a cache of them."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start, end)
        return data


def _version(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory", "islink": False}


def _alias(name: str, number: int) -> Info:
    """A link to a directory, so that a walk does not come to the same files twice."""
    return {
        "name": name, "size": 0, "type": "other", "islink": True, "destination": f"v{number}",
    }  # fmt: skip


def _restored(kind: Callable[..., ArtfsFileSystem], options: dict[str, object]) -> ArtfsFileSystem:
    return kind(**options)


def _raise_unless_absent(error: OSError) -> None:
    if error.errno not in ABSENT:
        raise error


@contextlib.contextmanager
def _none_if_absent() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _raise_unless_absent(error)
