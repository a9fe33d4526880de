"""What is timed of the Python API, run as a process of its own: `api_client.py STEP [SOURCE]`.

Prints one JSON object, seconds by row. The environment says where the store and wandb's files are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ARTIFACTS = 1_000
#: Entries of the large version: so many directories of so many directories of so many files.
LARGE = (100, 100, 1_000)
FLAT = 100_000

Rows = dict[str, float]


@contextmanager
def timed(rows: Rows, row: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    rows[row] = time.perf_counter() - start


def log(_source: str) -> Rows:
    """Log small artifacts, one after the other, in one run."""
    import artfs

    rows: Rows = {}
    with timed(rows, f"log {ARTIFACTS} artifacts"), artfs.init() as run:
        for i in range(ARTIFACTS):
            artifact = artfs.Artifact(f"small-{i}", "dataset", metadata={"i": i})
            with artifact.new_file("data.txt") as file:
                file.write(f"data {i}")
            run.log_artifact(artifact)
    with timed(rows, f"log {ARTIFACTS} versions"), artfs.init() as run:
        for i in range(ARTIFACTS):
            artifact = artfs.Artifact("small", "dataset")
            with artifact.new_file("data.txt") as file:
                file.write(f"data {i}")
            run.log_artifact(artifact)
    if artfs.Api().artifact("small").version != f"v{ARTIFACTS - 1}":
        raise RuntimeError("not all were logged")
    return rows


def add_dir(source: str) -> Rows:
    """Add a directory and save it; the whole, and the call alone."""
    rows: Rows = {}
    with timed(rows, "add_dir + save"):
        import artfs

        artifact = artfs.Artifact("data", "dataset")
        with timed(rows, "add_dir"):
            artifact.add_dir(source)
        artifact.save()
    return rows


def put(source: str) -> Rows:
    """The same by the command line."""
    rows: Rows = {}
    with timed(rows, "add_dir + save"):
        subprocess.run([sys.executable, "-m", "artfs", "-q", "put", "data", source], check=True)
    return rows


def wandb(source: str) -> Rows:
    """The same with the wandb package, which is to be logged to nobody."""
    import wandb

    rows: Rows = {}
    artifact = wandb.Artifact("data", "dataset")
    with timed(rows, "add_dir"):
        artifact.add_dir(source)
    return rows


def large(_source: str) -> Rows:
    """Make the large version: few nodes, as equal directories are one."""
    import msgspec

    from artfs.api.place import find_place
    from artfs.repo.commit import commit
    from artfs.repo.editing import new_directory
    from artfs.repo.ingest import Ingest
    from artfs.repo.packing import PackWriter
    from artfs.types import Entry

    place = find_place()
    with PackWriter(place.repository) as writer:
        file = Ingest(writer).data(b"content", b"-")

        def directory(name: bytes, count: int, of: Callable[[bytes], Entry]) -> Entry:
            inside = [of(b"%06d" % i) for i in range(count)]
            return new_directory(name, 0o755, 0, inside, writer)

        def same(entry: Entry) -> Callable[[bytes], Entry]:
            return lambda name: msgspec.structs.replace(entry, name=name)

        below = same(file)
        for count in reversed(LARGE):
            whole = directory(b"", count, below)
            below = same(whole)
        flat = directory(b"flat", FLAT, same(file))
        root = new_directory(b"", 0o755, 0, [flat, below(b"tree")], writer)
        done = commit(place.repository, place.key("large"), root, writer, commit_id="0" * 32)
    return {"entries": done.record.root.count}


def draft(_source: str) -> Rows:
    """A draft over the large version: opened, changed, saved."""
    import artfs

    rows: Rows = {}
    with timed(rows, "open a draft of 10 million"):
        draft = artfs.Api().artifact("large").new_draft()
    with timed(rows, "remove 100,000 files in 100 directories"):
        draft.remove("tree/000050")
    with timed(rows, "remove 100,000 files in one directory"):
        draft.remove("flat")
    with timed(rows, "save it"):
        draft.save()
    if draft.size != artfs.Api().artifact("large:v0").size - 7 * (FLAT + LARGE[1] * LARGE[2]):
        raise RuntimeError("something else was removed")
    return rows


STEPS = {step.__name__: step for step in (log, add_dir, put, wandb, large, draft)}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](sys.argv[2])))
