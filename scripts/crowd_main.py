"""Many processes commit to one artifact in a bucket at once, are killed at random and started
again: no version number is left out or given twice, and no change is lost.

The server is a SeaweedFS of its own. tests/faults/test_s3.py is the same, smaller.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.support.crowd import check, gather
from tests.support.mounts import artfs
from tests.support.s3server import BUCKET, s3_server


def main() -> None:
    """Do it, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--commits", type=int, default=20, help="of each writer")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=1800, metavar="S")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="artfs-crowd-") as work,
        s3_server(Path(work, "server")) as server,
    ):
        os.environ.update(server.environment())
        os.environ.update({"HOME": work, "ARTFS_STORE": f"s3://{BUCKET}/crowd"})
        for kind in ("state", "cache", "config", "data"):
            os.environ[f"XDG_{kind.upper()}_HOME"] = f"{work}/{kind}"
        artfs("init")
        start = time.monotonic()
        gather(options.writers, options.commits, options.kills, options.seed, options.patience)
        seconds = time.monotonic() - start
        check(options.writers, options.commits)
    total = options.writers * options.commits
    print(f"v0 to v{total - 1}, no gap, no change lost; {seconds:.0f} s, {options.kills} kills")


if __name__ == "__main__":
    main()
