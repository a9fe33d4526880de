"""ls, log, show, diff: what is in a store."""

from __future__ import annotations

import difflib
import os

import click
import msgspec

from artfs.cli.app import Settings
from artfs.cli.entries import entry_json, entry_line
from artfs.cli.output import (
    PATCH_MAX,
    as_text,
    entries_text,
    path_text,
    size_text,
)
from artfs.format.record import VersionRecord
from artfs.repo.compare import Difference, compare
from artfs.repo.labels import Labels, expiry
from artfs.repo.links import links
from artfs.repo.reading import children, content, entries, resolve
from artfs.repo.recording import origin
from artfs.repo.repository import Repository
from artfs.types import LATEST, ArtifactKey, Entry, Kind


@click.command()
@click.argument("ref", required=False)
@click.argument("path", required=False)
@click.option("-l", "--long", is_flag=True, help="Modes, sizes, times.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below, too.")
@click.pass_obj
def ls(settings: Settings, ref: str | None, path: str | None, long: bool, recursive: bool) -> None:
    """List artifacts, the versions of one, or files of a version."""
    with settings.repository() as repository:
        if ref is None:
            _list_artifacts(settings, repository)
        elif path is None and ":" not in ref and "@" not in ref:
            _list_versions(settings, repository, settings.artifact(ref))
        else:
            _list_entries(settings, repository, ref, path or "", long, recursive)


def _list_artifacts(settings: Settings, repository: Repository) -> None:
    rows = []
    artifacts = repository.catalog.artifacts(*settings.project)
    latest = repository.catalog.latest_numbers(artifacts)
    for key, artifact in repository.catalog.artifact_records(artifacts).items():
        rows.append({
            "name": key.name, "type": artifact.type,
            "newest": f"v{latest[key]}" if latest[key] >= 0 else None,
            "portfolio": artifact.portfolio,
        })  # fmt: skip
    text = "\n".join(
        f"{row['name']}\t{row['type']}\t{row['newest'] or '-'}"
        + "\tportfolio" * bool(row["portfolio"])
        for row in rows
    )
    settings.result(text, rows)


def _list_versions(settings: Settings, repository: Repository, key: ArtifactKey) -> None:
    versions = _versions(repository, key)
    names = _aliases_by_version(repository, key, versions[-1])
    rows = [{"version": f"v{n}", "aliases": names.get(n, [])} for n in versions]
    text = "\n".join(f"v{n}\t{' '.join(names.get(n, []))}".rstrip() for n in versions)
    settings.result(text, rows)


def _list_entries(
    settings: Settings, repository: Repository, ref: str, path: str, long: bool, recursive: bool
) -> None:
    parsed = settings.ref(ref)
    blobs = repository.blobs
    root = repository.catalog.resolve(parsed).root.entry()
    where = path.encode("utf-8", "surrogateescape").strip(b"/")
    start = resolve(root, where, blobs, str(parsed))
    if not start.is_dir:
        found = [(where, start)]
    elif recursive:
        found = list(entries(start, blobs))
    else:
        found = [(entry.name, entry) for entry in children(start, blobs)]
    text = "\n".join(entry_line(p, entry, long) for p, entry in found)
    settings.result(text, [entry_json(p, entry) for p, entry in found])


def _versions(repository: Repository, key: ArtifactKey) -> list[int]:
    versions = repository.catalog.versions(key)
    if not versions:
        repository.catalog.latest(key)  # says why: an error, and not an empty list
    return versions


def _aliases_by_version(
    repository: Repository, key: ArtifactKey, latest: int
) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {latest: [LATEST]}
    for alias, number in sorted(repository.catalog.aliases(key).items()):
        names.setdefault(number, []).append(alias)
    return names


@click.command()
@click.argument("name")
@click.pass_obj
def log(settings: Settings, name: str) -> None:
    """The history of an artifact, newest version first."""
    key = settings.artifact(name)
    with settings.repository() as repository:
        catalog = repository.catalog
        versions = _versions(repository, key)
        names = _aliases_by_version(repository, key, versions[-1])
        labels_of = catalog.labels.reader(key)
        rows, lines = [], []
        for version in catalog.records(key, reversed(versions)):
            labels, aliases = labels_of(version), names.get(version.version, [])
            rows.append(_version_json(version, labels, aliases))
            lines.append(_version_line(version, labels, aliases))
    settings.result("\n".join(lines), rows)


def _version_line(version: VersionRecord, labels: Labels, aliases: list[str]) -> str:
    label = f" ({', '.join(aliases)})" if aliases else ""
    parent = f"  from v{version.base}" if version.base >= 0 else ""
    if version.source is not None:
        parent = f"  links to {version.source}"
    run = f"  by run {version.run.rpartition('/')[2]}" if version.run else ""
    tags = f"  [{', '.join(labels.tags)}]" if labels.tags else ""
    return (
        f"v{version.version}{label}  {version.created}  {entries_text(version.root.count)}"
        f"  {size_text(version.root.size)}  +{size_text(version.stored)}{parent}{run}{tags}"
        + (f"\n    {labels.description}" if labels.description else "")
    )


def _version_json(version: VersionRecord, labels: Labels, aliases: list[str]) -> dict[str, object]:
    when = expiry(version, labels)
    return {
        "version": f"v{version.version}", "digest": version.digest, "aliases": aliases,
        "created": version.created, "base": f"v{version.base}" if version.base >= 0 else None,
        "entries": version.root.count, "size": version.root.size, "stored": version.stored,
        "description": labels.description, "metadata": labels.metadata, "tags": labels.tags,
        "expires": when.isoformat() if when is not None else None,
        "source": str(version.source) if version.source is not None else None,
        "run": version.run or None, "contributors": version.contributors,
    }  # fmt: skip


@click.command()
@click.argument("ref")
@click.pass_obj
def show(settings: Settings, ref: str) -> None:
    """Everything known of a version."""
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        version = repository.catalog.resolve(parsed)
        artifact = repository.catalog.artifact(parsed.artifact)
        labels = repository.catalog.labels.of(parsed.artifact, version)
        linked = links(repository, parsed.artifact, version.version)
        portfolios = [f"{key.entity}/{key.project}/{key.name}:v{number}" for key, number in linked]
        latest = repository.catalog.latest(parsed.artifact)
        names = _aliases_by_version(repository, parsed.artifact, latest).get(version.version, [])
        users = repository.runs.users(*origin(parsed.artifact, version))
    document = {
        "artifact": settings.named(parsed.artifact), "type": artifact.type,
        "project": f"{parsed.artifact.entity}/{parsed.artifact.project}", "state": "COMMITTED",
        **_version_json(version, labels, names), "links": portfolios,
        "used_by": [str(run) for run in users],
        "record": msgspec.to_builtins(version.root),
    }  # fmt: skip
    shown = {k: v for k, v in document.items() if k != "record"}
    text = "\n".join(f"{name}: {_plain(value)}" for name, value in shown.items())
    settings.result(text, document)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return "-" if value in (None, "", {}) else str(value)


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--stat", "as_stat", is_flag=True, help="Sizes and a sum; of a draft, no text.")
@click.option("--patch", is_flag=True, help="Show what changed in text files.")
@click.pass_obj
def diff(settings: Settings, a: str, b: str | None, as_stat: bool, patch: bool) -> None:
    """Changed paths between two versions, or in a mounted draft."""
    if b is None:
        if ":" in a and not os.path.lexists(a):
            raise click.UsageError(f"takes two versions, or a draft's mount: '{a}' and what?")
        from artfs.cli.draftdiff import draft_diff

        draft_diff(settings, a, as_stat)
        return
    first, second = settings.ref(a), settings.ref(b)
    with settings.repository() as repository:
        catalog, blobs = repository.catalog, repository.blobs
        old = catalog.resolve(first).root.entry()
        new = catalog.resolve(second).root.entry()
        found = compare(old, new, blobs)
        lines = [_difference_line(d, as_stat) for d in found]
        if as_stat:
            added = sum(1 for d in found if d.change == "A")
            gone = sum(1 for d in found if d.change == "D")
            lines.append(f"{len(found)} paths: {added} added, {gone} deleted")
        if patch:
            lines += [line for d in found for line in _patch(d, repository)]
    settings.result("\n".join(lines), [_difference_json(d) for d in found])


def _difference_line(d: Difference, sizes: bool) -> str:
    entry = d.new or d.old
    slash = "/" if entry is not None and entry.is_dir else ""
    name = path_text(d.path) + slash
    if d.change == "R":
        name = f"{path_text(d.old_path)}{slash} -> {name}"
    if not sizes:
        return f"{d.change} {name}"
    before, after = (e.size if e is not None else 0 for e in (d.old, d.new))
    return f"{d.change} {name}\t{before} -> {after}"


def _difference_json(d: Difference) -> dict[str, object]:
    return {
        "change": d.change, "path": path_text(d.path),
        "old_path": path_text(d.old_path) if d.old_path else None,
        "old_size": d.old.size if d.old else None, "new_size": d.new.size if d.new else None,
    }  # fmt: skip


def _patch(d: Difference, repository: Repository) -> list[str]:
    texts = [_text(entry, repository) for entry in (d.old, d.new)]
    if d.change not in "AMD" or any(text is None for text in texts):
        return []
    name = path_text(d.path)
    old, new = (text or [] for text in texts)
    return list(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""))


def _text(entry: Entry | None, repository: Repository) -> list[str] | None:
    """A file's lines; [] of no file, None of what is not text."""
    if entry is None:
        return []
    if entry.kind != Kind.FILE or entry.size > PATCH_MAX:
        return None
    text = as_text(b"".join(content(entry, repository.blobs)))
    return None if text is None else text.splitlines()
