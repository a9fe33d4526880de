"""A proxy before an S3 server: adds latency, counts requests, and makes the trouble one asks for.

    with FaultProxy(server.port, latency=0.010) as proxy:      # 10 ms each way
        proxy.fail(Fault("cut answer", method="PUT"), times=2)
        ...                                                    # AWS_ENDPOINT_URL=proxy.url
        assert proxy.counts()["GET"] < 8

It runs in a thread of its own. As a program, `python -m tests.support.faultproxy PORT --latency MS`
prints its URL and serves until its standard input ends; a GET of `/-/counts` answers with the
requests and bytes so far as JSON, a GET of `/-/reset` does so and forgets them.

Latency delays the first byte of each request and of each answer, and twice that the first request
of a connection, as the handshake would. Bodies then flow as fast as they can.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal
from urllib.parse import unquote

What = Literal["refuse", "hang", "hang body", "status", "cut answer", "cut body"]
_PIECE = 256 << 10
_HEAD_MAX = 64 << 10


@dataclass(frozen=True)
class Request:
    """A request that the proxy saw; `target` is the path with its query, not quoted."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)


@dataclass
class Fault:
    """What is to happen to a request of this method (any if empty) whose target holds a text.

    refuse      the connection is reset, and the server never sees the request
    hang        nothing happens until the client gives up, or the proxy is told to `release`
    hang body   the same after `after` bytes of the answer's body
    status      the proxy answers with `status`, and `code` as S3's error code
    cut answer  the server does it, and the connection is reset instead of an answer
    cut body    the answer breaks off after `after` bytes of its body
    """

    what: What
    method: str = ""
    holds: str = ""
    status: int = 503
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    after: int = 0

    def meets(self, request: Request) -> bool:
        return self.method in ("", request.method) and self.holds in request.target


class _Cut(Exception):
    """The connection to the client is to be reset."""


class FaultProxy:
    """A proxy to a port of 127.0.0.1. All methods may be called from any thread."""

    def __init__(
        self, target: int, latency: float = 0.0, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """`tls`: it is spoken with clients, not with the server."""
        self.port = port
        self.latency = latency
        self._target = target
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._bytes: Counter[str] = Counter()
        self._faults: list[tuple[Fault, int]] = []
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._up(), self._loop).result(10)

    async def _up(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=_HEAD_MAX, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Be a server that is down: connections break, new ones are refused."""
        asyncio.run_coroutine_threadsafe(self._down(), self._loop).result(10)

    async def _down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def fail(self, fault: Fault, times: int = 1_000_000) -> None:
        """Let a fault happen to the next requests that it meets."""
        with self._lock:
            self._faults.append((fault, times))

    def heal(self) -> None:
        """No more faults; `hang`ing requests go on."""
        with self._lock:
            self._faults.clear()
        self._loop.call_soon_threadsafe(self._released.set)

    def pending(self) -> list[Fault]:
        """The faults that have not happened as often as they should."""
        with self._lock:
            return [fault for fault, _ in self._faults]

    def requests(self) -> list[Request]:
        """What was asked since the last `reset`."""
        with self._lock:
            return list(self._requests)

    def counts(self) -> Counter[str]:
        """How many requests there were, by method."""
        return Counter(request.method for request in self.requests())

    def received(self) -> int:
        """Bytes of bodies that came from the server."""
        with self._lock:
            return self._bytes["down"]

    def connections(self) -> int:
        """How many are open."""
        return len(self._tasks)

    def reset(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._requests.clear()
            self._bytes.clear()

    def _take(self, request: Request) -> Fault | None:
        with self._lock:
            self._requests.append(request)
            for i, (fault, times) in enumerate(self._faults):
                if fault.meets(request):
                    self._faults[i] = (fault, times - 1)
                    if times == 1:
                        del self._faults[i]
                    if fault.what in ("hang", "hang body"):
                        self._released.clear()
                    return fault
        return None

    def _count(self, way: str, size: int) -> None:
        with self._lock:
            self._bytes[way] += size

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection(self, reader, writer, self._target)
        try:
            await connection.serve()
        except (_Cut, asyncio.CancelledError):
            _reset(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            connection.close()


class _Connection:
    """One client's connection, with its own to the server."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        target: int,
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._target = target
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def serve(self) -> None:
        """Handle its requests until the client goes."""
        await self._travel(2)
        while True:
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            request = _parse_request(head)
            if request.target.startswith("/-/"):
                self._answer_about(request.target)
                continue
            fault = self._proxy._take(request)
            await self._travel(1)
            if fault is not None and fault.what == "hang":
                await self._proxy._released.wait()
            elif fault is not None and fault.what == "refuse":
                raise _Cut
            elif fault is not None and fault.what == "status":
                await self._answer_status(request, fault)
                continue
            await self._pass_on(head, request, fault)

    async def _travel(self, times: int) -> None:
        if self._proxy.latency:
            await asyncio.sleep(times * self._proxy.latency)

    def _answer_about(self, target: str) -> None:
        about = {**self._proxy.counts(), "bytes": self._proxy.received()}
        if target == "/-/reset":
            self._proxy.reset()
        body = json.dumps(about).encode()
        self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def _answer_status(self, request: Request, fault: Fault) -> None:
        if "expect" not in request.headers:  # else the client waits for this answer
            async for _ in _body(self._reader, request.headers):
                pass
        body = f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error>"
        head = f"HTTP/1.1 {fault.status} No\r\nContent-Type: application/xml\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        await self._travel(1)
        self._writer.write((head + ("" if request.method == "HEAD" else body)).encode())
        await self._writer.drain()

    async def _pass_on(self, head: bytes, request: Request, fault: Fault | None) -> None:
        if self._server is None or self._server[0].at_eof():
            self._server = await asyncio.open_connection("127.0.0.1", self._target, limit=_HEAD_MAX)
        reader, writer = self._server
        writer.write(head)
        if request.headers.get("expect", "").lower() == "100-continue":
            answer = await reader.readuntil(b"\r\n\r\n")
            if _status(answer) != 100:
                await self._give_back(answer, request, fault)
                return
            await self._travel(1)
            self._writer.write(answer)
        async for piece in _body(self._reader, request.headers):
            self._proxy._count("up", len(piece))
            writer.write(piece)
            await writer.drain()
        await self._give_back(await reader.readuntil(b"\r\n\r\n"), request, fault)

    async def _give_back(self, head: bytes, request: Request, fault: Fault | None) -> None:
        assert self._server is not None
        if fault is not None and fault.what == "cut answer":
            raise _Cut
        await self._travel(1)
        self._writer.write(head)
        left = fault.after if fault is not None and fault.what.endswith("body") else None
        if request.method != "HEAD" and _status(head) not in (204, 304):
            async for piece in _body(self._server[0], _headers(head)):
                self._proxy._count("down", len(piece))
                if left is not None and left < len(piece):
                    self._writer.write(piece[:left])
                    await self._writer.drain()
                    if fault is not None and fault.what == "cut body":
                        raise ConnectionError
                    await self._proxy._released.wait()
                    self._writer.write(piece[left:])
                    left = None
                else:
                    self._writer.write(piece)
                    left = None if left is None else left - len(piece)
                await self._writer.drain()
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()
        if self._server is not None:
            self._server[1].close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection as if the machine at this end had lost it."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """A body's bytes as they come, the frames of a chunked one among them."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        size = -1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            yield line
            async for piece in _exactly(reader, size + 2):
                yield piece
    else:
        async for piece in _exactly(reader, int(headers.get("content-length", "0"))):
            yield piece


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size > 0:
        piece = await reader.read(min(size, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
        yield piece


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parse_request(head: bytes) -> Request:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return Request(method, unquote(target), _headers(head))


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description="A proxy with latency before an S3 server.")
    parser.add_argument("target", type=int, help="port of 127.0.0.1")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="each way")
    options = parser.parse_args()
    with FaultProxy(options.target, options.latency / 1000) as proxy:
        print(proxy.url, flush=True)
        sys.stdin.read()  # until whoever started this closes it


if __name__ == "__main__":
    main()
