"""`Artifact`: a set of files on its way to be a version, or a version."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec

from artfs.api import metadata as metadatas
from artfs.api import paths
from artfs.api.committing import Base, How, Wish, commit_wish
from artfs.api.content import Content
from artfs.api.current import current, current_place
from artfs.api.fetched import Fetched
from artfs.api.labels import check_tags
from artfs.api.links import Linkable
from artfs.api.manifest import ArtifactManifest, ArtifactManifestEntry
from artfs.api.place import Place, find_place
from artfs.api.referring import Referring
from artfs.api.runsettings import Settings
from artfs.api.traced import Traced
from artfs.api.underway import Logging
from artfs.api.valued import Valued
from artfs.api.version import Version, check_aliases
from artfs.errors import ArtifactFinalizedError, Conflict, InvalidValue, NotThere, WrongType
from artfs.format import walk
from artfs.repo.editing import empty_directory
from artfs.repo.reading import drive
from artfs.repo.recording import Recorder
from artfs.repo.worker import Worker
from artfs.types import ArtifactKey, Entry

#: What an artifact has to which nothing was added.
EMPTY = empty_directory()


class Artifact(Fetched, Linkable, Referring, Traced, Valued):
    """A named and typed set of files.

    One that was made with `Artifact(...)` is filled and then logged, by `run.log_artifact` or
    `save`; from then on, like one from `use_artifact` or `Api().artifact`, it is a version and does
    not change.

    A file counts as it is when it is added: it is read and stored then, so it may change or go
    afterwards, and logging only records what is there. Adding goes to the store of the run that is
    going on, else to the one of the environment; it is the one the artifact must be logged in.
    A file under a path that another was added as is refused, unless it is equal or is to overwrite
    it; in the place of one that was there when a draft was begun it may be added. Thread-safe.

    `name`, `type`: letters, digits, `_`, `-`, `.`. `metadata`: at most 100 keys, JSON.
    `incremental`: begin with the files of the newest version, if there is one, which are not read;
    as `new_draft`. `use_as`: what a run calls it. Raises `InvalidValue`.
    """

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002  # the word of the contract
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
        incremental: bool | None = None,
        use_as: str | None = None,
    ) -> None:
        super().__init__(name, type, description, use_as)
        self._metadata = metadatas.checked(metadata)
        self._incremental = bool(incremental)
        self._base: Base | None = None
        self._content: Content | None = None
        #: Local files and directories that were added, and as what.
        self._local_files: dict[str, paths.Path] = {}
        self._local_dirs: dict[str, paths.Path] = {}
        self._written = {}
        self._finished: Entry | None = None
        self._wish: Wish | None = None
        self._logging: Logging | None = None

    @classmethod
    def of_version(cls, version: Version, use_as: str | None = None) -> Artifact:
        """The artifact that is a version in the store."""
        self = cls(version.key.name, version.type, use_as=use_as)
        self._become(version)
        return self

    @property
    def incremental(self) -> bool:
        """Whether it was begun with the files of the newest version."""
        return self._incremental

    # Filling -------------------------------------------------------------------------------

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add a file, under its own name or as `name`; of a link, the file it leads to.

        `is_tmp`: a temporary file, whose name is made from its content, so that none collide: the
        first 20 digits of its MD5, as in W&B, and its endings.
        `overwrite`: let it take the place of another that was added as this path. `skip_cache`,
        `policy` (`mutable`, `immutable`): how W&B is to upload; here it is stored on return.
        Raises `ArtifactFinalizedError`; `NotThere`, `InvalidValue` (no file; `name` is no path, or
        a directory's, or that of other content), `SourceChanged` (it cannot be read).
        """
        del skip_cache
        _check_policy(policy)
        with self._lock:
            self._refuse_finalized()
        local = os.fspath(local_path)
        if os.path.isdir(local):
            raise InvalidValue(f"'{local}'", "is a directory, not a file", "add_dir adds it")
        if not os.path.exists(local):
            raise NotThere(local, "no such file")
        path = paths.parse(name or os.path.basename(local))
        with self._lock:
            content = self._open()
            if is_tmp:
                entry = content.store_file(local)
                path = _by_content(path, local)
                content.set(path, entry)
            else:
                entry = content.add_file(local, path, overwrite=overwrite)
            self._local_files[os.path.abspath(local)] = path
        return ArtifactManifestEntry(paths.text_of(path), entry, local_path=local)

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add all that is in a directory, at the root or under `name`. Links within it stay links;
        of one that leads out of it, what it leads to is added.

        What the artifact has already stays. `merge`: but for files of the same paths, which take
        the place of what was added before. `skip_cache`, `policy`: as of `add_file`, which this
        raises as; then nothing of the directory is added.
        """
        del skip_cache
        _check_policy(policy)
        with self._lock:
            self._refuse_finalized()
        local = os.fspath(local_path)
        path = paths.parse_directory(name)
        if not os.path.isdir(local):
            if os.path.lexists(local):
                raise InvalidValue(f"'{local}'", "is no directory", "add_file adds a file")
            raise NotThere(f"'{local}'", "no such directory")
        with self._lock:
            self._open().add_dir(local, path, overwrite=merge)
            self._local_dirs[os.path.abspath(local)] = path

    @contextlib.contextmanager
    def new_file(
        self,
        name: str | os.PathLike[str],
        mode: str = "w",
        encoding: str | None = None,
        policy: str | None = "mutable",
    ) -> Iterator[IO[Any]]:
        """A new file to be written, which is added when the block ends without an error.

        It takes the place of one that has this path, unless `mode` is "x"; with "a" it begins with
        what that has. `policy`: as of `add_file`, which this raises as.
        """
        _check_policy(policy)
        path = paths.parse(name)
        if not set(mode) & set("wxa"):
            raise InvalidValue(f"mode '{mode}'", "does not write")
        with self._lock:
            self._refuse_finalized()
        with tempfile.TemporaryDirectory(prefix="artfs-") as directory:
            local = os.path.join(directory, "file")
            if "a" in mode:
                with self._lock:
                    self._open().write_file(path, local)
            with open(local, mode, encoding=encoding) as file:
                yield file
            with self._lock:
                self._open().add_file(local, path, overwrite="x" not in mode)

    def remove(self, item: str | os.PathLike[str] | ArtifactManifestEntry) -> None:
        """Remove a file, or a directory with all that is in it, which is not read.

        Raises `ArtifactFinalizedError`; `NoSuchEntry`, a KeyError.
        """
        name = item.path if isinstance(item, ArtifactManifestEntry) else item
        path = paths.parse(name)
        with self._lock:
            self._open().remove(path)

    def get_added_local_path_name(self, local_path: str | os.PathLike[str]) -> str | None:
        """The path in this artifact of a local file that was added; None if it was not."""
        local = os.path.abspath(os.fspath(local_path))
        with self._lock:
            found = [self._local_files[local]] if local in self._local_files else []
            for added, path in self._local_dirs.items():
                if local.startswith(os.path.join(added, "")):
                    found.append((*path, *paths.parse(os.path.relpath(local, added))))
            return next((paths.text_of(path) for path in found if self._has(path)), None)

    def _has(self, path: paths.Path) -> bool:
        if self._content is not None:
            with self._content.lock:
                return self._content.has(path)
        assert self._version is not None  # a local file was added, so there was content
        version = self._version
        return (
            drive(walk.resolve(version.tree, b"/".join(path)), version.repository.blobs) is not None
        )

    def finalize(self) -> None:
        """Take no more changes; logging does it by itself."""
        with self._lock:
            if self._finished is None and self._version is None:
                self._finished = self._contents().build() if self._has_content else EMPTY

    @property
    def _has_content(self) -> bool:
        return self._content is not None or self._base is not None or self._incremental

    def _tree(self) -> Entry:
        if self._version is not None:
            return self._version.tree
        if self._finished is not None:
            return self._finished
        return self._contents().preview() if self._has_content else EMPTY

    def _refuse_finalized(self) -> None:
        if self._version is not None:
            raise ArtifactFinalizedError(
                f"artifact '{self.name}'", "is logged, and a version never changes",
                "new_draft() begins a new one from it",
            )  # fmt: skip
        if self._finished is not None:
            raise ArtifactFinalizedError(f"artifact '{self.name}'", "is finalized")

    def _open(self) -> Content:
        self._refuse_finalized()
        return self._contents()

    def _contents(self, place: Place | None = None) -> Content:
        if self._content is None:
            place = self._place = self._place or place or current_place()
            if self._incremental and self._base is None:
                self._base = Base.of_latest(place.repository, place.key(self._name))
            base = None if self._base is None else self._base.root
            self._content = Content(place.repository, base)
        return self._content

    # Logging -------------------------------------------------------------------------------

    def log_in(
        self,
        place: Place,
        aliases: Sequence[str],
        worker: Worker,
        recorder: Recorder,
        *,
        tags: Sequence[str] = (),
        how: How = commit_wish,
    ) -> Logging | None:
        """Begin to make this a version, as `Run.log_artifact` does; None if it is one, which then
        gets the aliases and tags. Raises what is wrong with it, before anything is begun.

        `how` does it; what returns no version leaves this finalized."""
        check_aliases(aliases)
        tags = check_tags(tags)
        with self._lock:
            if self._version is not None:
                self._refuse_deleted()
                self._version.add_tags(tags)
                self._version.change_aliases([], aliases)
                self._become(self._version)
                return None
            if self._logging is not None and not self._logging.is_done:
                raise Conflict(f"artifact '{self._name}'", "is being logged", "wait() for it")
            self._tags += [tag for tag in tags if tag not in self._tags]
            content, wish = self._ready(place, [*self._aliases, *aliases])
            wish = msgspec.structs.replace(wish, run=str(recorder.key))
            job = worker.submit(self._commit, content, wish, how, worker, recorder)
            self._logging = Logging(f"artifact '{self._name}'", job)
            return self._logging

    def _ready(self, place: Place, aliases: Sequence[str]) -> tuple[Content, Wish]:
        check_aliases(aliases)
        labels = self._labels()
        own = self._place
        if own is not None and own.repository is not place.repository:
            raise InvalidValue(
                f"artifact '{self._name}'",
                f"has its files in the store {own.repository.store.url}, and the run is in"
                f" {place.repository.store.url}",
                "make the artifact after init(), or name the store in ARTFS_STORE",
            )
        content = self._contents(place)
        key = self.key_in(place)
        place.repository.catalog.check_type(key, self._type)
        self.finalize()
        assert self._finished is not None
        if self._wish is not None and self._wish.key == key:  # once more, and still one version
            aliases = [*self._wish.aliases, *aliases]
            self._wish = msgspec.structs.replace(self._wish, labels=labels, aliases=aliases)
        else:
            self._wish = Wish(key, self._type, self._finished, labels, aliases, self._base)
        return content, self._wish

    def key_in(self, place: Place) -> ArtifactKey:
        """The artifact of a place whose version this is to be. Raises `InvalidValue`."""
        if self._base is None:
            return place.key(self._name)
        key = self._base.key
        if self._incremental and key != place.key(self._name):
            raise InvalidValue(
                f"artifact '{self._name}'",
                f"was begun from the one of project '{key.project}', and is to be logged in"
                f" '{place.project}'",
                "make an incremental artifact in the run that logs it",
            )
        return key  # a draft becomes a version of what it was made from

    def _commit(
        self, content: Content, wish: Wish, how: How, worker: Worker, recorder: Recorder
    ) -> None:
        repository = content.writer.repository
        recorder.begin()
        with content.lock:
            done = how(repository, content.writer, wish)
        if done is None:
            return
        version = Version(repository, wish.key, wish.type, done.record)
        with self._lock:
            self._become(version)
            self._content = None
            self._written = {}
        content.close()
        recorder.made(wish.key, done.record, done.changed)
        recorder.flush(lambda: worker.has_waiting)

    def fill_in(self, place: Place) -> None:
        """Let the files go to a place; nothing is added yet."""
        self._contents(place)

    @property
    def is_pending(self) -> bool:
        """Whether it is neither logged nor being logged."""
        with self._lock:
            failed = self._logging is None or (
                self._logging.is_done and not self._logging.has_succeeded
            )
            return self._version is None and failed

    def check_type(self, type_: str | None) -> None:
        """Raises `WrongType` unless it has this type."""
        if type_ and self._type != type_:
            raise WrongType(f"artifact '{self._name}'", f"has type '{self._type}', not '{type_}'")

    def wait(self, timeout: float | None = None) -> Artifact:
        """Wait until it is logged, `timeout` seconds at most, and return this artifact.

        Raises what failed, TimeoutError, and `ArtifactNotLoggedError` if nobody is logging it.
        """
        logging = self._logging
        if logging is not None:
            logging.wait(timeout)
        elif self._version is None:
            self._logged()
        return self

    def save(self, project: str | None = None, settings: Settings | None = None) -> None:
        """Log it, or if it is logged, keep the changes made to `aliases`, `description`,
        `metadata`, `tags` and `ttl`; what others have changed of them meanwhile stays.

        In a run, the run logs it, in the background. Outside, a run of its own does, in `project`
        and with these settings, and it is logged when this returns. Raises as `Run.log_artifact`.
        """
        with self._lock:
            if self._version is not None:
                self._save_changes(self._version)
                return
        run = current()
        if run is not None:
            run.log_artifact(self)
            return
        from artfs.api.run import Run  # runs log artifacts: this is the way back

        own = settings or Settings()
        place = (None if own.store else self._place) or find_place(own.store)
        place = place.in_project(project or own.project, own.entity)
        job_type = own.run_job_type or "auto"
        with Run(
            place, job_type=job_type, group=own.run_group, name=own.run_name, id=own.run_id
        ) as run:
            run.log_artifact(self)

    def _save_changes(self, version: Version) -> None:
        self._refuse_deleted()
        if self._labels() != self._saved_labels:
            catalog = version.repository.catalog
            catalog.labels.change(version.key, version.record, self._on_top_of)
        version.change_aliases(self._saved_aliases, self._aliases)
        self._become(version)

    # Using ---------------------------------------------------------------------------------

    def new_draft(self) -> Artifact:
        """A new artifact that begins with the files of this version, which are not read.

        Logging it makes the next version, of what this one has and what was changed. If this is
        the newest version and others log versions meanwhile, their changes stay: the draft's are
        put on them, and `CommitConflict` names the paths that both changed.
        """
        version = self._logged().source
        key = version.key
        draft = Artifact(key.name, version.type, self._description, self._metadata)
        draft._place = Place(version.repository, key.entity, key.project)
        draft._base = Base.of_version(version.repository, key, version.record)
        return draft

    @property
    def manifest(self) -> ArtifactManifest:
        """The entries of this artifact."""
        with self._lock:
            version = self._version
            if version is not None:
                return ArtifactManifest(
                    version.repository, version.tree, self._default_root(), version.origin
                )
            content = self._contents()
            with content.lock:
                tree = content.build() if self._finished is None else self._finished
                content.writer.settle()
            return ArtifactManifest(content.writer.repository, tree)

    def _download_other(self, version: Version) -> None:
        Artifact.of_version(version).download()


def _check_policy(policy: str | None) -> None:
    if policy not in (None, "mutable", "immutable"):
        raise InvalidValue(f"policy '{policy}'", "is neither 'mutable' nor 'immutable'")


def _by_content(path: paths.Path, local: str) -> paths.Path:
    """The path with W&B's digest in the place of the file's name, its endings kept."""
    with open(local, "rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    _, dot, endings = path[-1].partition(b".")
    return (*path[:-1], md5.hexdigest()[:20].encode() + dot + endings)
