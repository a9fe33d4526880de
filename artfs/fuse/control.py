"""Talking to the daemon of a mount: JSON lines over a unix socket, one request a line.

    {"do": "status", ...}  ->  {"ok": true, ...}  or  {"error": {"kind", "what", "why", "hint"}}

The server, `artfs.fuse.answering`, is part of the mount's event loop. The client here is
synchronous and takes errors back to the classes they were in the daemon; it is all that many a
command needs, so neither event loop nor FUSE binding is loaded for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from artfs import errors
from artfs.errors import ArtfsError, NotFound, Unreachable
from artfs.fuse.mountinfo import location, mount_at, mounts

#: JSON objects; who asks and who answers agree on what is in them.
Message: TypeAlias = dict[str, Any]

SOCKET = "control.sock"


def mount_directory(state_dir: Path, mount_id: str) -> Path:
    """Where a mount keeps `mount.json` and its socket."""
    return state_dir / "mounts" / mount_id


@contextlib.contextmanager
def address(directory: Path) -> Iterator[str]:
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
def connected(directory: Path, patience: float, shown: str) -> Iterator[socket.socket]:
    """A connection to the daemon of a mount, which messages call `shown`. Raises `Unreachable` if
    it is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(patience)
        try:
            with address(directory) as path:
                client.connect(path)
        except OSError as error:
            raise Unreachable(
                shown, "its daemon does not answer", f"artfs umount '{shown}' clears the mount"
            ) from error
        yield client


def call(state_dir: Path, mountpoint: Path, request: Message, patience: float = 60.0) -> Message:
    """Ask the daemon of the mount at `mountpoint`, and wait for its answer.

    Raises `NotFound` if that is no artfs mount, `Unreachable` if the daemon is gone or silent, and
    what the daemon's handler raised.
    """
    with connected(_directory_of(state_dir, mountpoint), patience, str(mountpoint)) as client:
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


def mount_id_at(mountpoint: Path) -> str:
    """The id of the artfs mount on a path. Raises `NotFound` if there is none."""
    mount = mount_at(mountpoint)
    if mount is not None and mount.mount_id is not None:
        return mount.mount_id
    hint = "findmnt -t fuse.artfs lists what is mounted, and where"
    around = [Path(one.point) for one in mounts() if one.mount_id is not None]
    if point := next((p for p in around if p in Path(location(mountpoint)).parents), None):
        hint = f"it is below the mount on {point}"
    raise NotFound(str(mountpoint), "no artfs is mounted there", hint)


def _directory_of(state_dir: Path, mountpoint: Path) -> Path:
    return mount_directory(state_dir, mount_id_at(mountpoint))


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
