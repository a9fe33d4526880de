"""alias: set, move, remove movable names."""

from __future__ import annotations

import click

from artfs.cli.app import Settings
from artfs.errors import InvalidValue
from artfs.types import parse_version


@click.command()
@click.argument("ref")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--delete", "remove", is_flag=True, help="REF is NAME:ALIAS; remove that alias.")
@click.option("--expect", metavar="vN", help="Only if the alias is at this version now.")
@click.pass_obj
def alias(
    settings: Settings, ref: str, names: tuple[str, ...], remove: bool, expect: str | None
) -> None:
    """Point aliases at a version, or list them.

    Without NAME, the aliases of REF's artifact are listed.
    """
    expected = parse_version(expect) if expect else None
    if expect and expected is None:
        raise InvalidValue(f"--expect {expect}", "is not a version such as v3")
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        catalog, key = repository.catalog, parsed.artifact
        if remove:
            for name in (parsed.selector, *names):
                catalog.delete_alias(key, name)
        elif names:
            number = catalog.resolve(parsed).version
            for name in names:
                catalog.set_alias(key, name, number, expected)
        catalog.latest(key)
        found = dict(sorted(catalog.aliases(key).items()))
        text = "\n".join(f"{name}\tv{number}" for name, number in found.items())
        settings.result(text, {name: f"v{number}" for name, number in found.items()})
