"""Connections to HTTP servers: to addresses that were checked, and not slower than agreed.

A name is looked up here and the connection made to the address that was checked, so that a second
answer of the DNS cannot lead elsewhere.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable

import httpcore

from artfs.errors import SourceRefused
from artfs.sources.addresses import why_refused


class PacedStream(httpcore.NetworkStream):
    """A connection on which an answer has to come within `wait` seconds of the request.

    The timeout of httpcore is for each read, of which a server that sends byte by byte makes as
    many as it likes. `deadline` (time.monotonic) may be moved while an answer comes. Raises what
    httpcore raises, `ReadTimeout` at the deadline.
    """

    def __init__(self, stream: httpcore.NetworkStream, wait: float) -> None:
        self._stream = stream
        self._wait = wait
        self.deadline = 0.0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See `httpcore.NetworkStream`."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer takes too long")
        return self._stream.read(max_bytes, left if timeout is None else min(left, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See `httpcore.NetworkStream`; what is written is requests."""
        self._stream.write(buffer, timeout)
        self.deadline = time.monotonic() + self._wait

    def close(self) -> None:
        """See `httpcore.NetworkStream`."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """See `httpcore.NetworkStream`."""
        return PacedStream(
            self._stream.start_tls(ssl_context, server_hostname, timeout), self._wait
        )

    def get_extra_info(self, info: str) -> object:
        """See `httpcore.NetworkStream`."""
        return self._stream.get_extra_info(info)


class CheckedBackend(httpcore.SyncBackend):
    """Connects to addresses that have been checked, whatever a name stands for later.

    Raises `SourceRefused` for one that is refused, and what httpcore raises for all else.
    """

    def __init__(self, *, private: bool, wait: float) -> None:
        super().__init__()
        self._private = private
        self._wait = wait

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address of a host that takes it."""
        deadline = time.monotonic() + (timeout or 0.0)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._addresses(host, port):
            left = None if timeout is None else max(0.1, deadline - time.monotonic())
            try:
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
                return PacedStream(stream, self._wait)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # a name that the DNS cannot have
            raise SourceRefused(host[:80], "is no name of a host") from error
        except OSError as error:
            raise httpcore.ConnectError(f"{host}: {error.strerror}") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses:
            why = why_refused(address, private=self._private)
            if why:
                # All of them count: a name with one good and one bad address is an attack.
                raise SourceRefused(host, f"{address} {why}")
        return addresses

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Never asked for."""
        raise SourceRefused(path, "is a local socket")
