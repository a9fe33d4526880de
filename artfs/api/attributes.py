"""What an artifact says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from artfs.api.labels import Labelled
from artfs.api.place import Place
from artfs.api.version import Version
from artfs.errors import ArtifactNotLoggedError, NotFound
from artfs.repo.reading import entries
from artfs.types import Entry, check_name


class Attributes(Labelled, ABC):
    """The attributes of an artifact. Those that only a version has raise
    `ArtifactNotLoggedError` before it is logged, and while it is (`wait` waits for it)."""

    def __init__(self, name: str, type_: str, description: str | None, use_as: str | None) -> None:
        super().__init__(description)
        self._name = check_name(name)
        self._type = check_name(type_, "type")
        self._aliases: list[str] = []
        self._saved_aliases: list[str] = []
        self._place: Place | None = None
        self._version: Version | None = None
        self._deleted = False
        #: What a run that uses it calls it.
        self.use_as = use_as

    @abstractmethod
    def _tree(self) -> Entry:
        """The root directory as it is now; its nodes need not be stored."""

    def _logged(self) -> Version:
        if self._version is None:
            raise ArtifactNotLoggedError(
                f"artifact '{self._name}'", "is not logged",
                "log_artifact or save makes it a version; wait() waits for that",
            )  # fmt: skip
        return self._version

    def _refuse_deleted(self) -> None:
        if self._deleted:
            raise NotFound(self.name, "was deleted")

    def _become(self, version: Version) -> None:
        aliases, labels = version.aliases(), version.labels()
        self._version = version
        self._type = version.type
        self._take_labels(labels)
        self._aliases, self._saved_aliases = aliases, list(aliases)

    @property
    def name(self) -> str:
        """`NAME:vN`; before it is logged, `NAME`."""
        return self._name if self._version is None else self._version.name

    @property
    def qualified_name(self) -> str:
        """`ENTITY/PROJECT/NAME:vN`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def entity(self) -> str:
        """The entity whose project it belongs to."""
        return self._logged().key.entity

    @property
    def project(self) -> str:
        """The project it belongs to."""
        return self._logged().key.project

    @property
    def version(self) -> str:
        """`vN`; the first version of an artifact is `v0`."""
        return f"v{self._logged().record.version}"

    @property
    def type(self) -> str:
        """The type, the same of all versions."""
        return self._type

    @property
    def aliases(self) -> list[str]:
        """The aliases of this version when it was fetched, logged or saved, `latest` among them;
        before, those it is to get. Change the list and `save()`."""
        return self._aliases

    @aliases.setter
    def aliases(self, aliases: Sequence[str]) -> None:
        self._aliases = [aliases] if isinstance(aliases, str) else list(aliases)

    @property
    def digest(self) -> str:
        """Hex digest of the content: paths, files, links, the owner's execute bit."""
        with self._lock:
            return self._tree().digest.hex()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        with self._lock:
            return self._tree().size

    @property
    def file_count(self) -> int:
        """Files, links and references of a version; counted by reading its directories."""
        version = self._logged()
        found = entries(version.tree, version.repository.blobs)
        return sum(1 for _, entry in found if not entry.is_dir)

    @property
    def id(self) -> str | None:
        """What no other version has; None before it is logged."""
        return None if self._version is None else self._version.record.commit

    @property
    def commit_hash(self) -> str:
        """Hash of the version's record: of content, metadata and origin, hex."""
        return self._logged().commit_hash

    @property
    def created_at(self) -> str:
        """When the version was made, in UTC: `2026-11-21T05:59:20Z`."""
        return self._logged().record.created

    @property
    def updated_at(self) -> str:
        """When description, metadata, tags or ttl were changed last, else the same."""
        return self._logged().labels().changed or self._logged().record.created

    @property
    def state(self) -> str:
        """PENDING until it is logged, then COMMITTED; DELETED after `delete`."""
        if self._deleted:
            return "DELETED"
        return "PENDING" if self._version is None else "COMMITTED"

    def is_draft(self) -> bool:
        """Whether it is not logged."""
        return self._version is None

    def json_encode(self) -> dict[str, Any]:
        """What stands for this version in JSON. Raises `ArtifactNotLoggedError`."""
        return {
            "_type": "artifactVersion", "_version": "v0", "id": self._logged().record.commit,
            "version": self.version, "sequenceName": self._name, "usedAs": self.use_as,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<Artifact {self.name} {self._type} {self.state}>"
