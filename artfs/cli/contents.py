"""manifest, checkout, verify: what a version contains, and whether it is there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import click

from artfs.api import wandbmanifest
from artfs.cli.app import Settings, damaged_in
from artfs.cli.entries import entry_json
from artfs.cli.output import Step, files_text, path_text, progress, size_text
from artfs.errors import Damaged
from artfs.format.record import VersionRecord
from artfs.repo import checking, matching
from artfs.repo.export import Export
from artfs.repo.malloc import keep_freed_memory
from artfs.repo.reading import entries
from artfs.repo.repository import Repository


@click.command()
@click.argument("ref")
@click.option(
    "--format", "form", type=click.Choice(["json", "wandb"]), default="json", show_default=True,
    help="json: artfs' own; wandb: W&B's manifest, format 1.",
)  # fmt: skip
@click.pass_obj
def manifest(settings: Settings, ref: str, form: str) -> None:
    """Print every path of a version with its digest."""
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        version = repository.catalog.resolve(parsed)
        quiet = settings.verbosity < 0 or form == "json"
        with progress("hashing", version.root.size, quiet) as step:
            try:
                if form == "json":
                    _print(_own(repository, settings.named(parsed.artifact), version))
                else:
                    _print(_wandb(settings, repository, version, step))
            except Damaged as error:
                raise damaged_in(parsed, error) from error


def _own(repository: Repository, name: str, version: VersionRecord) -> Iterator[str]:
    head = {
        "artifact": name, "version": f"v{version.version}",
        "digest": version.digest, "size": version.root.size, "entries": version.root.count,
    }  # fmt: skip
    yield json.dumps(head)[:-1] + ',\n "contents": ['
    comma = ""
    for path, entry in entries(version.root.entry(), repository.blobs):
        yield f"{comma}\n  {json.dumps(entry_json(path, entry))}"
        comma = ","
    yield "\n ]}\n"


def _wandb(
    settings: Settings, repository: Repository, version: VersionRecord, step: Step
) -> Iterator[str]:
    yield json.dumps(wandbmanifest.HEAD)[:-1] + ',\n "contents": {'
    comma, digest = "", wandbmanifest.WandbDigest()
    for path, row in wandbmanifest.contents(version.root.entry(), repository, step):
        digest.update(path, row)
        yield f"{comma}\n  {json.dumps(path)}: {json.dumps(row)}"
        comma = ","
    yield "\n }}\n"
    settings.say(f"W&B's digest of it: {digest.hexdigest()}")


def _print(parts: Iterator[str]) -> None:
    """A document as it is made: one of ten million entries does not fit in memory."""
    sys.stdout.flush()
    for part in parts:
        sys.stdout.buffer.write(part.encode("ascii"))
    sys.stdout.buffer.flush()


@click.command()
@click.argument("ref")
@click.argument("directory", metavar="DIR")
@click.pass_obj
def checkout(settings: Settings, ref: str, directory: str) -> None:
    """Make DIR hold a version and nothing else."""
    keep_freed_memory()
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        version = repository.catalog.resolve(parsed)
        root = version.root.entry()
        with progress("fetching", version.root.size, settings.verbosity < 0) as step:
            export = Export(repository, (), step)
            try:
                matching.prune(root, directory, repository.blobs, repository.store.url)
                export.run(root, directory)
            except Damaged as error:
                raise damaged_in(parsed, error) from error
    name = settings.named(parsed.artifact, version.version)
    settings.say(files_text(export.written, export.kept))
    settings.result(
        directory,
        {"version": name, "directory": directory, "written": export.written, "kept": export.kept},
    )


@click.command()
@click.argument("ref")
@click.argument("directory", required=False, metavar="[DIR]")
@click.pass_obj
def verify(settings: Settings, ref: str, directory: str | None) -> None:
    """Prove every byte of a version, or that DIR has it."""
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        version = repository.catalog.resolve(parsed)
        name = settings.named(parsed.artifact, version.version)
        root, blobs = version.root.entry(), repository.blobs
        if directory is not None:
            unread = matching.verify(root, directory, blobs)
            _say_unread(settings, unread)
            document = {"version": name, "directory": directory, "references": unread}
            settings.result(f"{directory}: is {name}", document)
            return
        with progress("reading", version.root.size, settings.verbosity < 0) as step:
            check = checking.Check(blobs, step)
            found = list(check.faults(root))
    rows = [{"path": path_text(fault.path), "why": str(fault.error)} for fault in found]
    text = "\n".join(f"{row['path'] or '/'}\t{row['why']}" for row in rows)
    whole = f"{name}: {version.root.count} entries, {size_text(version.root.size)}"
    _say_unread(settings, check.references)
    document = {"version": name, "damaged": rows, "references": check.references}
    settings.result(text or whole, document)
    if found:
        raise Damaged(name, f"{len(found)} paths are damaged")


def _say_unread(settings: Settings, references: int) -> None:
    if references:
        settings.say(f"references passed over, and not verified: {references}")
