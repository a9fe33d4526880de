"""The JSON records, one class for each kind. See artfs-format(5), RECORDS."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

import msgspec

from artfs.errors import Damaged, UnsupportedFormat
from artfs.format import blob as blob_codec
from artfs.types import ArtifactKey, BlobRef, Entry, Kind

FORMAT = 1

R = TypeVar("R", bound=msgspec.Struct)

# Checked when a record is decoded: unlike nodes, records have no digest that would give damage
# away, and a size read from one decides how much memory is asked for.
_Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Node: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")]
_Pack: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{32})?\Z")]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_InPack: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_InBlob: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=blob_codec.MAX)]
_Height: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=63)]


class StoreRecord(msgspec.Struct, frozen=True):
    """`artfs.json`: what kind of store this is, and its random id."""

    format: int
    id: _Id


class ArtifactRecord(msgspec.Struct, frozen=True):
    """`artifact.json`: what holds for all versions of an artifact."""

    type: str
    description: str = ""
    created: str = ""
    portfolio: bool = False


class RootRecord(msgspec.Struct, frozen=True):
    """The root directory of a version; hex where `Entry` has bytes."""

    digest: _Digest
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
    mtime_ns: int
    size: _Count
    count: _Count
    height: _Height = 0
    node: _Node = ""
    node_size: _InBlob = 0
    pack: _Pack = ""
    offset: _InPack = 0
    stored: _InBlob = 0

    @classmethod
    def of(cls, root: Entry) -> RootRecord:
        """The record of a root entry."""
        blob = root.blob
        if blob is None:
            return cls(root.digest.hex(), root.mode, root.mtime_ns, 0, 0)
        return cls(
            root.digest.hex(), root.mode, root.mtime_ns, root.size, root.count, root.height,
            blob.digest.hex(), blob.size, blob.pack.hex(), blob.offset, blob.stored,
        )  # fmt: skip

    def entry(self) -> Entry:
        """The root entry, with an empty name."""
        blob = None
        if self.node:
            node, pack = bytes.fromhex(self.node), bytes.fromhex(self.pack)
            blob = BlobRef(node, self.node_size, pack, self.offset, self.stored)
        return Entry(
            b"", Kind.DIRECTORY, self.mode, self.mtime_ns, self.size, self.count,
            bytes.fromhex(self.digest), blob, self.height,
        )  # fmt: skip


class SourceRecord(msgspec.Struct, frozen=True):
    """The version that a version of a portfolio is a link to."""

    entity: str
    project: str
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.name}:v{self.version}"

    @property
    def key(self) -> ArtifactKey:
        """Its artifact."""
        return ArtifactKey(self.entity, self.project, self.name)


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`versions/N.json`. `commit` is random and made before the first try to write the record: a
    writer that lost the answer finds its own version by it. `base` is the version that this one
    was made from, or -1. `stored` is the bytes that were new to the store. `ttl` is in seconds, 0
    for ever; it, description, metadata and tags are the labels that the version was made with.
    `source`: what a link is a link to. `run`: which run logged it, ENTITY/PROJECT/ID, or empty;
    `contributors`: of a distributed version, the other runs that added to it."""

    format: int = FORMAT
    version: int
    commit: str
    root: RootRecord
    base: int = -1
    created: str
    description: str = ""
    metadata: dict[str, object] = {}
    stored: int = 0
    tags: list[str] = []
    ttl: _Count = 0
    source: SourceRecord | None = None
    run: str = ""
    contributors: list[str] = []

    @property
    def digest(self) -> str:
        """The version's logical digest, hex."""
        return self.root.digest


class FloorRecord(msgspec.Struct, frozen=True):
    """`floor.json`: versions up to `version` have been made."""

    version: Annotated[int, msgspec.Meta(ge=0, lt=10**10)]


class AliasRecord(msgspec.Struct, frozen=True):
    """`aliases/NAME.json`."""

    version: int


class LabelsRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """`labels/N.json`: what is None is as the version record says."""

    description: str | None = None
    metadata: dict[str, object] | None = None
    tags: list[str] | None = None
    ttl: _Count | None = None
    changed: str = ""


class LinkRecord(msgspec.Struct, frozen=True):
    """`links/N/….json`: the link is version `version` of the portfolio; if that is -1, the one
    above `after` that has the commit id, if any."""

    commit: str
    after: int
    version: int = -1


class PartRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`parts/…/writers/WRITER.json`: what one writer adds to a version. `follows`: `base` was the
    newest version when the tree was begun. `run`: which run adds it, ENTITY/PROJECT/ID."""

    root: RootRecord
    run: str = ""
    base: int = -1
    follows: bool = False
    type: str = ""
    description: str = ""
    metadata: dict[str, object] = {}
    tags: list[str] = []
    ttl: _Count = 0
    aliases: list[str] = []
    created: str = ""
    stored: _Count = 0


class FinishRecord(msgspec.Struct, frozen=True):
    """`parts/…/finish.json`: the version is the one above `after` that has the commit id, if any;
    its number is `version` once it is known."""

    commit: str
    after: int
    run: str
    version: int = -1


def encode(record: msgspec.Struct) -> bytes:
    """The bytes of a record: JSON, one object, a line end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def decode(data: bytes, kind: type[R], key: str) -> R:
    """The record in `data`. Raises `Damaged`; of a newer format, `UnsupportedFormat`."""
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format > FORMAT:
            raise UnsupportedFormat(
                key, f"is written in format {head.format}, this artfs reads up to {FORMAT}",
                "use a newer artfs",
            )  # fmt: skip
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(key, f"cannot be decoded ({error})") from error


class _Head(msgspec.Struct):
    format: int = FORMAT
