"""Mounts from outside: start a daemon, ask it something, take a mount down.

start_daemon     a mount in the background; launch_daemon, for those who wait for its end
call, describe   ask the daemon of a mount; read what it says of itself
unmount          take a mount down; take_down, one whose daemon this process has launched

Behind `artfs.fuse.mount` is what serves mounts; here, what a command needs that serves none: it
loads neither the FUSE binding nor the event loop, which take longer than to commit a draft.
"""

from __future__ import annotations

from artfs.fuse.control import Message as Message
from artfs.fuse.control import call as call
from artfs.fuse.control import describe as describe
from artfs.fuse.control import not_served as not_served
from artfs.fuse.daemon import Daemon as Daemon
from artfs.fuse.daemon import launch_daemon as launch_daemon
from artfs.fuse.daemon import start_daemon as start_daemon
from artfs.fuse.unmount import take_down as take_down
from artfs.fuse.unmount import unmount as unmount
