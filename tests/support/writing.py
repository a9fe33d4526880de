"""Running the writers of `tests.support.writers`, and judging what was found by what they did."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.mounts import wait_for
from tests.support.writers import KINDS, PAGE, Ledger, Model, Step, held, steps

_REPOSITORY = Path(__file__).parents[2]


class Span(NamedTuple):
    """Nanoseconds of the clock within which something was so; `start` above `end`: never."""

    start: int
    end: int


class Writer:
    """One process that writes in `ROOT/KIND-SEED`, a directory of its own."""

    def __init__(self, kind: str, root: Path, seed: object, notes: Path) -> None:
        self.kind = kind
        self.seed = f"{seed}"
        self.name = f"{kind}-{seed}"
        self._ledger = notes / self.name
        self._stop = notes / f"{self.name}.stop"
        directory = root / self.name
        directory.mkdir()
        self._errors = (notes / f"{self.name}.err").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.writers", kind, directory, self.seed,
             self._ledger, self._stop],
            cwd=_REPOSITORY, stderr=self._errors,
        )  # fmt: skip

    def stop(self) -> str:
        """Let it end; what it said if it failed."""
        self._stop.touch()
        self.process.wait(60)
        self._errors.seek(0)
        said = self._errors.read()
        self._errors.close()
        return said

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        self._errors.close()

    @property
    def ledger(self) -> Ledger:
        """What it noted; after `stop`."""
        return Ledger.load(self._ledger)

    def states(self) -> Iterator[tuple[int, Step, Model, bool]]:
        """(number, step, what is there, whether that is all of it) within and after each step that
        was begun."""
        model = Model()
        script = steps(self.kind, self.seed)
        for number in range(len(self.ledger.begun)):
            step = next(script)
            for is_whole in model.apply(step):
                yield number, step, model, is_whole


@contextmanager
def writing(root: Path, seed: object, notes: Path) -> Iterator[list[Writer]]:
    """A writer of each kind, at work; none is left at the end."""
    notes.mkdir(exist_ok=True)
    writers: list[Writer] = []
    try:
        for kind in KINDS:
            # Not as a list: those that were started must end even if the next one fails.
            writers += [Writer(kind, root, seed, notes)]
        yield writers
    finally:
        for writer in writers:
            writer.kill()


def wait_until_written(root: Path, writers: list[Writer]) -> None:
    """Return when all of them have begun."""
    for writer in writers:
        directory = root / writer.name
        wait_for(lambda at=directory: any(at.iterdir()), what=f"work of {writer.name}")  # type: ignore[misc]  # mypy cannot infer a default's type


def spans_of(writer: Writer, found: dict[str, bytes | None], within: Span) -> list[Span]:
    """When, `within` a span, the writer's directory may have held what was found.

    The state after step n was there from some time in that step to some time in the next one.
    """
    begun, done = writer.ledger.begun, writer.ledger.done
    spans = []
    for number, _, model, is_whole in writer.states():
        if begun[number] > within.end:
            break
        next_done = number + is_whole
        end = done[next_done] if next_done < len(done) else time.monotonic_ns()
        span = Span(max(begun[number], within.start), min(end, within.end))
        if span.start <= span.end and model.paths == found:
            spans.append(span)
    return spans


def nearest(writer: Writer, found: dict[str, bytes | None]) -> str:
    """For the message of a failure: the state that differs least from what was found."""
    best: tuple[int, str] | None = None
    for number, step, model, _ in writer.states():
        wrong = [
            path
            for path in sorted({*found, *model.paths})
            if path not in found or path not in model.paths or found[path] != model.paths[path]
        ]
        if best is None or len(wrong) <= best[0]:
            sizes = [(p, _size(found, p), _size(model.paths, p)) for p in wrong[:5]]
            best = len(wrong), f"step {number} {step[:3]!r:.80}: (path, found, expected) {sizes}"
    return best[1] if best is not None else "no state at all"


def _size(tree: Mapping[str, bytes | bytearray | None], path: str) -> str:
    content = tree.get(path, b"")
    return "a directory" if content is None else f"{len(content)}" if path in tree else "none"


def common_instant(spans: list[list[Span]]) -> bool:
    """Whether there is one instant that lies in a span of each list."""
    starts = [span.start for each in spans for span in each]
    return any(
        all(any(span.start <= at <= span.end for span in each) for each in spans) for at in starts
    )


def kept_promises(writer: Writer, directory: Path) -> str:
    """What is wrong with a writer's directory after its daemon was killed, if anything.

    It is as it was at one moment, and none before the last promise.
    """
    found = held(directory)
    if writer.kind == "rewriting":
        return _pages_kept(writer, found)
    promised = last_promise(writer)
    if promised < 0 and not found:
        return ""
    for number, _, model, _ in writer.states():
        if number >= promised and model.paths == found:
            return ""
    return f"{writer.name}: no state from step {promised} to {len(writer.ledger.begun)} on"


def _pages_kept(writer: Writer, found: dict[str, bytes | None]) -> str:
    """Each page is as it was at the last promise, or as one of the later steps has written it."""
    promised = last_promise(writer)
    if promised < 0:
        return ""
    allowed: dict[int, set[bytes]] = {}
    for number, step, model, _ in writer.states():
        content = model.paths["pages"]
        assert content is not None
        if number <= promised:
            allowed = {}
        first, last = 0, len(content)
        if number > promised:
            first, last = (step[2], step[2] + len(step[3])) if step[0] == "pwrite" else (0, 0)
        for at in range(first, last, PAGE):
            allowed.setdefault(at, set()).add(bytes(content[at : at + PAGE]))
    data = found.get("pages") or b""
    wrong = [at for at in allowed if data[at : at + PAGE] not in allowed[at]]
    if wrong or len(data) != len(allowed) * PAGE:
        return f"{writer.name}: {len(data)} bytes, wrong pages at {wrong[:9]} since step {promised}"
    return ""


def last_promise(writer: Writer) -> int:
    """The number of the last step that a kill of the daemon must not undo; -1: none.

    Names and lengths are safe when their step returns, what was written when its file is closed or
    synced.
    """
    done = len(writer.ledger.done)
    changed: dict[int, int] = {}
    promised = -1
    for number, (kind, at, *_), _, _ in writer.states():
        if number >= done:
            break
        if kind in ("open", "append", "pwrite"):
            changed[at] = number
        else:
            promised = max(promised, changed.get(at, -1) if kind in ("close", "fsync") else number)
    return promised
