"""The Python API beside `artfs put` and wandb: each step a process with a store of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench_parts import api_client, client
from bench_parts.report import Results

#: Seconds at most, by row.
LIMITS = {
    f"log {api_client.ARTIFACTS} artifacts": 20.0,
    f"log {api_client.ARTIFACTS} versions": 20.0,
    "open a draft of 10 million": 1.0,
    "remove 100,000 files in 100 directories": 1.0,
    "remove 100,000 files in one directory": 1.0,
}
#: By whom each row is measured, and with which step.
PEERS = {"artfs": "add_dir", "artfs put": "put", "wandb": "wandb"}


def bench(
    results: Results, source: Path, work: Path, repeat: int, drop_caches: Callable[[], bool]
) -> list[tuple[str, bool]]:
    """Measure everything; what must hold of it, with whether it does."""
    peers = dict(PEERS)
    if importlib.util.find_spec("wandb") is None:
        print("skipped wandb: not installed")
        del peers["wandb"]
    for _ in range(repeat):
        for step in (["log"], ["large", "draft"]):
            for row, seconds in _run(step, source, work).items():
                results.add(f"api {row}", "artfs", seconds)
        for peer, step_of in peers.items():
            drop_caches()
            client.read(str(source))
            for row, seconds in _run([step_of], source, work).items():
                results.add(f"api {row}", peer, seconds)
    return _verdicts(results)


def _run(steps: list[str], source: Path, work: Path) -> dict[str, float]:
    """The rows of the last of some steps, which share a store."""
    home = work / "api"
    home.mkdir()
    env = {
        **os.environ, "ARTFS_STORE": str(home / "store"), "XDG_CACHE_HOME": str(home / "cache"),
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false",
        **{f"WANDB_{name}_DIR": str(home) for name in ("DATA", "CACHE", "CONFIG")},
        "WANDB_DIR": str(home),
    }  # fmt: skip
    try:
        artfs = [sys.executable, "-m", "artfs", "-q", "init"]
        subprocess.run(artfs, env=env, check=True, stdout=subprocess.DEVNULL)
        for step in steps:
            command = [sys.executable, "-I", api_client.__file__, step, str(source)]
            output = subprocess.check_output(command, env=env, text=True)
        rows: dict[str, float] = json.loads(output.splitlines()[-1])
        return rows
    finally:
        shutil.rmtree(home)


def _verdicts(results: Results) -> list[tuple[str, bool]]:
    found = []
    for row, limit in LIMITS.items():
        seconds = results.median(f"api {row}", "artfs")
        assert seconds is not None
        found.append((f"api {row}: {seconds:.3f} <= {limit:.0f}", seconds <= limit))
    # Two runs of one program differ by some 5 %.
    for row, factor, peer in (("add_dir", 0.25, "wandb"), ("add_dir + save", 1.05, "artfs put")):
        ours, theirs = (results.median(f"api {row}", name) for name in ("artfs", peer))
        if ours is not None and theirs is not None:
            text = f"api {row}: {ours:.3f} <= {factor:.2f} * {theirs:.3f} ({peer})"
            found.append((text, ours <= factor * theirs))
    return found
