"""Processes that are forked while their parent makes versions: each here is a program."""

from __future__ import annotations

import subprocess
import sys

_BEGIN = """
import os, signal, sys, threading
import artfs

def in_child(do):
    if not os.fork():
        signal.alarm(10)
        do()
        sys.exit(0)
    assert os.wait()[1] == 0

def made(name, data=b"x"):
    artifact = artfs.Artifact(name, "dataset")
    with artifact.new_file("f", "wb") as file:
        file.write(data)
    return artifact
"""


def run(program: str) -> None:
    # Python warns of forks of processes with threads, which these are about.
    subprocess.run([sys.executable, "-W", "ignore", "-c", _BEGIN + program], check=True, timeout=30)


def test_a_child_that_ends_leaves_what_its_parent_stores() -> None:
    run("""
artifact = made("a", os.urandom(9 << 20))  # more than waits in memory
in_child(lambda: None)
with artfs.init() as run:
    run.log_artifact(artifact)
assert artfs.Api().artifact("a").verify()
""")


def test_a_child_that_ends_does_not_end_the_run_of_its_parent() -> None:
    run("""
run = artfs.init(id="r")
run.log_artifact(made("a")).wait()
in_child(lambda: None)
assert artfs.Api().run("r").state == "running"
run.finish()
""")


def test_a_child_opens_a_store_that_a_thread_of_its_parent_was_opening() -> None:
    run("""
from artfs.repo.repository import Repository
open_repository, going, go_on = Repository.open, threading.Event(), threading.Event()

def slowly(*args):
    going.set()
    go_on.wait()
    return open_repository(*args)

Repository.open = slowly
thread = threading.Thread(target=artfs.Api, daemon=True)
thread.start()
going.wait()
Repository.open = open_repository
in_child(lambda: artfs.init().log_artifact(made("a")).wait())
go_on.set()
thread.join()
assert artfs.Api().artifact("a").version == "v0"
""")


def test_a_child_logs_while_its_parent_does() -> None:
    """In the run that it has inherited; what the parent had begun is the parent's to do."""
    run("""
go_on = threading.Event()
run = artfs.init()
run._worker.submit(go_on.wait)
first = run.log_artifact(made("a"))

def child():
    run.log_artifact(made("b")).wait()
    try:
        first.wait()
    except artfs.ArtfsError as error:
        assert "goes on in the process" in str(error)
    else:
        raise AssertionError

in_child(child)
go_on.set()
run.finish()
assert [artfs.Api().artifact(name).version for name in "ab"] == ["v0", "v0"]
""")
