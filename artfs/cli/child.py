"""Running a command in the foreground as if it had been started without us.

Signals are blocked while this lasts and taken one by one, because only so they say who sent them:
what a terminal sends goes to the command as well, and must not reach it twice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

#: What asks a program to end or to do something, and is the command's business.
_FORWARDED = {
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
}  # fmt: skip
#: What asks us to end while no command runs.
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_WAITED = {*_FORWARDED, signal.SIGCHLD}
#: Signals that Python ignores, which a command must not inherit.
_RESTORED = [signal.SIGPIPE, signal.SIGXFSZ]
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
#: What a program that the kernel does not know the format of is given to, as by execvp(3).
_SHELL = "/bin/sh"
#: Seconds between two looks at whether something is done.
_STEP = 0.02


class Interrupted(BaseException):
    """A signal asked us to end; `status` is the exit status that says so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class CannotStart(Exception):
    """There is no such command, or it cannot be run; `status` is as shells have it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        found = not isinstance(error, FileNotFoundError)
        self.status = _NOT_EXECUTABLE if found else _NOT_FOUND


class Foreground:
    """Signals while a command is prepared, runs, and is cleared up after."""

    def __init__(self, mask: set[signal.Signals | int]) -> None:
        self._mask = mask
        # Started by nohup, or in the background: it is to go on.
        self._ending = {n for n in _ENDING if signal.getsignal(n) is not signal.SIG_IGN}

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], every: float,
        tick: Callable[[], None],
    ) -> int:  # fmt: skip
        """Run a command with our standard input, output and error, and call `tick` from time to
        time, `every` so many seconds. Its exit status; 128 and the number of a signal that ended
        it. Raises `CannotStart`, `Interrupted` (before it was started)."""
        self.check()
        try:
            pid = self._spawn(command, environment)
        except OSError as error:
            raise CannotStart(error) from error
        while True:
            info = signal.sigtimedwait(_WAITED, every)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if info is None:
                tick()
            # A positive code is the kernel's: the terminal has told the whole process group.
            elif info.si_signo in _FORWARDED and info.si_code <= 0:
                os.kill(pid, info.si_signo)

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        name, arguments = command[0], command[1:]
        if not name:  # Python does not even ask
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

        def spawn(program: str, argv: Sequence[str]) -> int:
            return os.posix_spawnp(
                program, list(argv), environment, setsigmask=self._mask, setsigdef=_RESTORED
            )

        try:
            return spawn(name, command)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        return spawn(_SHELL, [_SHELL, shutil.which(name) or name, *arguments])

    def check(self) -> None:
        """Raises `Interrupted` if a signal has come; the next one ends us at once."""
        info = signal.sigtimedwait(self._ending, 0)
        if info is not None:
            for number in self._ending:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._ending)
            raise Interrupted(info.si_signo)

    def attend(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises; or `Interrupted`, as soon as a signal comes, while it goes
        on in a thread that nobody waits for."""
        done = threading.Event()
        results: list[T] = []
        errors: list[Exception] = []

        def do() -> None:
            try:
                results.append(work())
            except Exception as error:
                errors.append(error)
            finally:
                done.set()

        threading.Thread(target=do, daemon=True).start()
        while not done.wait(_STEP):
            self.check()
        if errors:
            raise errors[0]
        return results[0]


@contextlib.contextmanager
def foreground() -> Iterator[Foreground]:
    """Signals are ours for the time of the block, in threads begun in it too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    try:
        yield Foreground(before)
    finally:
        while signal.sigtimedwait(_WAITED, 0) is not None:
            pass  # it came too late to end anything
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
