"""Many processes that commit to one artifact at once, some of which are killed and started again.

Each commit of writer W adds one file `W/N`. So of W writers with C commits each come the versions
v0 to v(W*C-1), each with one file more than the one before it, whatever happens to the writers.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import artfs

ROOT = Path(__file__).parents[2]
NAME = "crowd"


def write(writer: int, commits: int) -> None:
    """What one writer does; begun again, it goes on where it was killed."""
    there = _there(writer)
    with artfs.init(project="crowd") as run:
        for number in range(commits):
            if number in there:
                continue
            artifact = artfs.Artifact(NAME, type="dataset", incremental=True)
            with artifact.new_file(f"{writer}/{number}") as file:
                file.write(_content(writer, number))
            run.log_artifact(artifact, aliases=[f"writer-{writer}"]).wait()


def _content(writer: int, number: int) -> str:
    return f"{number} of {writer}\n"


def _there(writer: int) -> set[int]:
    try:
        newest = artfs.Api(project="crowd").artifact(f"{NAME}:latest")
    except artfs.errors.NotFound:
        return set()
    paths = [Path(path) for path in newest.manifest.entries]
    return {int(path.name) for path in paths if path.parts[0] == str(writer)}


def gather(writers: int, commits: int, kills: int, seed: int = 0, patience: float = 600) -> None:
    """Let them all write, and kill some now and then. AssertionError if one fails, or is late."""
    with tempfile.TemporaryDirectory() as temporary:  # where those that are killed leave files
        chance = random.Random(seed)
        crowd = [_start(writer, commits, temporary) for writer in range(writers)]
        deadline = time.monotonic() + patience
        try:
            while any(process.poll() is None for process in crowd):
                assert time.monotonic() < deadline, "the writers have not finished in time"
                time.sleep(chance.uniform(0.2, 1.0))
                writer = chance.randrange(writers)
                if kills and crowd[writer].poll() is None:
                    kills -= 1
                    _end(crowd[writer])
                    crowd[writer] = _start(writer, commits, temporary)
            for process in crowd:
                assert process.stderr is not None
                assert process.returncode == 0, process.stderr.read()
        finally:
            for process in crowd:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _start(writer: int, commits: int, temporary: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.crowd", str(writer), str(commits)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": temporary}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def check(writers: int, commits: int) -> None:
    """AssertionError unless the versions are all there, and none has lost what another added."""
    api = artfs.Api(project="crowd")
    before: set[str] = set()
    for number in range(writers * commits):
        version = api.artifact(f"{NAME}:v{number}")
        files = set(version.manifest.entries)
        assert len(files) == number + 1, f"v{number} has {len(files)} files"
        assert before < files, f"v{number} lost {before - files}"
        before = files
    assert before == {f"{w}/{n}" for w in range(writers) for n in range(commits)}
    newest = api.artifact(f"{NAME}:latest")
    assert newest.version == f"v{writers * commits - 1}"
    for path in sorted(before):
        who, which = map(int, path.split("/"))
        with artfs.open(f"crowd/{NAME}:latest", path) as file:
            assert file.read().decode() == _content(who, which), path
    for who in range(writers):
        last = api.artifact(f"{NAME}:writer-{who}").manifest.entries
        assert f"{who}/{commits - 1}" in last, f"alias writer-{who}"


if __name__ == "__main__":
    write(int(sys.argv[1]), int(sys.argv[2]))
