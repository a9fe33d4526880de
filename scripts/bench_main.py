"""Times artfs next to plain ext4, bindfs and squashfuse on the same data, in the same run.

`s3` is about a store in a bucket, see bench_parts/s3.py; `s3-seq` is its part on one large file.

All but random and sequential reads is timed on `null`, too: a filesystem that does nothing, which
nothing on pyfuse3 can outrun when it writes, or is warm.

Each figure is the median of --repeat runs; within a repetition the peers take turns, so that a
noisy minute on the machine meets all of them. Exit status 1 if something that must hold does not.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_parts import api, client, data, pauses, peers, report, s3

STEPS = {
    "small": ["store", "mount", "walk", "read"],
    "big": ["store", "random", "seq"],
    "draft": ["write", "create", "untar"],
}
HAS_WARM = {"walk", "read", "seq"}


def drop_caches() -> bool:
    """Empty the kernel's caches; False where that is not allowed."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def measure(step: str, root: Path, source: Path, expected: int) -> float:
    command = [sys.executable, "-I", client.__file__, step, str(root), str(source)]
    seconds, count = subprocess.check_output(command, text=True).split()
    if int(count) != expected:
        raise RuntimeError(f"{step} of {root} came to {count}, not {expected}")
    return float(seconds)


def bench_store(
    results: report.Results, dataset: str, peer: peers.Peer, source: Path, cold: bool
) -> None:
    for label, commands in peer.stores(dataset).items():
        peer.forget()
        drop_caches()
        if not cold:
            client.read(str(source))
        start = time.perf_counter()
        for command in commands:
            peers.run(*command)
        results.add(
            label.replace("store", f"store {dataset}"), peer.name, time.perf_counter() - start
        )
    peer.forget()


def bench_read(
    results: report.Results, dataset: str, step: str, peer: peers.Peer, expected: int
) -> None:
    """One step on a fresh mount, so that what a daemon remembers of other steps does not help."""
    source = peer.base / dataset
    with peer.mounted(dataset) as (root, _):
        drop_caches()
        results.add(f"{step} cold", peer.name, measure(step, root, source, expected))
        if step in HAS_WARM:
            results.add(f"{step} warm", peer.name, measure(step, root, source, expected))


def bench_draft(
    results: report.Results, step: str, peer: peers.Peer, archive: Path, expected: int
) -> None:
    """One step in an empty folder: as fast as it seems, and until `sync` says that it is safe."""
    with peer.writable() as root:
        drop_caches()
        client.read(str(archive.parent))
        start = time.perf_counter()
        seconds = measure(step, root, archive, expected)
        results.add(step, peer.name, seconds)
        subprocess.run(["sync", "-f", root], check=True)
        results.add(f"{step} + sync", peer.name, time.perf_counter() - start)


def bench_drafts(
    args: argparse.Namespace, results: report.Results, steps: list[str], able: list[peers.Peer]
) -> None:
    archive = data.archive(args.dir)
    expected = {"write": client.WRITTEN, "create": client.CREATED, "untar": 0}
    for step in steps:
        for _ in range(args.repeat):
            for peer in able:
                bench_draft(results, step, peer, archive, expected[step])
    for peer in able:
        peer.forget()


def bench(
    args: argparse.Namespace, results: report.Results, dataset: str, able: list[peers.Peer]
) -> None:
    source = args.dir / dataset
    steps = [s for s in STEPS[dataset] if not args.only or {s, dataset} & set(args.only)]
    if dataset == "draft":
        bench_drafts(args, results, steps, [peer for peer in able if peer.is_writable])
        return
    total = client.read(str(source))
    expected = {
        "walk": client.walk(str(source)),
        "read": total,
        "seq": total,
        "random": client.READS * client.BLOCK,
    }
    if "store" in steps:
        for _ in range(args.repeat):
            for peer in able:
                bench_store(results, dataset, peer, source, args.cold_source)
    for peer in able:
        if any(step in peer.reads for step in steps):
            peer.prepare(dataset)
    for step in [s for s in steps if s != "store"]:
        for _ in range(args.repeat):
            for peer in [p for p in able if step in p.reads]:
                if step != "mount":
                    bench_read(results, dataset, step, peer, expected[step])
                elif peer.name != "native":
                    with peer.mounted(dataset) as (_, seconds):
                        results.add("mount, first ls", peer.name, seconds)
    for peer in able:
        peer.forget()


def bench_pauses(artfs: peers.Artfs) -> list[tuple[str, bool]]:
    """What must hold of a reader while a large draft is committed."""
    with artfs.draft() as root:
        pauses.fill(root)
        found = pauses.longest(root, artfs.work, functools.partial(artfs.sync, root))
    lines = []
    for kind, (count, longest) in found.items():
        text = f"{kind} during a commit: {count} times, {longest * 1000:.0f} ms at most"
        lines.append((f"{text} <= {pauses.LIMIT * 1000:.0f} ms", longest <= pauses.LIMIT))
    return lines


def parse() -> argparse.Namespace:
    parts = {"api", "pauses", "s3", "s3-seq"}
    words = sorted({*parts, *STEPS, *(step for steps in STEPS.values() for step in steps)})
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp/artfs-bench"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--only", action="append", choices=words, help="data set or step; repeatable"
    )
    parser.add_argument(
        "--peer", action="append", choices=[kind.name for kind in peers.ALL],
        help="filesystem to compare; repeatable; default: all",
    )  # fmt: skip
    parser.add_argument("--cold-source", action="store_true", help="store from a cold page cache")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all seconds to FILE")
    return parser.parse_args()


def main() -> int:
    args = parse()
    args.dir = args.dir.resolve()
    data.make(args.dir)
    if not drop_caches():
        print("note: not root, the page cache cannot be dropped: rows called cold are not")
    results = report.Results()
    with tempfile.TemporaryDirectory(prefix="run-", dir=args.dir) as work:
        able: list[peers.Peer] = []
        kinds = [kind for kind in peers.ALL if not args.peer or kind.name in args.peer]
        for peer in (kind(args.dir, Path(work)) for kind in kinds):
            if reason := peer.missing():
                print(f"skipped {peer.name}: {reason}")
            else:
                able.append(peer)
        for dataset in STEPS:
            if not args.only or {dataset, *STEPS[dataset]} & set(args.only):
                bench(args, results, dataset, able)
        waits = []
        if not args.only or "pauses" in args.only:
            waits = [
                w for peer in able if isinstance(peer, peers.Artfs) for w in bench_pauses(peer)
            ]
        if not args.only or "api" in args.only:
            small = args.dir / "small"
            waits += api.bench(results, small, Path(work), args.repeat, drop_caches)
        if not args.only or {"s3", "s3-seq"} & set(args.only):
            (Path(work) / "s3").mkdir()
            small = not args.only or "s3" in args.only
            waits += s3.Bench(args.dir, Path(work) / "s3", drop_caches).run(small=small)
        results.peaks = {peer.name: peer.peak for peer in able}
    print(f"{platform.platform()}, {os.cpu_count()} cores, median of {args.repeat}")
    names = dict.fromkeys([*(peer.name for peer in able), *api.PEERS])
    print(report.table(results, [name for name in names if results.has(name)]))
    checks = report.verdicts(results) + waits
    for text, holds in checks:
        print("PASS" if holds else "FAIL", text)
    if args.json:
        args.json.write_text(
            json.dumps({"seconds": results.seconds, "peaks": results.peaks}, indent=1)
        )
    return 0 if all(holds for _, holds in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
