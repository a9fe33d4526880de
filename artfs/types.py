"""The words of artfs as types: kinds, entries, blob references, names and refs.

Names that people see are `str`; path components inside a version are `bytes`, because they need
not be UTF-8. Digests are 32 raw bytes in code and lower-case hex wherever people see them.
"""

from __future__ import annotations

import enum
import re
from typing import NewType
from urllib.parse import quote

import msgspec

from artfs.errors import InvalidValue

Digest = NewType("Digest", bytes)
PackId = NewType("PackId", bytes)

DEFAULT_ENTITY = "default"
DEFAULT_PROJECT = "default"
LATEST = "latest"
NAME_MAX = 255
PATH_MAX = 4096
_TIME_MAX = (1 << 63) - 1

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,9})\Z")
_DIGEST = re.compile(r"[0-9a-f]{12,64}\Z")
_TAG = re.compile(r"[-\w]+( +[-\w]+)*\Z")


class Kind(enum.IntEnum):
    """What an entry of a version is."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    REFERENCE = 4


class BlobRef(msgspec.Struct, frozen=True):
    """Where a blob lies and what it must be.

    `digest` is the BLAKE3 of the `size` raw bytes, which take `stored` bytes at `offset` of pack
    `pack`; they are compressed if and only if `stored` is less than `size`.
    """

    digest: bytes
    size: int
    pack: bytes
    offset: int
    stored: int


class Entry(msgspec.Struct, frozen=True):
    """One path of a version.

    `mode` holds the permission bits (0o7777). `size` is the content's bytes, of a directory those
    of all files below it. `count` is the number of entries below a directory, at any depth.
    `digest` is the logical digest. `blob` is the content: of a file its one chunk (`height` 0) or
    the root of its chunk list (`height` 1 and more); of a directory its root node, `height` being
    that node's; None where there is nothing to store (empty file, empty directory, link).
    `target` is a symbolic link's target, or what a reference records of its source, see
    `artfs.format.reference`.
    """

    name: bytes
    kind: Kind
    mode: int
    mtime_ns: int
    size: int
    count: int
    digest: bytes
    blob: BlobRef | None = None
    height: int = 0
    target: bytes = b""

    @property
    def is_dir(self) -> bool:
        return self.kind == Kind.DIRECTORY


class ArtifactKey(msgspec.Struct, frozen=True, order=True):
    """An artifact's full name inside a store; the string of it says the project, unless that is the
    default one."""

    entity: str
    project: str
    name: str

    def __str__(self) -> str:
        return named_in(self, (DEFAULT_ENTITY, DEFAULT_PROJECT))


class RunKey(msgspec.Struct, frozen=True, order=True):
    """A run's full name inside a store; the string of it is ENTITY/PROJECT/ID."""

    entity: str
    project: str
    id: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"


class Ref(msgspec.Struct, frozen=True):
    """How a person names a version: an alias or `vN` in `selector`, or a digest prefix."""

    artifact: ArtifactKey
    selector: str = LATEST
    digest: str = ""

    @property
    def full(self) -> str:
        """It with entity and project, whatever they are."""
        key = self.artifact
        return f"{key.entity}/{key.project}/{key.name}{self._version}"

    @property
    def _version(self) -> str:
        return f"@{self.digest}" if self.digest else f":{self.selector}"

    def __str__(self) -> str:
        return f"{self.artifact}{self._version}"


def path_shown(path: bytes) -> str:
    """A name or path inside a version for messages; bytes that are not UTF-8 as escapes."""
    return path.decode("utf-8", "backslashreplace")


def kept_time(ns: int) -> int:
    """The nearest time that can be kept, in nanoseconds since 1970, of 64 bits: those from 1677 to
    2262. Filesystems do the same with times that they do not have (Linux: timestamp_truncate)."""
    return max(-_TIME_MAX, min(ns, _TIME_MAX))


def _require_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise InvalidValue(f"{what} {value!r}", f"is a {type(value).__name__}, not text")


def check_name(value: str, what: str = "artifact name") -> str:
    """The value itself if it may name an artifact, a type, a project or an entity.

    Raises `InvalidValue`.
    """
    _require_text(value, what)
    if not value:
        raise InvalidValue(f"{what} ''", "is empty")
    if value in (".", ".."):
        raise InvalidValue(f"{what} '{value}'", "is reserved")
    if len(value) > 128:
        raise InvalidValue(f"{what} '{value[:20]}…'", "is longer than 128 characters")
    if not _NAME.match(value):
        why = "may hold only letters, digits, '_', '-' and '.'"
        hint = "an artifact is named here, not a version of it" if ":" in value else ""
        raise InvalidValue(f"{what} '{value}'", why, hint)
    return value


def check_alias(value: str) -> str:
    """The value itself if a person may set it as an alias. Raises `InvalidValue`."""
    _require_text(value, "alias")
    what = f"alias '{value}'"
    if not value or value in (".", ".."):
        raise InvalidValue(what, "is empty or reserved")
    if value == LATEST:
        raise InvalidValue(what, "always means the newest version and cannot be set")
    if _VERSION.match(value):
        raise InvalidValue(what, "is how a version is named; choose a word")
    if any(c in value for c in "/:@") or not value.isprintable():
        raise InvalidValue(what, "may not hold '/', ':', '@' or control characters")
    # It is stored percent-encoded, in a name of at most 255 characters.
    if len(value) > 128 or len(quote(value, safe="")) > 250:
        raise InvalidValue(what, "is longer than 128 characters, or than some 80 special ones")
    return value


def check_tag(value: str) -> str:
    """The value itself if it may be a tag, by W&B's rule. Raises `InvalidValue`."""
    if not _TAG.match(value):
        why = "may hold only words of letters, digits, '_' and '-', with spaces between them"
        raise InvalidValue(f"tag '{value}'", why)
    if len(value) > 128:
        raise InvalidValue(f"tag '{value[:20]}…'", "is longer than 128 characters")
    return value


def check_distributed_id(value: str) -> str:
    """The value itself if several writers may name the version so that they make together.

    Raises `InvalidValue`.
    """
    what = "distributed_id"
    _require_text(value, what)
    if not value or value in (".", "..") or not value.isprintable():
        raise InvalidValue(f"{what} '{value}'", "is empty, reserved, or has control characters")
    if len(quote(value, safe="")) > 250:
        raise InvalidValue(f"{what} '{value[:20]}…'", "is longer than 250 bytes, percent-encoded")
    return value


def parse_version(text: str) -> int | None:
    """N if the text is `vN`, else None."""
    match = _VERSION.match(text)
    return int(match[1]) if match else None


def parse_project(text: str) -> tuple[str, str]:
    """(entity, project) of `[ENTITY/]PROJECT`. Raises `InvalidValue`."""
    _require_text(text, "project")
    entity, _, project = text.rpartition("/")
    return check_name(entity or DEFAULT_ENTITY, "entity"), check_name(project, "project")


def parse_artifact(text: str, project: tuple[str, str]) -> ArtifactKey:
    """The key of `[[ENTITY/]PROJECT/]NAME`. Raises `InvalidValue`."""
    where, slash, name = text.rpartition("/")
    entity, project_name = parse_project(where) if slash else project
    return ArtifactKey(entity, project_name, check_name(name))


def named_in(key: ArtifactKey, project: tuple[str, str]) -> str:
    """The shortest name that `parse_artifact` takes for an artifact in a project."""
    if (key.entity, key.project) == project:
        return key.name
    if key.entity == DEFAULT_ENTITY:
        return f"{key.project}/{key.name}"
    return f"{key.entity}/{key.project}/{key.name}"


def parse_run(text: str, project: tuple[str, str]) -> RunKey:
    """The key of `[[ENTITY/]PROJECT/]ID`. Raises `InvalidValue`."""
    where, slash, run_id = text.rpartition("/")
    entity, project_name = parse_project(where) if slash else project
    return RunKey(entity, project_name, check_name(run_id, "run id"))


def parse_ref(text: str, project: tuple[str, str]) -> Ref:
    """The ref in `[[ENTITY/]PROJECT/]NAME[:ALIAS-or-vN]` or `NAME@DIGEST`.

    `project` is the (entity, project) of a ref that names none. Raises `InvalidValue`.
    """
    _require_text(text, "ref")
    name, at, digest = text.partition("@")
    if at:
        if not _DIGEST.match(digest):
            raise InvalidValue(f"ref '{text}'", "after '@' come 12 to 64 lower-case hex digits")
        return Ref(parse_artifact(name, project), digest=digest)
    name, colon, selector = text.partition(":")
    artifact = parse_artifact(name, project)
    if not colon or selector == LATEST:
        return Ref(artifact)
    if parse_version(selector) is None:
        if "/" in selector:
            selector, _, path = selector.partition("/")
            raise InvalidValue(
                f"ref '{text}'", "names a path, which is no part of a ref",
                f"where a command takes a path, it stands behind the ref: {name}:{selector} {path}",
            )  # fmt: skip
        check_alias(selector)
    return Ref(artifact, selector)
