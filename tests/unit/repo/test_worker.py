"""Jobs are done in order, by a thread that is there only while there are any."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from artfs.repo.worker import Worker


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_jobs_are_done_in_order_and_the_thread_goes() -> None:
    worker, done, go = Worker("mine"), list[int](), threading.Event()

    def block() -> None:
        assert go.wait(30)

    jobs = [worker.submit(block)]
    jobs += [worker.submit(done.append, i) for i in range(100)]
    assert "mine" in names()
    go.set()
    for job in jobs:
        job.result(30)
    assert done == list(range(100))
    worker.shutdown()
    assert "mine" not in names()
    worker.submit(done.append, -1).result(30)
    assert done[-1] == -1


def test_what_a_job_raises_is_kept_and_the_next_is_done() -> None:
    worker, done = Worker("mine"), list[int]()
    failed = worker.submit(done.remove, 1)
    worker.submit(done.append, 2).result(30)
    assert isinstance(failed.exception(), ValueError)
    assert done == [2]


def test_shutdown_cancels_what_waits() -> None:
    worker, go, begun = Worker("mine"), threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        assert go.wait(30)

    running, waiting = worker.submit(block), worker.submit(block)
    assert begun.wait(30)
    threading.Timer(0.01, go.set).start()
    worker.shutdown()
    assert running.result(0) is None
    with pytest.raises(CancelledError):
        waiting.result(0)
