"""init, put, get, cat: data in and out."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Sequence

import click
import msgspec

from artfs.cli.app import Settings, damaged_in
from artfs.cli.output import entries_text, files_text, path_text, progress, size_text
from artfs.errors import Damaged, InvalidValue, NotFound, ObjectNotFound
from artfs.format.record import VersionRecord
from artfs.repo import ingest
from artfs.repo.commit import Committed, commit
from artfs.repo.export import Export
from artfs.repo.labels import Labels
from artfs.repo.malloc import keep_freed_memory
from artfs.repo.packing import PackWriter
from artfs.repo.reading import resolve
from artfs.repo.references import References
from artfs.repo.referring import with_references
from artfs.repo.repository import Repository
from artfs.sources.base import Found
from artfs.types import ArtifactKey, Entry, Kind, Ref, check_alias, check_name


@click.command()
@click.pass_obj
def init(settings: Settings) -> None:
    """Make a store."""
    with settings.repository(create=True) as repository:
        document = {"store": repository.store.url, "id": repository.id}
        settings.result(f"store {repository.store.url}", document)


@click.command()
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--type", "type_", default="", metavar="T", help="Type of a new artifact.")
@click.option("--alias", "aliases", multiple=True, metavar="A", help="Point A at the version.")
@click.option("--metadata", multiple=True, metavar="K=V", help="V is JSON, or else text.")
@click.option("--description", default="", metavar="D")
@click.option("--at", metavar="PREFIX", help="Put everything under this path.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out what matches.")
@click.option("--base", metavar="REF", help="Add to this version instead of replacing all.")
@click.option("--no-checksum", is_flag=True, help="Record where references lead, and no more.")
@click.option(
    "--max-objects", type=click.IntRange(1), metavar="N", help="Below one s3:// or gs:// prefix."
)
@click.pass_obj
def put(
    settings: Settings,
    name: str,
    paths: tuple[str, ...],
    type_: str,
    aliases: tuple[str, ...],
    metadata: tuple[str, ...],
    description: str,
    at: str | None,
    exclude: tuple[str, ...],
    base: str | None,
    no_checksum: bool,
    max_objects: int | None,
) -> None:
    """Commit paths and references as a version of NAME."""
    keep_freed_memory()
    if name not in paths and "/" in name and os.path.exists(name):
        raise InvalidValue(
            f"artifact name '{name}'", "is a path", "the name comes first: artfs put NAME PATH…"
        )
    key = settings.artifact(name)
    if type_:
        check_name(type_, "type")
    for alias in aliases:
        check_alias(alias)
    _check_text(description, "description")
    fields = dict(_field(item) for item in metadata)
    commit_id = uuid.uuid4().hex
    with settings.repository(create=settings.is_default_store) as repository:
        old = repository.catalog.resolve(settings.ref(base)) if base else None
        source = _Source(paths, at, exclude, old, not no_checksum, max_objects)
        for last in (False, True):
            try:
                with PackWriter(repository) as writer:
                    root = source.store(writer, settings)
                    done = commit(
                        repository, key, root, writer, commit_id=commit_id, type=type_,
                        labels=Labels(description, fields), aliases=aliases,
                        parent=None if old is None else old.version,
                    )  # fmt: skip
                break
            except ObjectNotFound:
                # A pack to share blobs with is gone; it is no longer known, so store them anew.
                if last:
                    raise
        source.say_unreadable(settings, repository.references)
        _report(settings, key, done)


class _Source:
    """What `put` is to store."""

    def __init__(
        self,
        paths: tuple[str, ...],
        at: str | None,
        exclude: tuple[str, ...],
        base: VersionRecord | None,
        checksum: bool,
        max_objects: int | None,
    ) -> None:
        # What is there is a path, whatever it looks like.
        self._uris = [path for path in paths if "://" in path and not os.path.lexists(path)]
        self._paths = [path for path in paths if path not in self._uris]
        self._checksum = checksum
        self._max_objects = max_objects
        self._at = at
        self._exclude = exclude
        self._base = base
        self._found: list[Found] = []

    def store(self, writer: PackWriter, settings: Settings) -> Entry:
        store_path = writer.repository.store.directory
        with progress("storing", None, settings.verbosity < 0) as step:
            reader = ingest.Ingest(writer, self._exclude, store_path, step)
            root = reader.paths(self._paths)
        if self._uris:
            root = with_references(
                root, self._uris, lambda uri: self._describe(uri, writer, settings), writer
            )
        if self._at:
            root = ingest.at_prefix(root, self._at, writer)
        if self._base is not None:
            blobs = writer.repository.blobs
            root = ingest.onto(self._base.root.entry(), root, writer, blobs)
        return root

    def _describe(self, uri: str, writer: PackWriter, settings: Settings) -> Sequence[Found]:
        found = writer.repository.references.describe(
            uri, checksum=self._checksum, max_objects=self._max_objects, project=settings.project
        )
        self._found += found
        return found

    def say_unreadable(self, settings: Settings, references: References) -> None:
        """Which references were stored for nobody to read, unless settings change."""
        known = {one.reference.uri: one.reference for one in self._found if one.link is None}
        if notice := references.unreadable(known.values()):
            settings.say(f"{notice}; {notice.hint}" if notice.hint else str(notice))


def _field(item: str) -> tuple[str, object]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise InvalidValue(f"metadata '{item}'", "is not of the form KEY=VALUE")
    _check_text(item, "metadata")
    try:
        found = json.loads(value)
        kept = msgspec.json.decode(msgspec.json.encode(found))
    except RecursionError:
        raise InvalidValue(f"metadata '{name}'", "is nested too deeply") from None
    except ValueError:
        return name, value
    if kept != found:
        raise InvalidValue(f"metadata '{name}'", "holds a number that JSON cannot keep exactly")
    return name, found


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(what, "is not valid UTF-8") from None


def _report(settings: Settings, key: ArtifactKey, done: Committed) -> None:
    note = "" if done.changed else " (unchanged)"
    record = done.record
    if done.changed:
        settings.say(
            f"{entries_text(record.root.count)}, {size_text(record.root.size)},"
            f" {size_text(record.stored)} stored"
        )
    settings.result(
        settings.named(key, done.version) + note,
        {
            "artifact": settings.named(key), "version": f"v{done.version}", "changed": done.changed,
            "digest": record.digest, "size": record.root.size, "entries": record.root.count,
            "stored": record.stored if done.changed else 0,
        },
    )  # fmt: skip


@click.command()
@click.argument("ref")
@click.argument("directory", required=False, metavar="[DIR]")
@click.option("--path", "patterns", multiple=True, metavar="GLOB", help="Only what matches.")
@click.pass_obj
def get(settings: Settings, ref: str, directory: str | None, patterns: tuple[str, ...]) -> None:
    """Download a version into DIR (default: ./NAME). Equal files are kept."""
    keep_freed_memory()
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        version = repository.catalog.resolve(parsed)
        target = directory or f"./{parsed.artifact.name}"
        total = None if patterns else version.root.size
        with progress("fetching", total, settings.verbosity < 0) as step:
            export = Export(repository, patterns, step)
            try:
                export.run(version.root.entry(), target)
            except Damaged as error:
                raise damaged_in(parsed, error) from error
        if patterns and not export.written + export.kept:
            raise NotFound(f"{parsed} {' '.join(patterns)}", "no path matches")
    name = settings.named(parsed.artifact, version.version)
    settings.say(files_text(export.written, export.kept))
    for left in export.skipped:
        settings.say(f"left out {path_text(left)}: a reference that nobody can read")
    settings.result(
        target,
        {"version": name, "directory": target, "written": export.written, "kept": export.kept},
    )


@click.command()
@click.argument("ref")
@click.argument("path")
@click.pass_obj
def cat(settings: Settings, ref: str, path: str) -> None:
    """Write the bytes of a file of a version to standard output."""
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        _cat(repository, parsed, path)


def _cat(repository: Repository, ref: Ref, path: str) -> None:
    root = repository.catalog.resolve(ref).root.entry()
    entry = resolve(root, path.encode("utf-8", "surrogateescape"), repository.blobs, str(ref))
    if entry.kind not in (Kind.FILE, Kind.REFERENCE):
        raise InvalidValue(f"{ref}/{path}", f"is a {entry.kind.name.lower()}, not a file")
    try:
        for piece in repository.content(entry):
            sys.stdout.buffer.write(piece)
    except Damaged as error:
        raise damaged_in(ref, error) from error
    sys.stdout.buffer.flush()
