"""Runs a conformance suite in a draft mount over a store of its own in a temporary directory.

pjdfstest DIR: a built checkout, with DIR/pjdfstest and DIR/tests; needs root, and `prove`.
fsx BINARY: random reads, writes, maps and truncations of one file, of the base and new, closed and
opened again, in long pieces, past the page cache, and while versions are made of it; what is
committed at the end must be what the file was. As root, some fsx empty all caches of the machine
whenever they open the file again.

Exit status 1 if anything fails. Not part of the tests, as neither suite comes with artfs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.mounts import artfs, mounted


class Run(NamedTuple):
    """One run of fsx on a file; those of the base are there already."""

    name: str
    options: str
    while_committing: bool = False


_SIZES = {"base": 256 << 10, "base-reopened": 256 << 10, "base-long": 3 << 20, "committed": 1 << 20}
_RUNS = [
    Run("new", ""),
    Run("new-reopened", "-f -c 20"),
    # Past the page cache, so without maps, in whole blocks.
    Run("direct", "-Z -R -W -r 4096 -w 4096"),
    Run("base", "-k"),
    Run("base-reopened", "-k -f -c 20"),
    Run("base-long", "-k -f -c 20 -o 400000"),
    Run("committed", "-k -f -c 20 -o 100000", while_committing=True),
]


def pjdfstest(directory: Path, only: list[str], mount: Path) -> bool:
    tests = [directory / "tests" / name for name in only or ["."]]
    return subprocess.run(["prove", "-Q", "-r", *tests], cwd=mount, check=False).returncode == 0


def put_base(directory: Path) -> None:
    """Make the version `suite:v0` of the files that fsx finds there."""
    (directory / "deep" / "deeper").mkdir(parents=True)
    for name, size in _SIZES.items():
        content = bytearray(random.Random(name).randbytes(size))
        # After it has read a file, fsx tries copy_file_range by copying its byte 0 to byte 1.
        content[1] = content[0]
        (directory / name).write_bytes(content)
    artfs("put", "suite", directory)


@contextlib.contextmanager
def _commits(mount: Path) -> Iterator[list[str]]:
    """Make one version after the other; gives their names."""
    made: list[str] = []
    enough = threading.Event()

    def run() -> None:
        while not enough.wait(0.2):
            made.append(artfs("sync", mount).stdout.strip())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made
    finally:
        enough.set()
        thread.join()


def fsx(binary: Path, run: Run, operations: int, seed: int, mount: Path, notes: Path) -> bool:
    command = [binary, "-q", "-P", notes, "-N", operations, "-S", seed, *run.options.split()]
    words = [*map(str, command), run.name]
    commits: contextlib.AbstractContextManager[list[str]] = contextlib.nullcontext([])
    if run.while_committing:
        commits = _commits(mount)
    with commits as made:
        done = subprocess.run(
            words, cwd=mount, text=True, check=False, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    said = done.stdout.splitlines()
    about = f"; {len(set(made))} versions" if made else ""
    print(f"{run.name}: {said[-1].strip() if said else ''}{about}", flush=True)
    if done.returncode:
        print(f"FAIL: {' '.join(words)}: status {done.returncode}", *said[-100:], sep="\n")
        return False
    if run.while_committing and len(set(made)) < 2:
        print("FAIL: it was over before two versions were made: give it more --operations")
        return False
    return True


def digests(directory: Path) -> dict[str, str]:
    files = [path for path in directory.iterdir() if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_fsx(args: argparse.Namespace, work: Path) -> bool:
    put_base(work / "base")
    good = True
    with mounted("draft", "suite", at=work / "mnt") as mount:
        for run in _RUNS:
            if not args.only or run.name in args.only:
                good &= fsx(args.suite, run, args.operations, args.seed, mount.path, work)
        expected = digests(mount.path)
    artfs("get", "suite", work / "committed")
    if digests(work / "committed") != expected:
        print("FAIL: what was committed is not what was in the draft")
        return False
    return good


def run_pjdfstest(args: argparse.Namespace, work: Path) -> bool:
    if os.geteuid():
        sys.exit("conformance: pjdfstest needs root")
    new = [] if args.in_base else ["--new", "--type", "dataset"]
    if args.in_base:
        put_base(work / "base")
    with mounted("draft", "suite", *new, "--allow-other", at=work / "mnt") as mount:
        return pjdfstest(args.suite, args.only, mount.path / ("deep/deeper" if not new else ""))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/conformance", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    suites = parser.add_subparsers(required=True, metavar="SUITE")
    one = suites.add_parser("pjdfstest")
    one.add_argument("suite", type=Path, metavar="DIR")
    one.add_argument("only", nargs="*", metavar="TEST", help="such as rename or chmod/00.t")
    one.add_argument("--in-base", action="store_true", help="in a directory of the base")
    one.set_defaults(run=run_pjdfstest)
    two = suites.add_parser("fsx")
    two.add_argument("suite", type=Path, metavar="BINARY")
    two.add_argument("only", nargs="*", metavar="RUN", help=", ".join(r.name for r in _RUNS))
    two.add_argument("--operations", type=int, default=200_000, metavar="N", help="of each run")
    two.add_argument("--seed", type=int, default=1)
    two.set_defaults(run=run_fsx)
    args = parser.parse_args()
    args.suite = args.suite.absolute()
    return args


def main() -> int:
    args = parse()
    with tempfile.TemporaryDirectory(prefix="artfs-conformance-") as name:
        work = Path(name)
        work.chmod(0o755)  # pjdfstest becomes other users
        os.environ["ARTFS_STORE"] = str(work / "store")
        for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = str(work / variable)
        artfs("init")
        good = args.run(args, work)
    print("PASS" if good else "FAIL")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
