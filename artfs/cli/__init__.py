"""The command line: the only place that prints, and knows exit statuses.

`app` holds the command group and what all commands share, `exits` the one table from error to
exit status; each other module has the commands of one kind. Commands are imported when used, so
that `artfs ls` does not wait for a FUSE binding.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script."""
    try:
        from artfs.cli.app import run
    except KeyboardInterrupt:  # loading takes a tenth of a second; `run` sees to all that follows
        sys.stderr.write("artfs: interrupted\n")
        sys.exit(130)

    run()
