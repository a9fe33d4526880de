"""The command line: the only place that prints, and knows exit statuses.

`app` holds the command group and what all commands share, `exits` the one table from error to
exit status; each other module has the commands of one kind. Commands are imported when used, so
that `artfs ls` does not wait for a FUSE binding.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from artfs.cli.app import run

    run()
