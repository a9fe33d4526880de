"""What is being fetched: at most so many requests at once, those that somebody waits for first.

Works for any number of readers; threads of its own carry the requests, come when there is something
to do and go when there is not. Thread-safe; nothing here waits for a request.

A request is dropped when all have given up who waited for it: its place is free from then on. Its
thread ends it as soon as the next bytes come, or with the time-out if none do, and asks no more.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

#: Places that requests ahead of need leave to those that somebody waits for.
_RESERVED = 4
#: One object has at most this part of all places: one that hangs must not stop the others.
_PER_OBJECT = 2
#: Seconds that a thread without work stays: starting one takes 0.1 ms, as much as a cached read.
_LINGER = 5.0
#: Bytes that may wait to be fetched ahead of need; what comes after them is forgotten.
_AHEAD_MAX = 256 << 20

URGENT, AHEAD = 0, 1


class Source(Protocol):
    """Whose blocks are fetched."""

    def bring(self, flight: Flight) -> None:
        """Fetch blocks and keep them; may say how far it is by `Flights.advance`. Raises
        `ArtfsError`, and anything once the flight is `dropped`."""

    def landed(self, flight: Flight) -> None:
        """A flight is over, however it ended."""


class Arrival(Future[None]):
    """Done when all blocks of one read are here; failed if one of them cannot be had. Whoever does
    not want it any more cancels it, which calls `given_up`."""

    def __init__(self, given_up: Callable[[], None]) -> None:
        super().__init__()
        self.missing = 0
        self._given_up = given_up

    def cancel(self) -> bool:
        is_cancelled = super().cancel()
        if is_cancelled:
            self._given_up()
        return is_cancelled


class Flight:
    """Blocks [first, stop) that are fetched by one request."""

    __slots__ = ("_served", "_waiting", "dropped", "first", "priority", "source", "started", "stop")

    def __init__(self, source: Source, first: int, stop: int, priority: int) -> None:
        self.source = source
        self.first = first
        self.stop = stop
        self.priority = priority
        self.started = False
        self.dropped = False
        self._served = False
        self._waiting: list[tuple[int, Arrival]] = []

    def is_wanted(self) -> bool:
        """Whether anybody still waits for it, got some of it, or nobody ever waited."""
        return self.priority == AHEAD or self._served or self.is_awaited()

    def is_awaited(self) -> bool:
        """Whether anybody waits for what has not come yet."""
        return not all(arrival.done() for _, arrival in self._waiting)

    def join(self, arrival: Arrival, stop: int) -> None:
        """Have an arrival wait for the blocks before `stop`."""
        arrival.missing += 1
        self._waiting.append((stop, arrival))

    def reached(self, stop: int) -> list[Arrival]:
        """The blocks before `stop` are here: who is done by that."""
        done = []
        for needed, arrival in self._waiting:
            if needed <= stop and arrival.missing:  # else another of its flights has failed
                arrival.missing -= 1
                self._served |= not arrival.done()
                if not arrival.missing:
                    done.append(arrival)
        self._waiting = [item for item in self._waiting if item[0] > stop]
        return done

    def failed(self) -> list[Arrival]:
        """Nothing more comes: who has waited for it."""
        done = [arrival for _, arrival in self._waiting if arrival.missing]
        for arrival in done:
            arrival.missing = 0
        self._waiting.clear()
        return done


class Flights:
    """The queue. `lock` also guards what sources know of their flights."""

    def __init__(self, limit: int, size: int, idle: Callable[[], None]) -> None:
        """`limit` requests at once; a block has `size` bytes. `idle` is called by a thread that has
        nothing to do."""
        self.lock = threading.Lock()
        self._limit = limit
        self._size = size
        self._idle = idle
        self._work = threading.Condition(self.lock)
        self._queue: list[tuple[int, int, Flight]] = []
        self._order = itertools.count()
        self._running: dict[Source, int] = {}
        self._under_way: set[Flight] = set()
        self._ahead = 0
        self._ahead_bytes = 0
        self._threads = 0
        self._waiting = 0
        self._called = 0  # of those that wait: they are awake, and have not got the lock yet
        self._closed = False

    def add(self, flight: Flight) -> bool:
        """Queue a flight; False if it is not worth it. The lock is held."""
        if flight.priority == AHEAD:
            length = (flight.stop - flight.first) * self._size
            if self._closed or self._ahead_bytes + length > _AHEAD_MAX:
                return False
            self._ahead_bytes += length
        heapq.heappush(self._queue, (flight.priority, next(self._order), flight))
        self._call_thread()
        return True

    def hurry(self, flight: Flight) -> None:
        """Somebody waits for a flight now. The lock is held."""
        if flight.priority == AHEAD and not flight.started:
            self._ahead_bytes -= (flight.stop - flight.first) * self._size
            flight.priority = URGENT
            heapq.heappush(self._queue, (URGENT, next(self._order), flight))
            self._call_thread()

    def _call_thread(self) -> None:
        if not self._wake() and self._threads < self._limit:
            threading.Thread(target=self._fly, name="artfs-fetch", daemon=True).start()
            self._threads += 1  # not before: a machine may start no more

    def _wake(self) -> bool:
        """Call a thread that waits; False if there is none, or all of them have been called."""
        if self._called >= self._waiting:
            return False
        self._called += 1
        self._work.notify()
        return True

    def _fly(self) -> None:
        while (flight := self._next()) is not None:
            failure: BaseException | None = None
            try:
                flight.source.bring(flight)
            except BaseException as error:
                failure = error
            if not self._finish(flight, failure):
                return
            del flight

    def _next(self) -> Flight | None:
        """The flight to make; None if the thread is to end."""
        with self.lock:
            was_told = False
            while (flight := self._pick()) is None:
                if not self._running and not was_told:
                    was_told = True
                    self.lock.release()
                    try:
                        self._idle()
                    finally:
                        self.lock.acquire()
                    continue  # something may have come meanwhile
                self._waiting += 1
                was_called = self._work.wait(_LINGER)
                self._waiting -= 1
                # Also after a timeout: it may have been called before it got the lock.
                self._called = max(0, self._called - 1)
                if not was_called and not self._queue:
                    self._threads -= 1
                    return None
            return flight

    def _pick(self) -> Flight | None:
        """The first flight in the queue that may begin; those that nobody wants are dropped."""
        passed: list[tuple[int, int, Flight]] = []
        found = None
        while self._queue and found is None:
            item = heapq.heappop(self._queue)
            priority, _, flight = item
            if flight.started or priority != flight.priority:
                continue  # it was hurried, and is in the queue twice
            if not flight.is_wanted():
                flight.source.landed(flight)
            elif self._may_start(flight):
                found = flight
            else:
                passed.append(item)
        for item in passed:
            heapq.heappush(self._queue, item)
        if found is not None:
            found.started = True
            self._under_way.add(found)
            self._running[found.source] = self._running.get(found.source, 0) + 1
            if found.priority == AHEAD:
                self._ahead += 1
                self._ahead_bytes -= (found.stop - found.first) * self._size
        return found

    def _may_start(self, flight: Flight) -> bool:
        if self._running.get(flight.source, 0) >= max(1, self._limit // _PER_OBJECT):
            return False
        return flight.priority == URGENT or self._ahead < max(1, self._limit - _RESERVED)

    def _finish(self, flight: Flight, failure: BaseException | None) -> bool:
        """A flight is over; whether its thread is to go on."""
        with self.lock:
            if flight.dropped:
                return False
            self._free(flight)
            done = flight.reached(flight.stop) if failure is None else flight.failed()
            if self._queue:
                self._wake()
        _tell(done, failure)
        return True

    def _free(self, flight: Flight) -> None:
        """Its place is free."""
        self._under_way.remove(flight)
        left = self._running[flight.source] - 1
        if left:
            self._running[flight.source] = left
        else:
            del self._running[flight.source]
        # `hurry` leaves a flight that has begun as it is, so this is what `_pick` counted.
        self._ahead -= flight.priority == AHEAD
        flight.source.landed(flight)

    def drop_unwanted(self) -> None:
        """Somebody has given up: drop what nobody wants any more."""
        with self.lock:
            for flight in [f for f in self._under_way if not f.is_wanted()]:
                self._drop(flight)

    def _drop(self, flight: Flight) -> None:
        flight.dropped = True
        self._free(flight)
        self._threads -= 1
        if self._queue:
            self._call_thread()

    def advance(self, flight: Flight, stop: int) -> None:
        """Blocks of a flight that is under way are here, those before `stop`."""
        with self.lock:
            done = flight.reached(stop)
        _tell(done, None)

    def close(self) -> None:
        """Forget what is ahead of need. Threads end by themselves."""
        with self.lock:
            self._closed = True
            for flight in [f for f in self._under_way if not f.is_awaited()]:
                self._drop(flight)
            urgent = [item for item in self._queue if item[2].priority == URGENT]
            for _, _, flight in self._queue:
                if flight.priority == AHEAD and not flight.started:
                    flight.source.landed(flight)
            self._queue = urgent
            heapq.heapify(self._queue)
            self._work.notify_all()


def _tell(arrivals: list[Arrival], failure: BaseException | None) -> None:
    """Callbacks run in here: the lock is not held."""
    for arrival in arrivals:
        if arrival.set_running_or_notify_cancel():
            if failure is not None:
                arrival.set_exception(failure)
            else:
                arrival.set_result(None)
