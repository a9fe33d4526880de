"""Signals while a command is prepared and cleared up after, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from artfs.cli.child import Interrupted, foreground
{before}
def send(times):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIG{name})
    return "done"
with foreground() as front:
    try:
        print(front.attend(lambda: send(1)), flush=True)
        front.check()
    except Interrupted as end:
        print(end.status, flush=True)
        {after}
"""
ENDING = ["INT", "TERM", "HUP", "QUIT"]


def outcome(name: str, before: str = "", after: str = "") -> tuple[str, int]:
    script = SCRIPT.format(name=name, before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not done.stderr
    return done.stdout, done.returncode


@pytest.mark.parametrize("name", ENDING)
def test_a_signal_interrupts_and_the_next_one_ends(name: str) -> None:
    """Else nothing but SIGKILL would end what waits for a store that does not answer."""
    number = signal.Signals[f"SIG{name}"]
    said, status = outcome(name, after="send(1)")
    assert (said.splitlines()[-1], status) == (str(128 + number), -number)


@pytest.mark.parametrize("name", ENDING)
def test_what_is_ignored_interrupts_nobody(name: str) -> None:
    """As SIGHUP is after nohup, and SIGINT where a script has started it with &."""
    before = f"signal.signal(signal.SIG{name}, signal.SIG_IGN)"
    assert outcome(name, before=before) == ("done\n", 0)
