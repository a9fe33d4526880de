"""Files of a version on the local disk: downloaded, checked out, verified, or one by one."""

from __future__ import annotations

import glob
import os
from abc import abstractmethod
from collections.abc import Sequence

from artfs.api import paths
from artfs.api.attributes import Attributes
from artfs.api.manifest import ArtifactFile, ArtifactManifest, ArtifactManifestEntry
from artfs.api.referring import dependencies
from artfs.api.version import Version
from artfs.errors import InvalidValue, NoSuchEntry
from artfs.repo.export import Export
from artfs.repo.matching import prune, verify


class Fetched(Attributes):
    """The part of an artifact that gives its files back."""

    @property
    @abstractmethod
    def manifest(self) -> ArtifactManifest:
        """See `Artifact`."""

    def get_entry(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """The entry of a file, which can be downloaded by itself.

        Raises `ArtifactNotLoggedError`, `NoSuchEntry`, a KeyError, and `InvalidValue` (a
        directory).
        """
        self._logged()
        entry = self.manifest.get_entry_by_path(os.fspath(name))
        if entry is None:
            raise NoSuchEntry(f"{self.name}/{os.fspath(name)}", "no such path in this version")
        return entry

    def get_path(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """As `get_entry`."""
        return self.get_entry(name)

    def files(self, names: Sequence[str] | None = None, per_page: int = 50) -> list[ArtifactFile]:
        """All files, links and references, or those that have these paths.

        `per_page`: W&B's; here they come all at once.
        """
        del per_page
        self._logged()
        wanted = None if names is None else {paths.text_of(paths.parse(name)) for name in names}
        return [
            ArtifactFile(entry)
            for entry in self.manifest
            if wanted is None or entry.path in wanted
        ]  # fmt: skip

    def file(self, root: str | os.PathLike[str] | None = None) -> str:
        """Download the only file of an artifact, as `ArtifactManifestEntry.download` does.

        Raises also `InvalidValue` if it has none, or several.
        """
        self._logged()
        found = list(self.manifest)
        if len(found) != 1:
            raise InvalidValue(
                f"artifact '{self.name}'", f"has {len(found)} files, not one",
                "download() gets all of them, get_entry(name).download() one",
            )  # fmt: skip
        return found[0].download(root)

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        recursive: bool = False,
        *,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: str | os.PathLike[str] | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Write all files below a directory (`./artifacts/NAME:vN`) and return it. References are
        written as what they lead to; those that nobody can read are left out.

        Equal files are kept and other files left alone. `recursive`: every artifact that entries
        refer to is downloaded as a whole, too, to where it goes by default. `path_prefix`: only
        files whose path begins so. `allow_missing_references`: leave out those whose source is gone
        or has changed, too. `skip_cache`, `multipart`: how W&B is to transfer; nothing here.
        Raises `ArtifactNotLoggedError`, `ExportFailed`, `Damaged`, `SourceChanged`,
        `SourceRefused`, `Unreachable`, and `InvalidValue` if it is deeper than Python's recursion
        limit.
        """
        del skip_cache, multipart
        version = self._logged()
        target = self._target(root)
        for other in dependencies(version) if recursive else ():
            self._download_other(other)
        prefix = "" if path_prefix is None else os.fspath(path_prefix).removeprefix("./")
        patterns = [glob.escape(prefix) + "*"] if prefix.strip("/") else []
        with paths.within_recursion_limit(target):
            Export(version.repository, patterns, may_miss_references=allow_missing_references).run(
                version.tree, target
            )
        return target

    @abstractmethod
    def _download_other(self, version: Version) -> None:
        """Download another version to where it goes by default."""

    def checkout(self, root: str | os.PathLike[str] | None = None) -> str:
        """As `download`, and remove all that is not in this version from the directory.

        Refuses the root directory, one with the store in it, and to remove a mount point.
        """
        version = self._logged()
        target = self._target(root)
        repository = version.repository
        with paths.within_recursion_limit(target):
            prune(version.tree, target, repository.blobs, repository.store.directory)
            Export(repository).run(version.tree, target)
        return target

    def verify(self, root: str | os.PathLike[str] | None = None) -> bool:
        """Prove that a directory has the files of this version and no others, by reading it.

        Without a directory, that of `download`, which is downloaded if it is not there. Returns
        True; raises `VerificationFailed`, a ValueError, naming the first difference.
        """
        version = self._logged()
        target = self._target(root)
        if root is None and not os.path.lexists(target):
            self.download()
        with paths.within_recursion_limit(target):
            verify(version.tree, target, version.repository.blobs)
        return True

    def _target(self, root: str | os.PathLike[str] | None) -> str:
        return self._default_root() if root is None else os.fspath(root)

    def _default_root(self) -> str:
        return os.path.join(".", "artifacts", self.name)
