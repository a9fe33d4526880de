"""What the kernel says of mounts. Nothing here touches a mount, which could hang or be dead."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

FSTYPE = "fuse.artfs"
_SOURCE = "artfs:"
_ID = re.compile(_SOURCE + r"([0-9a-f]{12})")
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of /proc/self/mountinfo; `device` is MAJOR:MINOR."""

    point: str
    device: str
    fstype: str
    source: str

    @property
    def mount_id(self) -> str | None:
        """The id of an artfs mount, None of any other.

        It becomes a path that is removed, and whoever may mount chooses the source: nothing but
        an id of ours counts.
        """
        match = _ID.fullmatch(self.source)
        return match[1] if match and self.fstype == FSTYPE else None


def source_of(mount_id: str) -> str:
    """The name of the device that a mount claims to be of."""
    return _SOURCE + mount_id


def mounts() -> list[MountEntry]:
    """Every mount this process sees, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        fields, (fstype, source, *_) = before.split(b" "), after.split(b" ")
        texts = [os.fsdecode(_unescape(field)) for field in (fields[4], fields[2], fstype, source)]
        found.append(MountEntry(*texts))
    return found


def _unescape(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8),)), field)


def mount_at(path: Path) -> MountEntry | None:
    """What is mounted on a path, the topmost if several are."""
    at = location(path)
    return next((mount for mount in reversed(mounts()) if mount.point == at), None)


def location(path: Path) -> str:
    """The path without links, its last component not looked at: that may be a dead mount."""
    absolute = os.path.abspath(path)
    parent, name = os.path.split(absolute)
    return os.path.join(os.path.realpath(parent), name)
