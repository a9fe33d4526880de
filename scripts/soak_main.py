"""Kills the daemon of drafts at random instants while programs write, and checks that what was
promised is kept: tests/mounted/test_draft_kill.py, with other seeds, for as long as one likes.

Stops at the first failure, prints its seed, and leaves what it worked on. When a daemon dies
depends on the clock too, so the same seed may have to be tried a few times.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.support.killing import Ordeal


def survive(seed: int, rounds: int) -> Path | None:
    """One draft with everything below a directory of its own; that directory if it failed."""
    work = Path(tempfile.mkdtemp(prefix="artfs-soak-"))
    home = work / "home"
    home.mkdir()
    for kind in ("state", "cache", "config", "data"):
        os.environ[f"XDG_{kind.upper()}_HOME"] = str(home / kind)
    os.environ["ARTFS_STORE"] = str(home / "store")
    try:
        Ordeal(work, seed).survive(rounds)
    except Exception:
        traceback.print_exc()
        return work
    shutil.rmtree(work)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, help="the first one; the next ones follow it")
    parser.add_argument("--rounds", type=int, default=8, help="kills of each draft")
    args = parser.parse_args()
    seed = random.randrange(1 << 30) if args.seed is None else args.seed
    deadline = time.monotonic() + args.seconds
    drafts = 0
    while time.monotonic() < deadline:
        left = survive(seed, args.rounds)
        if left is not None:
            print(f"FAILED: scripts/soak 1 --seed {seed} --rounds {args.rounds}; see {left}")
            return 1
        drafts, seed = drafts + 1, seed + 1
        print(f"{drafts} drafts, {drafts * args.rounds} kills", flush=True)
    print(f"PASSED: {drafts} drafts, {drafts * args.rounds} kills; the last seed was {seed - 1}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
