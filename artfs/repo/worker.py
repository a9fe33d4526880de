"""One thread that exists while it has something to do.

An executor keeps its thread until it is shut down, and takes no work any more once the interpreter
has begun to exit; a program whose last line logs an artifact has its commit then. Here the thread
ends when there is nothing left to do, and a new one begins with the next job, at exit too: the
interpreter waits for it. A child that is forked has no such thread: it does new jobs in one of its
own, and leaves to the parent what the parent had begun.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec

from artfs.errors import ArtfsError

P = ParamSpec("P")


class Worker:
    """Does jobs in the order in which they are submitted. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[None], Callable[[], None]]] = deque()
        self._doing: Future[None] | None = None
        self._thread: threading.Thread | None = None
        _workers.add(self)

    def submit(
        self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs
    ) -> Future[None]:
        """Have `function` called; the future is done when it has returned, or raised."""
        job: Future[None] = Future()
        with self._lock:
            self._waiting.append((job, lambda: function(*args, **kwargs)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=False)
                self._thread.start()
        return job

    @property
    def has_waiting(self) -> bool:
        """Whether more is to be done, beside what is being done now."""
        with self._lock:
            return bool(self._waiting)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = self._doing = None
                    return
                job, call = self._waiting.popleft()
                self._doing = job
            if job.set_running_or_notify_cancel():
                try:
                    call()
                except BaseException as error:
                    job.set_exception(error)
                else:
                    job.set_result(None)
            del job, call  # a waiting thread keeps nothing alive

    def shutdown(self) -> None:
        """Cancel what waits, and wait for what is being done. More may be submitted later."""
        with self._lock:
            cancelled = [job for job, _ in self._waiting]
            self._waiting.clear()
            thread = self._thread
        for job in cancelled:
            job.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def forked(self) -> None:
        """In a child: whoever waits for a job of the parent's is told that it is not done here."""
        self._lock = threading.Lock()  # its thread may have held the old one
        jobs = [job for job, _ in self._waiting]
        if self._doing is not None and not self._doing.done():
            jobs.append(self._doing)
        self._waiting.clear()
        self._thread = self._doing = None
        for job in jobs:
            why = f"goes on in the process {os.getppid()}, and not in this one, forked from it"
            job.set_exception(ArtfsError(f"thread '{self._name}'", why))


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _forked() -> None:
    for worker in _workers:
        worker.forked()


os.register_at_fork(after_in_child=_forked)
