"""link and unlink: versions in portfolios."""

from __future__ import annotations

import click

from artfs.cli.app import Settings
from artfs.errors import InvalidValue
from artfs.repo import links
from artfs.types import LATEST, check_alias, parse_version


@click.command()
@click.argument("ref")
@click.argument("portfolio", metavar="PORTFOLIO[:ALIAS]")
@click.option("--alias", "aliases", multiple=True, metavar="A", help="Point A at it there.")
@click.pass_obj
def link(settings: Settings, ref: str, portfolio: str, aliases: tuple[str, ...]) -> None:
    """Put a version into a portfolio, without copying anything."""
    source, target = settings.ref(ref), settings.ref(portfolio)
    if target.digest or parse_version(target.selector) is not None:
        raise InvalidValue(
            f"portfolio '{portfolio}'", "names a version of it", "links are numbered as they come"
        )
    named = (target.selector,) if target.selector != LATEST else ()
    for alias in aliases:
        check_alias(alias)
    with settings.repository() as repository:
        version = repository.catalog.resolve(source)
        number = links.link(
            repository, source.artifact, version, target.artifact, (*named, *aliases)
        )
    document = {
        "portfolio": settings.named(target.artifact), "version": f"v{number}",
        "source": settings.named(source.artifact, version.version),
    }  # fmt: skip
    settings.result(settings.named(target.artifact, number), document)


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="PORTFOLIO:VERSION…")
@click.pass_obj
def unlink(settings: Settings, refs: tuple[str, ...]) -> None:
    """Take versions out of a portfolio; what they link to stays."""
    parsed = [settings.version_ref(ref) for ref in refs]
    with settings.repository() as repository:
        found = [(ref.artifact, repository.catalog.resolve(ref)) for ref in parsed]
        for key, version in found:
            links.require_link(key, version)
        for key, version in found:
            links.unlink(repository, key, version.version)
    names = [settings.named(key, version.version) for key, version in found]
    settings.result("\n".join(names), {"unlinked": names})
