"""The process that serves a mount: what mount and draft do once they are the daemon.

Commands import this when they come to it, as it loads the event loop, the FUSE binding and the
whole of drafts: longer than most of them take to do what they do.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

from artfs.aio.fetch import Fetcher
from artfs.cli.app import Settings
from artfs.errors import ArtfsError, InUse, MountFailed, NotFound
from artfs.fuse.mount import (
    MountOptions,
    Parent,
    Report,
    check_mountpoint,
    forget_cached,
    mount_readonly,
    serve,
    write_back,
)
from artfs.fuse.mounted import Message
from artfs.repo.links import source_of
from artfs.repo.malloc import keep_freed_memory
from artfs.repo.repository import Repository
from artfs.types import Ref
from artfs.vfs.draft.control import control_handlers
from artfs.vfs.draft.state import Draft, create_draft, open_draft
from artfs.vfs.draft.tree import DraftTree


class DraftWanted(msgspec.Struct, frozen=True):
    """What `artfs draft` was asked for: draft `resume`, or else one over `ref`, which with `is_new`
    is an artifact's name and need not exist yet. `run`: whose versions its versions are."""

    ref: str | None
    resume: str | None
    is_new: bool
    type: str
    description: str
    run: str


def serve_versions(
    settings: Settings,
    ref: Ref | None,
    mountpoint: Path,
    options: MountOptions,
    report: Report | None,
) -> None:
    """Serve a version, or with `ref` None the project, until it is unmounted."""
    _begin_daemon(options.ready_fd)
    with _told(options.ready_fd):
        repository = settings.repository()
    with repository:
        mount_readonly(repository, settings.project, ref, mountpoint, options, report)


def serve_draft(
    settings: Settings,
    wanted: DraftWanted,
    mountpoint: Path,
    options: MountOptions,
    commit_on: str,
    on_conflict: str,
) -> None:
    """Open or make a draft, and serve it until it is unmounted."""
    _begin_daemon(options.ready_fd)
    with _told(options.ready_fd):
        repository = settings.repository()
        # Before a draft is made for a mount that cannot be.
        check_mountpoint(mountpoint, repository.store.directory)
        current = _opened(settings, repository, wanted)
    with repository:
        try:
            _serve(repository, current, mountpoint, options, commit_on, on_conflict)
        except (MountFailed, InUse, NotFound):
            if not wanted.resume:
                current.discard()  # it was never mounted: nothing is in it
            raise


def _begin_daemon(ready_fd: int | None) -> None:
    """What a process does first that is going to serve a mount."""
    keep_freed_memory()
    # Whoever starts us may have signals blocked; they are how a mount is ended.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if ready_fd is not None:
        # In the background all goes to the mount's own log, which is bounded.
        logging.getLogger().handlers.clear()


@contextlib.contextmanager
def _told(ready_fd: int | None) -> Iterator[None]:
    """What keeps a daemon from mounting is told to the parent that waits for it."""
    try:
        yield
    except Exception as error:
        Parent(ready_fd).failed(error)
        raise


def _opened(settings: Settings, repository: Repository, wanted: DraftWanted) -> Draft:
    if wanted.resume:
        return open_draft(settings.state, wanted.resume, repository)
    assert wanted.ref is not None  # the command line was checked
    words = wanted.description, wanted.run
    if wanted.is_new:
        key = settings.artifact(wanted.ref)
        if repository.catalog.newest_number(key) >= 0:
            repository.catalog.check_type(key, wanted.type)
        return create_draft(settings.state, repository, key, None, wanted.type, *words)
    parsed = settings.ref(wanted.ref)
    base = repository.catalog.resolve(parsed)
    key, base = source_of(repository, parsed.artifact, base)  # of a link, a draft of what it is
    return create_draft(settings.state, repository, key, base, "", *words)


def _serve(
    repository: Repository,
    current: Draft,
    mountpoint: Path,
    options: MountOptions,
    commit_on: str,
    on_conflict: str,
) -> None:
    record = current.record
    about: Message = {
        "store": record.store, "project": f"{record.entity}/{record.project}",
        "artifact": record.name, "draft": record.id, "commit_on": commit_on,
    }  # fmt: skip
    fetcher = Fetcher(repository.blobs, options.patience)
    tree = DraftTree(
        current, fetcher, os.geteuid(), os.getegid(), commit_on,
        on_conflict, functools.partial(write_back, mountpoint.absolute()),
        functools.partial(forget_cached, mountpoint.absolute()),
    )  # fmt: skip

    async def end() -> None:
        # Why a commit failed is logged, and in draft.json for `artfs drafts` to show.
        with contextlib.suppress(ArtfsError):
            await tree.finish()

    serve(
        tree, mountpoint, options, control_handlers(tree), end,
        about=about, store=repository.store.directory,
    )  # fmt: skip
