"""rm: delete versions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from artfs.cli.app import Settings
from artfs.cli.output import size_text
from artfs.errors import Conflict
from artfs.format.record import VersionRecord
from artfs.repo.deletion import delete, holders, reclaimable
from artfs.repo.labels import expiry
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, parse_version

Doomed = list[tuple[ArtifactKey, VersionRecord]]


@click.command()
@click.argument("refs", nargs=-1, metavar="[REF…]")
@click.option("--force", is_flag=True, help="Also with aliases, and with links to them.")
@click.option("--expired", is_flag=True, help="Those that have expired; REF… are artifacts.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@click.pass_obj
def rm(
    settings: Settings, refs: tuple[str, ...], force: bool, expired: bool, dry_run: bool
) -> None:
    """Delete versions for ever."""
    if not refs and not expired:
        raise click.UsageError("takes versions to delete, or --expired")
    with settings.repository() as repository:
        kept: list[str] = []
        if expired:
            doomed = list(_expired(settings, repository, refs))
            if not force:
                doomed, kept = _free(settings, repository, doomed)
        else:
            doomed = _named(settings, repository, refs)
            if not force:
                _refuse_held(settings, repository, doomed)
        freed = reclaimable(repository, doomed)
        for key, version in doomed if not dry_run else ():
            delete(repository, key, version, force=force)
    names = [settings.named(key, version.version) for key, version in doomed]
    bound = "" if freed.is_exact else "at most "
    settings.say(f"{bound}{size_text(freed.size)} {'would be' if dry_run else 'are'} reclaimable")
    document = {
        "dry_run": dry_run, "deleted": names, "kept": kept,
        "reclaimable": freed.size, "exact": freed.is_exact,
    }  # fmt: skip
    settings.result("\n".join(names), document)


def _named(settings: Settings, repository: Repository, refs: tuple[str, ...]) -> Doomed:
    catalog = repository.catalog
    found: dict[tuple[ArtifactKey, int], VersionRecord] = {}
    for ref in [settings.version_ref(ref) for ref in refs]:
        number = parse_version(ref.selector)
        if number is None or ref.digest:
            version = catalog.resolve(ref)
        else:  # one that is deleted already is told so by `delete`, which finishes what was begun
            version = catalog.version_ever(ref.artifact, number)
        found[ref.artifact, version.version] = version
    return [(key, version) for (key, _), version in found.items()]


def _refuse_held(settings: Settings, repository: Repository, doomed: Doomed) -> None:
    """Before anything is deleted."""
    for key, version in doomed:
        if held := holders(repository, key, version):
            name = settings.named(key, version.version)
            raise Conflict(name, f"has {held}", "--force deletes it all the same")


def _expired(
    settings: Settings, repository: Repository, names: tuple[str, ...]
) -> Iterator[tuple[ArtifactKey, VersionRecord]]:
    catalog, now = repository.catalog, datetime.now(UTC)
    keys = [settings.artifact(name) for name in names]
    for key in keys or catalog.artifacts(*settings.project):
        if catalog.artifact(key).portfolio:
            continue  # a link goes with what it links to
        labels_of = catalog.labels.reader(key)
        for version in catalog.records(key, catalog.versions(key)):
            when = expiry(version, labels_of(version))
            if when is not None and when <= now:
                yield key, version


def _free(settings: Settings, repository: Repository, doomed: Doomed) -> tuple[Doomed, list[str]]:
    """Those that nothing keeps, and the names of the others."""
    free, kept = [], []
    for key, version in doomed:
        if held := holders(repository, key, version):
            kept.append(settings.named(key, version.version))
            settings.say(f"kept: {kept[-1]} has expired, and has {held}")
        else:
            free.append((key, version))
    return free, kept
