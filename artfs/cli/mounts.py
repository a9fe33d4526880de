"""mount, umount: versions as folders."""

from __future__ import annotations

import os
from pathlib import Path

import click

from artfs.cli.app import Settings
from artfs.cli.conflicts import on_conflict_option
from artfs.errors import InvalidValue
from artfs.fuse.mounted import Message, describe, not_served, start_daemon, unmount
from artfs.types import parse_run

_PATIENCE = 60.0


def background(settings: Settings, command: list[str], mountpoint: str) -> Message:
    """Run a mounting command of artfs as a daemon; returns when its mount answers."""
    argv = ["--store", settings.store_url, "--project", "/".join(settings.project)]
    argv += ["--cache-size", str(settings.store_options.cache_size)]
    return start_daemon([*argv, *command], Path(mountpoint), settings.state)


@click.command()
@click.argument("where", nargs=-1, required=True, metavar="[REF] MNT")
@click.option("--foreground", is_flag=True, help="Stay; log to standard error.")
@click.option("--allow-other", is_flag=True, help="Let other users in.")
@click.option("--refresh", type=float, metavar="S", help="New versions show within S seconds.")
@click.option(
    "--timeout", type=float, default=_PATIENCE, metavar="S", help="Wait so long for the store."
)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--owner-fd", type=int, hidden=True)
@click.option("--tell", metavar="RUN", hidden=True)
@click.option("--tell-files", is_flag=True, hidden=True)
@click.pass_obj
def mount(
    settings: Settings,
    where: tuple[str, ...],
    foreground: bool,
    allow_other: bool,
    refresh: float | None,
    timeout: float,
    ready_fd: int | None,
    owner_fd: int | None,
    tell: str | None,
    tell_files: bool,
) -> None:
    """Mount a version, or a whole project, read-only on MNT."""
    if len(where) > 2:
        raise click.UsageError(f"takes [REF] MNT, not {len(where)} arguments")
    ref, mountpoint = (None, *where)[-2:]
    assert mountpoint is not None  # `where` is not empty
    if ref is None and ":" in mountpoint and not os.path.lexists(mountpoint):
        raise click.UsageError(f"takes [REF] MNT: on which directory is '{mountpoint}' to be?")
    parsed = settings.ref(ref) if ref else None
    if not foreground:
        command = ["mount", *([ref] if ref else []), str(Path(mountpoint).absolute())]
        command += ["--allow-other"] if allow_other else []
        command += ["--timeout", str(timeout)]
        command += ["--refresh", str(refresh)] if refresh is not None else []
        ready = background(settings, command, mountpoint)
        settings.result("", ready)
        return
    from artfs.cli.serving import serve_versions
    from artfs.fuse.mount import MountOptions, Report

    report = Report(parse_run(tell, settings.project), tell_files) if tell else None
    options = MountOptions(
        state_dir=settings.state,
        allow_other=allow_other,
        refresh=refresh,
        patience=timeout,
        ready_fd=ready_fd,
        owner_fd=owner_fd,
    )
    serve_versions(settings, parsed, Path(mountpoint), options, report)


@click.command()
@click.argument("mountpoint", metavar="MNT")
@click.option("--discard", "ending", flag_value="discard", help="Throw the draft away.")
@click.option("--keep", "ending", flag_value="keep", help="Keep the draft uncommitted.")
@on_conflict_option()
@click.pass_obj
def umount(
    settings: Settings, mountpoint: str, ending: str | None, on_conflict: str | None
) -> None:
    """Unmount; a draft is committed first, and its version printed."""
    path = Path(mountpoint)
    about = describe(settings.state, path)
    if about is None and ending:
        # A daemon that cannot be told would commit what is to be thrown away.
        raise not_served(mountpoint)
    if about is None or "draft" not in about:
        if ending:
            raise InvalidValue(f"--{ending}", "is for drafts; this mount is read-only")
        unmount(settings.state, path)
        return
    from artfs.cli.drafts import end_draft

    end_draft(settings, path, about, ending, on_conflict)
