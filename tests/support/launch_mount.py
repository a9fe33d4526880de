"""Mount read-only in the foreground, without the command line: `launch_mount.py STORE STATE REF MNT`.

REF `-` mounts the project `default`. `--ready-fd N` as `artfs.fuse.daemon.start_daemon` gives it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from artfs.errors import ArtfsError
from artfs.fuse.mount import MountOptions, mount_readonly
from artfs.repo.repository import Repository
from artfs.types import parse_ref

PROJECT = ("default", "default")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("state", type=Path)
    parser.add_argument("ref")
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--patience", type=float, default=60.0)
    args = parser.parse_args()
    options = MountOptions(
        state_dir=args.state, ready_fd=args.ready_fd, patience=args.patience
    )
    ref = None if args.ref == "-" else parse_ref(args.ref, PROJECT)
    try:
        with Repository.open(args.store, args.state / "cache") as repository:
            mount_readonly(repository, PROJECT, ref, args.mountpoint, options)
    except ArtfsError as error:
        print(f"artfs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
