"""One thread that exists while it has something to do.

An executor keeps its thread until it is shut down, and takes no work any more once the interpreter
has begun to exit; a program whose last line logs an artifact has its commit then. Here the thread
ends when there is nothing left to do, and a new one begins with the next job, at exit too: the
interpreter waits for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec

P = ParamSpec("P")


class Worker:
    """Does jobs in the order in which they are submitted. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[None], Callable[[], None]]] = deque()
        self._thread: threading.Thread | None = None

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
                    self._thread = None
                    return
                job, call = self._waiting.popleft()
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
