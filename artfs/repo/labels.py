"""What people say of a version: description, metadata, tags, how long it is to live.

A version record never changes, so what is changed later is a small record of its own beside it,
which only holds what was changed. The labels of a link are those of the version that it links to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from artfs.errors import Conflict, Damaged, InvalidValue, ObjectNotFound
from artfs.format import keys, record
from artfs.format.record import LabelsRecord, VersionRecord
from artfs.repo import records
from artfs.repo.records import now
from artfs.store.base import Store
from artfs.types import ArtifactKey

#: Seconds that a version may be given to live, a thousand years: calendars end somewhere.
MAX_TTL = 365_250 * 86_400
#: Of metadata; W&B's limit.
MAX_KEYS = 100


class Labels(msgspec.Struct, frozen=True):
    """`ttl`: seconds from when the version was made to when it expires, 0 if it does not.
    `changed`: when labels were changed last, as records have it; "" if they never were."""

    description: str = ""
    metadata: dict[str, object] = {}
    tags: list[str] = []
    ttl: int = 0
    changed: str = ""

    @classmethod
    def of_record(cls, version: VersionRecord) -> Labels:
        """The labels that a version was made with."""
        return cls(version.description, version.metadata, version.tags, version.ttl)

    def with_tags(self, tags: Sequence[str]) -> Labels:
        """The same with more tags."""
        new = [tag for tag in dict.fromkeys(tags) if tag not in self.tags]
        return msgspec.structs.replace(self, tags=self.tags + new)


class LabelBook:
    """The labels of all versions of a store. Blocking, thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, key: ArtifactKey, version: VersionRecord) -> Labels:
        """The labels of a version. Raises `Damaged`, `Unreachable`."""
        key, version = self._labelled(key, version)
        return _together(version, self._read(key, version.version)[0])

    def reader(self, key: ArtifactKey) -> Callable[[VersionRecord], Labels]:
        """As `of`, for many versions of one artifact: what was never changed is not looked for.

        Labels that are changed for the first time after this call may be passed over.
        """
        names = self._store.list_names(keys.all_labels(key))
        changed = set(keys.numbers(names))

        def read(version: VersionRecord) -> Labels:
            if version.version in changed or version.source is not None:
                return self.of(key, version)
            return Labels.of_record(version)

        return read

    def change(
        self, key: ArtifactKey, version: VersionRecord, change: Callable[[Labels], Labels]
    ) -> Labels:
        """Replace the labels of a version by what `change` makes of those that it has; it may be
        called more than once. Raises what `change` raises; `InvalidValue`, `Conflict`."""
        key, version = self._labelled(key, version)
        for _ in range(records.TRIES):
            there, revision = self._read(key, version.version)
            old = _together(version, there)
            new = change(old)
            if new == old:
                return old
            if len(new.metadata) > MAX_KEYS:
                raise InvalidValue(
                    "metadata", f"has {len(new.metadata)} keys; {MAX_KEYS} are the most"
                )
            new = msgspec.structs.replace(new, changed=now())
            data = record.encode(_beside(version, new))
            try:
                self._store.compare_and_set(keys.labels(key, version.version), data, revision)
            except Conflict:
                continue
            return new
        raise Conflict(f"{key}:v{version.version}", "its labels are being changed all the time")

    def _labelled(
        self, key: ArtifactKey, version: VersionRecord
    ) -> tuple[ArtifactKey, VersionRecord]:
        """The version whose labels are meant: itself, or what it is a link to."""
        if version.source is None:
            return key, version
        name = keys.version(version.source.key, version.source.version)
        try:
            data = self._store.get(name)
        except ObjectNotFound:
            raise Damaged(name, f"is missing, and {key}:v{version.version} links to it") from None
        return version.source.key, record.decode(data, VersionRecord, name)

    def _read(self, key: ArtifactKey, number: int) -> tuple[LabelsRecord, str | None]:
        there, revision = records.read(self._store, keys.labels(key, number), LabelsRecord)
        return LabelsRecord() if there is None else there, revision


def _together(version: VersionRecord, changed: LabelsRecord) -> Labels:
    return Labels(
        version.description if changed.description is None else changed.description,
        version.metadata if changed.metadata is None else changed.metadata,
        version.tags if changed.tags is None else changed.tags,
        version.ttl if changed.ttl is None else changed.ttl,
        changed.changed,
    )


def _beside(version: VersionRecord, labels: Labels) -> LabelsRecord:
    """What of the labels the version record does not say."""
    return LabelsRecord(
        None if labels.description == version.description else labels.description,
        None if labels.metadata == version.metadata else labels.metadata,
        None if labels.tags == version.tags else labels.tags,
        None if labels.ttl == version.ttl else labels.ttl,
        labels.changed,
    )


def expiry(version: VersionRecord, labels: Labels) -> datetime | None:
    """When a version expires. Raises `Damaged` if its record does not say when it was made."""
    if not labels.ttl:
        return None
    try:
        made = datetime.fromisoformat(version.created)
        return made.astimezone(UTC) + timedelta(seconds=labels.ttl)
    except (ValueError, OverflowError) as error:
        raise Damaged(f"v{version.version}", f"has no time to expire ({error})") from None
