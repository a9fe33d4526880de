"""One pack as the cache reads it: what of it is here, what is on its way, how much to ask for.

What is asked for at once grows with how often the pack is asked: the first read of a pack brings
the blocks that it needs, the next one an aligned region of twice a block around it, then of four
times, until it is the whole pack. A reader of single places in huge files fetches little that it
does not need; one that reads the small files of a directory in random order has each pack after ten
requests. Of a large region, the part around the read is waited for and the rest is fetched behind.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from artfs.errors import Unreachable
from artfs.store.base import ObjectReader
from artfs.store.cached.blockfile import BLOCK, MAX_BLOCKS, BlockFile
from artfs.store.cached.counts import Counter
from artfs.store.cached.flights import AHEAD, URGENT, Arrival, Flight, Flights
from artfs.store.cached.room import Room

log = logging.getLogger(__name__)

#: Blocks of one request, give or take a half. A request of boto3 costs 2.5 ms of a core, as much as
#: 2 MiB do. What is read from front to back comes in larger ones: a quarter faster where the
#: network is no bound.
_REQUEST = (8 << 20) // BLOCK
_AHEAD_REQUEST = (16 << 20) // BLOCK
#: Blocks after which those who wait are told how far a request is.
_TOLD = (1 << 20) // BLOCK
#: Blocks of a region that are waited for.
_WAITED = (2 << 20) // BLOCK
#: The region of the first read where most of a pack is expected to be read, as a power of two.
_DENSE = 5
_LARGEST = 9
#: Seconds after which a request that nothing came of, not even a failure, is given up.
_PATIENCE = 300.0
#: Seconds to wait for what another process fetches before it is fetched anyway, and between looks.
_OTHERS, _LOOK = 2.0, 0.005


class Memory:
    """Blocks that the disk could not take, the newest ones, so that nothing waits for the disk to
    have room again."""

    def __init__(self, size: int) -> None:
        self._most = size // BLOCK
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, first: int, data: bytes) -> None:
        """Keep the blocks of `data`, which begin at block `first`."""
        with self._lock:
            for at in range(0, len(data), BLOCK):
                self._blocks[key, first + at // BLOCK] = data[at : at + BLOCK]
            while len(self._blocks) > self._most:
                self._blocks.popitem(last=False)

    def get(self, key: str, number: int) -> bytes | None:
        """A block, if it is here."""
        return self._blocks.get((key, number))

    def drop(self, key: str, first: int, stop: int) -> None:
        """Forget blocks."""
        with self._lock:
            for number in range(first, stop):
                self._blocks.pop((key, number), None)


class Shared:
    """What the readers of a store have in common. `open` gives the store's own reader of a key."""

    def __init__(
        self,
        packs: Path,
        open_: Callable[[str], ObjectReader],
        room: Room,
        flights: Flights,
        counter: Counter,
        memory: Memory,
    ) -> None:
        self.packs = packs
        self.open = open_
        self.room = room
        self.flights = flights
        self.counter = counter
        self.memory = memory


class _Kept:
    """A file of the cache, and which blocks are in it: 1 for each, as far as this process knows.

    The two go together. A file that is given up has lost its name for good, so that what was read
    of it while it had one was there.
    """

    def __init__(self, file: BlockFile) -> None:
        self.file = file
        self.present = bytearray(file.states(0, MAX_BLOCKS).rstrip(b"\0"))

    def has(self, first: int, stop: int) -> bool:
        """Whether all of these blocks are in the file."""
        return stop <= len(self.present) and self.present.find(0, first, stop) < 0

    def mark(self, first: int, stop: int) -> None:
        """They are, from now on."""
        if len(self.present) < stop:
            self.present.extend(bytes(stop - len(self.present)))
        self.present[first:stop] = b"\1" * (stop - first)


class CachedReader(ObjectReader):
    """Reads one pack. Its state changes under the lock of `Shared.flights`."""

    def __init__(self, shared: Shared, key: str) -> None:
        self._shared = shared
        self._key = key
        self._inner: ObjectReader | None = None
        self._kept: _Kept | None = None
        self._flying: dict[int, Flight] = {}
        self._doubted: set[int] = set()
        self._size: int | None = None
        self._heat = 0
        self._open_file()

    def _open_file(self) -> None:
        path = self._shared.packs / self._key.rpartition("/")[2]
        try:
            file = BlockFile(path)
            self._kept = _Kept(file)
            self._size = file.size
            file.touch()
        except OSError:
            self._kept = None

    # Reading

    def read(self, offset: int, length: int) -> bytes:
        for _ in range(3):
            arrival = self.fetch(offset, length)
            if arrival is not None:
                self._wait(arrival)
            data = self._here(offset, length)
            if data is not None:
                self._shared.counter.hits += 1
                return data
        # The cache loses blocks as fast as they come: it is far too small, or its disk is failing.
        self._shared.counter.add(requests=1, fetched=length)
        return self._shared.open(self._key).read(offset, length)

    def _wait(self, arrival: Arrival) -> None:
        try:
            arrival.result(_PATIENCE)
        except TimeoutError:
            raise Unreachable(self._key, "the store has not answered") from None
        finally:
            arrival.cancel()

    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        if self._size is not None:
            length = min(length, self._size - offset)
        if length <= 0:
            return b""
        first, stop = _blocks(offset, length)
        kept = self._kept
        if self._doubted or kept is None or not kept.has(first, stop):
            return self._from_memory(offset, length, first, stop)
        data = kept.file.read_at_hand(offset, length, patience)
        if data is not None:
            self._shared.counter.hits += 1
        return data

    def _here(self, offset: int, length: int) -> bytes | None:
        """Bytes that are said to be here, from the disk; None if they have gone, or are short."""
        if self._size is not None:
            length = min(length, self._size - offset)
        if length <= 0:
            return b""
        first, stop = _blocks(offset, length)
        data = self._from_memory(offset, length, first, stop)
        if data is not None:
            return data
        kept = self._kept
        if kept is None or not kept.has(first, stop):
            return None
        try:
            data = kept.file.read(offset, length)
        except OSError as error:
            log.warning("cache: %s: %s", self._key, error)
            data = b""
        if len(data) == length:
            return data
        if kept is self._usable():  # and yet its blocks are not there
            with self._shared.flights.lock:
                self._doubted.update(range(first, stop))
        return None

    def _from_memory(self, offset: int, length: int, first: int, stop: int) -> bytes | None:
        memory, parts = self._shared.memory, []
        for number in range(first, stop):
            part = memory.get(self._key, number)
            if part is None:
                return None
            parts.append(part)
        begin = offset - first * BLOCK
        return b"".join(parts)[begin : begin + length]

    # Asking for more

    def fetch(self, offset: int, length: int) -> Arrival | None:
        if self._size is not None:
            length = min(length, self._size - offset)
        first, stop = _blocks(offset, length)
        if length <= 0 or stop > MAX_BLOCKS:
            return None
        with self._shared.flights.lock:
            wanted = [n for n in range(first, stop) if not self._has(n)]
            if not wanted:
                return None
            # The read that follows counts as a hit.
            self._shared.counter.add(misses=1)
            self._shared.counter.hits -= 1
            arrival = Arrival(self._shared.flights.drop_unwanted)
            if any(number not in self._flying for number in wanted):
                self._begin(first, stop)
            # Of each flight, the last block that is wanted.
            for flight, last in {self._flying[number]: number for number in wanted}.items():
                self._shared.flights.hurry(flight)
                flight.join(arrival, last + 1)
            return arrival

    def _begin(self, first: int, stop: int) -> None:
        """Start flights for blocks [first, stop), and for as much around them as is worth it."""
        region = 1 << self._heat
        self._heat = min(self._heat + 1, _LARGEST)
        near = min(region, _WAITED)
        self._start(first // near * near, -(-stop // near) * near, URGENT)
        self._start(stop, -(-stop // region) * region, AHEAD)
        self._start(first // region * region, first, AHEAD)

    def _start(self, first: int, stop: int, priority: int, request: int = _REQUEST) -> None:
        stop = min(stop, MAX_BLOCKS)
        if self._size is not None:
            stop = min(stop, -(-self._size // BLOCK))
        for begin, end in self._absent(first, stop):
            # Of about equal size: a pack of 32.1 MiB is no reason for a request of 0.1 MiB.
            step = -(-(end - begin) // max(1, round((end - begin) / request)))
            for at in range(begin, end, step):
                flight = Flight(self, at, min(at + step, end), priority)
                if not self._shared.flights.add(flight):
                    return
                for number in range(flight.first, flight.stop):
                    self._flying[number] = flight

    def _absent(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """Runs of blocks that are neither here nor on their way."""
        begin = None
        for number in range(first, stop):
            if number in self._flying or self._has(number):
                if begin is not None:
                    yield begin, number
                begin = None
            elif begin is None:
                begin = number
        if begin is not None:
            yield begin, stop

    def _has(self, number: int) -> bool:
        if number in self._doubted:
            return False
        if self._kept is not None and self._kept.has(number, number + 1):
            return True
        return self._shared.memory.get(self._key, number) is not None

    def prefetch(self, offset: int, length: int) -> None:
        first, stop = _blocks(offset, length)
        with self._shared.flights.lock:
            self._start(first, stop, AHEAD, _AHEAD_REQUEST)
        kept = self._kept
        if kept is not None:
            kept.file.expect(offset, length)

    def expect_all(self) -> None:
        self._heat = max(self._heat, _DENSE)

    def distrust(self, offset: int, length: int) -> bool:
        first, stop = _blocks(offset, length)
        log.warning("cache: %s: bytes %d+%d are damaged: fetching them again",
                    self._key, offset, length)  # fmt: skip
        with self._shared.flights.lock:
            self._doubted.update(range(first, stop))
            self._size = None
        return True

    # Called by the threads of `Flights`

    def bring(self, flight: Flight) -> None:
        first, stop = flight.first, flight.stop
        if self._size is not None and first * BLOCK >= self._size > 0:
            return  # it was not known when the flight began
        kept = self._usable()
        self._clear_doubted(kept, first, stop)
        if kept is None:
            self._bring_to(None, flight)
            return
        locked = kept.file.try_lock(first, stop)
        try:
            if not locked:
                self._wait_for_others(kept.file, first, stop)
            if not self._take_up(kept, first, stop):
                self._bring_to(kept, flight)
        finally:
            if locked:
                kept.file.unlock(first, stop)

    def landed(self, flight: Flight) -> None:
        for number in range(flight.first, flight.stop):
            if self._flying.get(number) is flight:
                del self._flying[number]

    def _usable(self) -> _Kept | None:
        """The file to keep blocks in: a new one if it was taken away; None if there can be none."""
        kept = self._kept
        try:
            if kept is not None and kept.file.is_discarded():
                with self._shared.flights.lock:
                    if kept is self._kept:
                        self._open_file()
        except OSError:
            return None
        return self._kept

    def _clear_doubted(self, kept: _Kept | None, first: int, stop: int) -> None:
        with self._shared.flights.lock:
            doubted = sorted(self._doubted.intersection(range(first, stop)))
        for number in doubted:
            self._shared.memory.drop(self._key, number, number + 1)
            if kept is not None:
                self._drop(kept, number)
        with self._shared.flights.lock:
            self._doubted.difference_update(doubted)

    def _drop(self, kept: _Kept, number: int) -> None:
        with self._shared.flights.lock:
            if number < len(kept.present):
                kept.present[number] = 0
        try:
            kept.file.drop(number, number + 1)
        except OSError as error:
            log.warning("cache: %s: %s", self._key, error)

    def _wait_for_others(self, file: BlockFile, first: int, stop: int) -> None:
        """Another process fetches some of these blocks: give it a moment."""
        pause = threading.Event()
        for _ in range(int(_OTHERS / _LOOK)):
            if file.states(first, stop) == b"\1" * (stop - first) or file.try_lock(first, stop):
                file.unlock(first, stop)
                return
            pause.wait(_LOOK)

    def _take_up(self, kept: _Kept, first: int, stop: int) -> bool:
        """Whether the blocks are here by now, brought by another process."""
        states = kept.file.states(first, stop)
        if len(states) < stop - first or 0 in states:
            return False
        with self._shared.flights.lock:
            kept.mark(first, stop)
        return True

    def _bring_to(self, kept: _Kept | None, flight: Flight) -> None:
        """Request blocks; they go to the file piece by piece, or if it takes none, to memory."""
        first, stop = flight.first, flight.stop
        if kept is not None and self._shared.room.take((stop - first) * BLOCK):
            try:
                if self._fill(kept, flight):
                    return
            except OSError as error:
                log.info("cache: %s: %s", self._key, error)
                self._shared.room.failed()
        parts: list[bytes] = []
        self._request(flight, parts.append)
        self._shared.memory.put(self._key, first, b"".join(parts))

    def _fill(self, kept: _Kept, flight: Flight) -> bool:
        """Request blocks to a file; False if it was taken away meanwhile. Whoever waits for the
        first of them need not wait for the last. Raises `OSError`."""
        at, told = flight.first * BLOCK, flight.first

        def write(piece: bytes) -> None:
            nonlocal at, told
            kept.file.write(at, piece)
            at += len(piece)
            if at // BLOCK - told >= _TOLD:
                self._filled(kept, told, at // BLOCK)
                told = at // BLOCK
                self._shared.flights.advance(flight, told)

        self._request(flight, write)
        return self._filled(kept, told, -(-at // BLOCK))

    def _filled(self, kept: _Kept, first: int, stop: int) -> bool:
        """Blocks were written: have them count, if the file is still one of the cache."""
        kept.file.fill(first, stop, self._size)
        if kept is not self._usable():
            return False
        with self._shared.flights.lock:
            kept.mark(first, stop)
        return True

    def _request(self, flight: Flight, write: Callable[[bytes], None]) -> None:
        first, stop = flight.first, flight.stop
        begin, length, came = first * BLOCK, (stop - first) * BLOCK, 0

        def count(piece: bytes) -> None:
            nonlocal came
            if flight.dropped:
                raise _Dropped
            came += len(piece)
            if piece:
                write(piece)

        if self._inner is None:
            self._inner = self._shared.open(self._key)
        size = self._inner.copy(begin, length, count)
        self._shared.counter.add(requests=1, fetched=came)
        if size:
            self._size = size
        elif came < length and (came or not first):
            self._size = begin + came

    def close(self) -> None:
        self._kept = None


class _Dropped(Exception):
    """Nobody wants any more what is being fetched."""


def _blocks(offset: int, length: int) -> tuple[int, int]:
    return offset // BLOCK, -(-(offset + length) // BLOCK)
