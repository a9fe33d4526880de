"""What a reference's entry records of its source: JSON in `target`. artfs-format(5), REFERENCES.

`checksum` is `KIND:VALUE`. Kinds that are digests of the content, so that whoever has read all of
it can prove it: `blake3`, `md5` (hex). Kinds that only the source can compare: `etag` (as in the
HTTP header), `modified` (as in Last-Modified), `size` (decimal, where there is nothing better).
`artfs` is the logical digest of the entry of another artifact.
"""

from __future__ import annotations

import msgspec

from artfs.errors import Damaged
from artfs.format import digest as digests
from artfs.types import Entry, Kind, path_shown

#: What an entry's mode is where its source has none.
MODE = 0o644


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the bytes of an entry are, and what they were when that was recorded.

    `checksum`: empty if none was recorded; then whatever is there is read. `version`: the source's
    own name for this state of it (S3 version id, GCS generation). `mtime_ns`, `ctime_ns`: of a
    file, its times; 0 if not recorded. `sized`: whether the entry's size is known; if not it is
    0, and the content ends where the source does.
    """

    uri: str
    checksum: str = ""
    version: str = ""
    mtime_ns: int = 0
    ctime_ns: int = 0
    sized: bool = True

    @property
    def scheme(self) -> str:
        """The URI's scheme, in lower case."""
        return self.uri.partition(":")[0].lower()

    @property
    def checksum_kind(self) -> str:
        """What stands before the colon of `checksum`."""
        return self.checksum.partition(":")[0]

    @property
    def checksum_value(self) -> str:
        """What stands behind it."""
        return self.checksum.partition(":")[2]


def entry_of(
    name: bytes, reference: Reference, size: int, mtime_ns: int, mode: int = MODE
) -> Entry:
    """The entry of a reference. `size` is 0 unless the reference is `sized`."""
    return Entry(
        name, Kind.REFERENCE, mode, mtime_ns, size, 0,
        digests.of_reference(reference.uri, reference.checksum),
        target=msgspec.json.encode(reference),
    )  # fmt: skip


def reference_of(entry: Entry) -> Reference:
    """What an entry of kind REFERENCE records. Raises `Damaged`."""
    try:
        if not entry.target.startswith(b"{"):
            return Reference(entry.target.decode())
        return msgspec.json.decode(entry.target, type=Reference)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        name = path_shown(entry.name)
        raise Damaged(f"reference '{name}'", f"cannot be decoded ({error})") from error
