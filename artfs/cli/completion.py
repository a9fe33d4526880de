"""completion: scripts for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from artfs.cli.app import cli

    made = get_completion_class(shell)
    assert made is not None  # click has these three built in
    click.echo(made(cli, {}, "artfs", "_ARTFS_COMPLETE").source())
