"""cache, warm: what is kept of remote stores on the local disk."""

from __future__ import annotations

import click

from artfs.cli.app import Settings, damaged_in
from artfs.cli.output import entries_text, progress, size_text
from artfs.errors import Damaged, InvalidValue
from artfs.repo.blobs import Blobs
from artfs.repo.reading import resolve
from artfs.repo.warming import Warming
from artfs.store.cached.overview import Cached, clean, overview
from artfs.types import Entry


@click.command()
@click.argument("action", type=click.Choice(["info", "clean"]), metavar="info|clean")
@click.option("--store-id", metavar="ID", help="Only what is kept of this store.")
@click.pass_obj
def cache(settings: Settings, action: str, store_id: str | None) -> None:
    """Show or remove what is kept of remote stores."""
    if action == "clean":
        freed = clean(settings.cache, store_id)
        settings.result(f"{size_text(freed)} freed", {"freed": freed})
    else:
        found = overview(settings.cache)
        _show(settings, [one for one in found if store_id in (None, one.store)])


def _show(settings: Settings, found: list[Cached]) -> None:
    limit, used = settings.store_options.cache_size, sum(one.size for one in found)
    lines = [f"{settings.cache}: {size_text(used)} of {size_text(limit)}"]
    lines += [_line(one) for one in found]
    document = {
        "directory": str(settings.cache), "bytes": used, "limit": limit,
        "stores": [_document(one) for one in found],
    }  # fmt: skip
    settings.result("\n".join(lines), document)


def _line(one: Cached) -> str:
    counts = one.counts
    return (
        f"{one.store}  {size_text(one.size)}  {counts.hits} hits, {counts.misses} misses,"
        f" {counts.requests} requests, {size_text(counts.fetched)} fetched"
    )


def _document(one: Cached) -> dict[str, object]:
    counts = one.counts
    return {
        "store": one.store, "bytes": one.size, "objects": one.objects, "hits": counts.hits,
        "misses": counts.misses, "requests": counts.requests, "fetched": counts.fetched,
    }  # fmt: skip


@click.command()
@click.argument("ref")
@click.argument("paths", nargs=-1, metavar="[PATH…]")
@click.pass_obj
def warm(settings: Settings, ref: str, paths: tuple[str, ...]) -> None:
    """Fetch a version, or paths of it, into the cache ahead of use."""
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        if not repository.store.is_remote:
            raise InvalidValue(repository.store.url, "is a directory, and needs no cache")
        root = repository.catalog.resolve(parsed).root.entry()
        entries = [_entry(root, path, repository.blobs, str(parsed)) for path in paths or ("",)]
        total, limit = sum(entry.size for entry in entries), settings.store_options.cache_size
        if total > limit:
            raise InvalidValue(
                str(parsed),
                f"has {size_text(total)}, and the cache takes {size_text(limit)}",
                "warm single paths, or set --cache-size",
            )
        with progress("warming", total, settings.verbosity < 0) as step:
            warming = Warming(repository.blobs, step)
            try:
                warming.run(entries)
            except Damaged as error:
                raise damaged_in(parsed, error) from error
    text = f"{entries_text(warming.files)}, {size_text(warming.size)} at hand"
    settings.result(text, {"ref": str(parsed), "files": warming.files, "bytes": warming.size})


def _entry(root: Entry, path: str, blobs: Blobs, shown: str) -> Entry:
    return resolve(root, path.encode("utf-8", "surrogateescape"), blobs, shown)
