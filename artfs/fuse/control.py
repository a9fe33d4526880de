"""Talking to the daemon of a mount: JSON lines over a unix socket, one request a line.

    {"do": "status", ...}  ->  {"ok": true, ...}  or  {"error": {"kind", "what", "why", "hint"}}

The server is part of the mount's event loop; the client is synchronous and takes errors back to
the classes they were in the daemon.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import trio

from artfs import errors
from artfs.errors import ArtfsError, NotFound, Unreachable
from artfs.fuse.mountinfo import mount_at

log = logging.getLogger(__name__)

#: JSON objects; who asks and who answers agree on what is in them.
Message: TypeAlias = dict[str, Any]
Handlers: TypeAlias = Mapping[str, Callable[[Message], Awaitable[Message]]]

SOCKET = "control.sock"
_LINE_MAX = 16 << 20


def mount_directory(state_dir: Path, mount_id: str) -> Path:
    """Where a mount keeps `mount.json` and its socket."""
    return state_dir / "mounts" / mount_id


@contextlib.contextmanager
def _address(directory: Path) -> Iterator[str]:
    """The socket's path by way of a descriptor: a socket's address holds only 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)


def encode(message: Message) -> bytes:
    """A message as one line. By the standard library: paths may be no UTF-8, and strings then hold
    lone surrogates, which stricter writers of JSON refuse."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(data: bytes) -> Message:
    """The message again. Raises `ValueError`."""
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError(f"not a JSON object: {message!r:.100}")
    return message


def encode_error(error: Exception) -> Message:
    """An error as it goes over the socket, and to the parent of a daemon that does not come up."""
    if isinstance(error, ArtfsError):
        what, why, hint = error.what, error.why, error.hint
    else:
        what, why, hint = type(error).__name__, str(error), ""
    return {"kind": type(error).__name__, "what": what, "why": why, "hint": hint}


def decode_error(message: Message) -> ArtfsError:
    """The error again, in its class if that is one of `artfs.errors`."""
    class_ = getattr(errors, str(message.get("kind")), ArtfsError)
    if not (isinstance(class_, type) and issubclass(class_, ArtfsError)):
        class_ = ArtfsError
    error = class_.__new__(class_)
    # Subclasses build `what` and `why` from arguments of their own, which are not sent.
    ArtfsError.__init__(error, message["what"], message["why"], message.get("hint", ""))
    return error


@contextlib.contextmanager
def listening(directory: Path) -> Iterator[socket.socket]:
    """A socket in a mount's directory that clients can connect to from now on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with _address(directory) as address:
            listener.bind(address)
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


@contextlib.contextmanager
def connected(directory: Path, patience: float) -> Iterator[socket.socket]:
    """A connection to the daemon of a mount. Raises `Unreachable` if it is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(patience)
        try:
            with _address(directory) as address:
                client.connect(address)
        except OSError as error:
            raise Unreachable(
                "mount", "its daemon does not answer", "artfs umount clears it"
            ) from error
        yield client


def call(state_dir: Path, mountpoint: Path, request: Message, patience: float = 60.0) -> Message:
    """Ask the daemon of the mount at `mountpoint`, and wait for its answer.

    Raises `NotFound` if that is no artfs mount, `Unreachable` if the daemon is gone or silent, and
    what the daemon's handler raised.
    """
    with connected(_directory_of(state_dir, mountpoint), patience) as client:
        try:
            client.sendall(encode(request))
            with client.makefile("rb") as lines:
                line = lines.readline()
        except OSError as error:
            raise Unreachable(str(mountpoint), "its daemon does not answer") from error
    if not line:
        raise Unreachable(str(mountpoint), "its daemon ended before it answered")
    answer = decode(line)
    if not answer.pop("ok", False):
        raise decode_error(answer["error"])
    return answer


def _directory_of(state_dir: Path, mountpoint: Path) -> Path:
    mount = mount_at(mountpoint)
    if mount is None or mount.mount_id is None:
        raise NotFound(str(mountpoint), "no artfs is mounted there")
    return mount_directory(state_dir, mount.mount_id)


def not_served(mountpoint: str) -> NotFound:
    """A mount whose daemon, if it has one, keeps its socket where we do not look."""
    why = "is mounted by another user, or with another XDG_STATE_HOME"
    return NotFound(mountpoint, why, "give the command as that user, with that XDG_STATE_HOME")


def describe(state_dir: Path, mountpoint: Path) -> Message | None:
    """What the mount at a path says of itself in mount.json, whether or not its daemon is alive;
    None if nothing is there, see `not_served`. Raises `NotFound` if that is no artfs mount."""
    try:
        return decode((_directory_of(state_dir, mountpoint) / "mount.json").read_bytes())
    except (OSError, ValueError):
        return None
