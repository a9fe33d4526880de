"""Running commands inside the test's process, which is ten times faster than a process each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from artfs.cli.app import run as run_command


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return os.fsdecode(self.stdout)

    @property
    def document(self) -> Any:  # noqa: ANN401  # JSON
        """Standard output, which must be one JSON document."""
        return json.loads(self.stdout)


Run = Callable[..., Done]


@pytest.fixture
def run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Run]:
    """Runs `artfs ARGS`; with `status`, fails the test if it ends with another one."""
    capture = capfdbinary

    def run_it(*args: str | Path, status: int | None = 0) -> Done:
        monkeypatch.setattr(sys, "argv", ["artfs", *map(str, args)])
        capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command()
        sys.stdout.flush()
        out, err = capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        done = Done(code, out, os.fsdecode(err))
        if status is not None:
            assert code == status, done.stderr
        return done

    limit = sys.getrecursionlimit()
    yield run_it
    sys.setrecursionlimit(limit)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "sub").mkdir(parents=True)
    (path / "a.txt").write_bytes(b"hello\n")
    (path / "sub/b.txt").write_bytes(b"world\n")
    (path / "link").symlink_to("a.txt")
    return path


@pytest.fixture
def animals(run: Run, source: Path) -> Path:
    """A store with `animals:v0`, made of `source`."""
    run("init")
    run("put", "animals", source)
    return source
