"""Whether a process lives still, from what was written down of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from artfs.repo.process import is_gone, this_process

NOTE = "from artfs.repo.process import this_process; print(this_process(), flush=True); input()"


def test_a_process_that_ends() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", NOTE], stdin=pipe, stdout=pipe, text=True) as one:
        assert one.stdout is not None
        note = one.stdout.readline().strip()
        assert not is_gone(note)
        one.communicate("\n")
    assert is_gone(note)


def test_an_id_that_was_given_again() -> None:
    place, _, started = this_process().rpartition(" ")
    assert not is_gone(f"{place} {started}")
    assert is_gone(f"{place} {int(started) + 1}")


@pytest.mark.parametrize("part", [0, 1])
def test_nothing_is_known_of_another_machine_or_namespace(part: int) -> None:
    fields = this_process().split(" ")
    fields[part] = "1" + fields[part]
    fields[2] = "4194304"  # no process has it
    assert not is_gone(" ".join(fields))


@pytest.mark.parametrize("note", ["", "a", "a b", "a b c", "a b c d"])
def test_what_says_nothing(note: str) -> None:
    assert not is_gone(note)
    assert not is_gone(" ".join(this_process().split(" ")[:2]) + " " + note)
