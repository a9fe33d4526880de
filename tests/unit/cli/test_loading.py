"""What commands load before they do anything, which is most of the time that short ones take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Runs a command, and prints what of `sys.argv[1]` was loaded for it.
_SCRIPT = """
import sys
asked = sys.argv.pop(1).split()
sys.stdout = sys.stderr
from artfs.cli import main
try:
    main()
except SystemExit:
    pass
print(*[name for name in asked if name in sys.modules], file=sys.__stdout__)
"""
#: None of the first is needed to ask a daemon something; none of the second to look into a
#: directory.
_DAEMONS = ["trio", "pyfuse3", "artfs.vfs.draft.tree", "artfs.api.run"]
_SERVICES = ["boto3", "botocore", "httpx", "artfs.store.cached.store", "rich", "ssl", "fsspec"]
_STORES = ["artfs.repo.repository", "artfs.repo.reading", "sqlite3", "zstandard", "blake3"]
_ASKS = ["sync MNT", "status MNT", "umount MNT", "umount --keep MNT", "draft data MNT", "drafts"]


def loaded(command: str, names: list[str], tmp_path: Path) -> list[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ARTFS_"))}
    env |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", _SCRIPT, " ".join(names), *command.split()]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "this should not happen" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("command", _ASKS)
def test_who_asks_a_daemon_loads_nothing_to_be_one(command: str, tmp_path: Path) -> None:
    assert loaded(command, _DAEMONS + _SERVICES + _STORES, tmp_path) == []


@pytest.mark.parametrize("command", ["ls", "log data", "show data", "alias data best"])
def test_who_looks_into_a_directory_loads_no_network(command: str, tmp_path: Path) -> None:
    assert loaded(command, _DAEMONS + _SERVICES, tmp_path) == []


def test_what_is_loaded_is_seen(tmp_path: Path) -> None:
    assert loaded("ls", ["click", "artfs.repo.repository"], tmp_path) == [
        "click", "artfs.repo.repository",
    ]  # fmt: skip


def test_an_interrupt_while_it_is_loaded() -> None:
    """It has one line, as any other."""
    program = """
import sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "artfs.settings":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from artfs.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "artfs: interrupted\n")
