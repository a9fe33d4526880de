"""The daemon's end of the control socket, in the mount's event loop; `artfs.fuse.control` asks."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import trio

from artfs import errors
from artfs.errors import ArtfsError
from artfs.fuse.control import Message, address, decode, encode, encode_error

log = logging.getLogger(__name__)

Handlers: TypeAlias = Mapping[str, Callable[[Message], Awaitable[Message]]]

_LINE_MAX = 16 << 20


@contextlib.contextmanager
def listening(directory: Path) -> Iterator[socket.socket]:
    """A socket in a mount's directory that clients can connect to from now on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with address(directory) as path:
            listener.bind(path)
        listener.listen(16)
        yield listener


async def serve(listener: socket.socket, handlers: Handlers) -> None:
    """Answer requests until cancelled."""
    server = trio.SocketListener(trio.socket.from_stdlib_socket(listener))

    async def talk(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await _talk(stream, handlers)

    await trio.serve_listeners(talk, [server])


async def _talk(stream: trio.SocketStream, handlers: Handlers) -> None:
    buffer = b""
    async for part in stream:
        *lines, buffer = (buffer + part).split(b"\n")
        if len(buffer) > _LINE_MAX:
            return
        for line in lines:
            await stream.send_all(await _answer(line, handlers))


async def _answer(line: bytes, handlers: Handlers) -> bytes:
    try:
        request = decode(line)
        handle = handlers.get(str(request.get("do")))
        if handle is None:
            raise errors.Unsupported(str(request.get("do")), "this mount cannot do that")
        return encode({"ok": True, **await handle(request)})
    except ArtfsError as error:
        return encode({"error": encode_error(error)})
    except Exception as error:
        log.exception("control request failed")
        return encode({"error": encode_error(error)})
