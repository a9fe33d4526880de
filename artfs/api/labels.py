"""What people say of an artifact: description, metadata, tags, how long it is to live.

Before it is logged it is what the version is to get. Of a version it may be changed, and `save`
keeps the changes: those that were made here, on top of what others have saved meanwhile.
"""

from __future__ import annotations

import copy
import enum
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from artfs.api import metadata as metadatas
from artfs.errors import InvalidValue
from artfs.repo.labels import MAX_TTL, Labels
from artfs.types import check_tag


class ArtifactTTL(enum.Enum):
    """What `Artifact.ttl` can be set to besides a time. `INHERIT`: what holds for all versions,
    which here is that they do not expire."""

    INHERIT = 0


class Labelled:
    """The labels of an artifact."""

    def __init__(self, description: str | None) -> None:
        self._description = metadatas.checked_text(description, "description")
        self._metadata: dict[str, Any] = {}
        self._tags: list[str] = []
        self._ttl = 0
        self._saved_labels = Labels()
        self._lock = threading.RLock()

    @property
    def description(self) -> str:
        """Free text. Of a version, set it and `save()`."""
        return self._description

    @description.setter
    def description(self, text: str | None) -> None:
        self._description = metadatas.checked_text(text, "description")

    @property
    def metadata(self) -> dict[str, Any]:
        """At most 100 keys with JSON. Of a version, change it and `save()`."""
        return self._metadata

    @metadata.setter
    def metadata(self, values: Mapping[str, object] | None) -> None:
        self._metadata = metadatas.checked(values)

    @property
    def tags(self) -> list[str]:
        """Each a word, or several with spaces. Of a version, change the list and `save()`."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._tags = check_tags(tags)

    @property
    def ttl(self) -> timedelta | None:
        """How long after it was made a version expires, None if it does not. Set it and `save()`.

        An expired version is as it was until `artfs rm --expired` deletes it, which it does unless
        the version has aliases or links.
        """
        return timedelta(seconds=self._ttl) if self._ttl else None

    @ttl.setter
    def ttl(self, ttl: timedelta | ArtifactTTL | None) -> None:
        if ttl is None or ttl is ArtifactTTL.INHERIT:
            self._ttl = 0
            return
        if not isinstance(ttl, timedelta):
            raise InvalidValue("ttl", f"is a {type(ttl).__name__}, not a timedelta")
        if ttl < timedelta(seconds=1):
            raise InvalidValue(f"ttl {ttl}", "is less than a second", "None: it does not expire")
        if ttl.total_seconds() > MAX_TTL:
            raise InvalidValue(
                f"ttl {ttl}", "is longer than 1,000 years", "None: it does not expire"
            )
        self._ttl = int(ttl.total_seconds())

    def _take_labels(self, labels: Labels) -> None:
        self._saved_labels = labels
        self._description = labels.description
        self._metadata = copy.deepcopy(labels.metadata)
        self._tags = list(labels.tags)
        self._ttl = labels.ttl

    def _labels(self) -> Labels:
        """The labels as they are here. Raises `InvalidValue`."""
        tags, metadata = check_tags(self._tags), metadatas.checked(self._metadata)
        return Labels(self._description, metadata, tags, self._ttl, self._saved_labels.changed)

    def _on_top_of(self, there: Labels) -> Labels:
        """The labels that somebody may have changed, with the changes that were made here."""
        old, mine = self._saved_labels, self._labels()
        metadata = {
            k: v for k, v in there.metadata.items() if k in mine.metadata or k not in old.metadata
        }
        metadata |= {
            k: v for k, v in mine.metadata.items() if k not in old.metadata or old.metadata[k] != v
        }
        tags = [tag for tag in there.tags if tag in mine.tags or tag not in old.tags]
        tags += [tag for tag in mine.tags if tag not in old.tags and tag not in tags]
        return Labels(
            there.description if mine.description == old.description else mine.description,
            metadata, tags, there.ttl if mine.ttl == old.ttl else mine.ttl, there.changed,
        )  # fmt: skip


def check_tags(tags: Sequence[str]) -> list[str]:
    """The tags, each once. Raises `InvalidValue` for what cannot be one."""
    if isinstance(tags, str):
        raise InvalidValue(f"tags '{tags}'", "is one text, not a list of tags")
    return [check_tag(tag) for tag in dict.fromkeys(tags)]
