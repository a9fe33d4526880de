"""A commit that goes on in the background, and who has heard of its failure."""

from __future__ import annotations

from concurrent.futures import Future


class Logging:
    """One try to log an artifact. Thread-safe."""

    def __init__(self, what: str, job: Future[None]) -> None:
        self._what = what
        self._job = job
        self._told = False

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is done. Raises what failed; TimeoutError after so many seconds."""
        try:
            error = self._job.exception(timeout)
        except TimeoutError:
            raise TimeoutError(f"{self._what}: is not logged after {timeout} s") from None
        if error is not None:
            self._told = True
            raise error

    def untold_failure(self) -> BaseException | None:
        """Wait; what failed, unless `wait` has raised it to somebody."""
        error = self._job.exception()
        return None if self._told else error

    @property
    def is_done(self) -> bool:
        """Whether it has come to an end."""
        return self._job.done()

    @property
    def has_succeeded(self) -> bool:
        """Whether it is done, and nothing failed."""
        return self._job.done() and self._job.exception() is None
