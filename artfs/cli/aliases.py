"""alias, tag, ttl: movable names of versions, words that many may have, and how long they live."""

from __future__ import annotations

import re

import click
import msgspec

from artfs.cli.app import Settings
from artfs.errors import InvalidValue, NotFound
from artfs.repo.labels import MAX_TTL, Labels, expiry
from artfs.types import check_alias, check_tag, parse_version

_SPAN = re.compile(r"([1-9][0-9]{0,8})(s|min|h|d)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


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
    if remove and ":" not in ref:
        raise click.UsageError(f"--delete takes NAME:ALIAS, and '{ref}' names no alias")
    if expect and not (remove or names):
        raise click.UsageError("--expect goes with aliases that are to be moved or removed")
    for name in names:
        check_alias(name)
    with settings.repository() as repository:
        catalog, key = repository.catalog, parsed.artifact
        if remove:
            for name in (parsed.selector, *names):
                catalog.delete_alias(key, name, expected)
        elif names:
            number = catalog.resolve(parsed).version
            for name in names:
                catalog.set_alias(key, name, number, expected)
        catalog.latest(key)
        found = dict(sorted(catalog.aliases(key).items()))
        text = "\n".join(f"{name}\tv{number}" for name, number in found.items())
        settings.result(text, {name: f"v{number}" for name, number in found.items()})


@click.command()
@click.argument("ref")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--delete", "remove", is_flag=True, help="Take the tags away.")
@click.pass_obj
def tag(settings: Settings, ref: str, names: tuple[str, ...], remove: bool) -> None:
    """Give a version tags, or list them."""
    if remove and not names:
        raise click.UsageError("--delete takes the tags that are to go")
    for name in names:
        check_tag(name)
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        catalog, key = repository.catalog, parsed.artifact
        version = catalog.resolve(parsed)

        def changed(labels: Labels) -> Labels:
            if not remove:
                return labels.with_tags(names)
            missing = [name for name in names if name not in labels.tags]
            if missing:
                raise NotFound(f"tag '{missing[0]}'", f"{key}:v{version.version} does not have it")
            left = [name for name in labels.tags if name not in names]
            return msgspec.structs.replace(labels, tags=left)

        labels = catalog.labels.change(key, version, changed)
    settings.result("\n".join(labels.tags), labels.tags)


@click.command()
@click.argument("ref")
@click.argument("span", required=False, metavar="[SPAN]")
@click.pass_obj
def ttl(settings: Settings, ref: str, span: str | None) -> None:
    """Say how long a version is to live, or show when it expires.

    SPAN counts from when it was made: 30d, 12h, 90min, 45s, or never.
    """
    seconds = None if span is None else _seconds(span)
    parsed = settings.ref(ref)
    with settings.repository() as repository:
        labels, key = repository.catalog.labels, parsed.artifact
        version = repository.catalog.resolve(parsed)
        found = labels.of(key, version)
        if seconds is not None:
            found = labels.change(
                key, version, lambda labels: msgspec.structs.replace(labels, ttl=seconds)
            )
        when = expiry(version, found)
    document = {
        "version": settings.named(key, version.version), "ttl": found.ttl or None,
        "expires": when.isoformat() if when is not None else None,
    }  # fmt: skip
    settings.result("never" if when is None else when.isoformat(), document)


def _seconds(span: str) -> int:
    if span == "never":
        return 0
    match = _SPAN.fullmatch(span)
    if match is None:
        raise InvalidValue(f"span '{span}'", "is not of the form 30d, 12h, 90min, 45s, or never")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > MAX_TTL:
        raise InvalidValue(f"span '{span}'", "is longer than 1,000 years", "never is longer still")
    return seconds
