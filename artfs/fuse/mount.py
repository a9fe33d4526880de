"""Serving mounts: what the command line calls. `artfs.fuse.mounted` starts, asks and ends those of
other processes; everything else in this package is behind these two modules.

mount_readonly   versions, in the foreground, until unmounted
serve            the same for any tree, such as a draft
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import trio

from artfs.aio.fetch import Fetcher
from artfs.aio.references import ReferenceReads
from artfs.errors import ArtfsError, InUse, MountFailed, NotFound
from artfs.fuse import answering, control, daemon, mountinfo
from artfs.fuse.answering import Handlers
from artfs.fuse.control import Message
from artfs.fuse.daemon import Parent as Parent
from artfs.fuse.session import Session
from artfs.fuse.session import forget_cached as forget_cached
from artfs.fuse.session import write_back as write_back
from artfs.repo.malloc import keep_freed_memory
from artfs.repo.repository import Repository
from artfs.types import Ref, RunKey
from artfs.vfs.attributes import Owner
from artfs.vfs.catalog_tree import CatalogTree
from artfs.vfs.opened import OpenedTree, Telling
from artfs.vfs.remembering import Remembering, Version
from artfs.vfs.tree import Tree
from artfs.vfs.version_tree import VersionTree

log = logging.getLogger(__name__)

#: Of the time within which a change must show, how long an answer of the catalog is remembered,
#: and how long the kernel then believes it. The rest is for asking.
_SHARE = 0.4


class MountOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`refresh`: seconds until changes in the store show, by default the store's. `patience`:
    seconds that a request waits for a store that does not answer. `ready_fd`: where a parent waits,
    see `artfs.fuse.daemon`. `owner_fd`: a pipe; when nobody holds its other end any more, the mount
    ends."""

    state_dir: Path
    allow_other: bool = False
    refresh: float | None = None
    patience: float = 60.0
    writeback_cache: bool = False
    ready_fd: int | None = None
    owner_fd: int | None = None


class Report(msgspec.Struct, frozen=True):
    """The run that is told which versions are opened in a mount; with `files`, which files too."""

    run: RunKey
    files: bool


def mount_readonly(
    repository: Repository,
    project: tuple[str, str],
    ref: Ref | None,
    mountpoint: Path,
    options: MountOptions,
    report: Report | None = None,
) -> None:
    """Mount a version, or with `ref` None a project, and serve it until it is unmounted.

    The run of `report` is told at the end, and when the control socket is
    asked for `record` (versions only) or `record all`.
    Raises `NotFound`, `InUse`, `MountFailed`, `Unreachable`, `Damaged`; before it mounts.
    """
    with _told(options):
        tree, versions = readonly_trees(repository, project, ref, options, report)
    about: Message = {
        "store": repository.store.url,
        "project": "/".join(project),
        "ref": None if ref is None else str(ref),
    }
    store = repository.store.directory
    if report is None or not isinstance(versions, OpenedTree):
        serve(tree, mountpoint, options, about=about, store=store)
        return
    telling = Telling(versions, repository, report.run)

    async def end() -> None:
        try:
            await telling.all({})
        except (ArtfsError, OSError):
            log.exception("run %s is not told of what was opened", report.run)

    handlers: Handlers = {"record": telling.versions, "record all": telling.all}
    serve(tree, mountpoint, options, handlers, end, about=about, store=store)


def readonly_trees(
    repository: Repository,
    project: tuple[str, str],
    ref: Ref | None,
    options: MountOptions,
    report: Report | None = None,
) -> tuple[Tree, VersionTree]:
    """The tree of a version, or of a project, and that of the versions in it."""
    owner = Owner(os.geteuid(), os.getegid())
    refresh = repository.store.refresh if options.refresh is None else options.refresh
    seconds = refresh * _SHARE
    fetcher = Fetcher(repository.blobs, options.patience)
    catalog = Remembering(repository.catalog, seconds, options.patience)
    references = ReferenceReads(repository.references, options.patience)
    if report is None:
        versions = VersionTree(fetcher, catalog, owner, references)
    else:
        versions = OpenedTree(fetcher, catalog, owner, references, with_files=report.files)
    if ref is None:
        return CatalogTree(versions, catalog, project, owner, seconds), versions
    record = repository.catalog.resolve(ref)
    versions.pin(Version(ref.artifact, record.version, record.root.entry()))
    return versions, versions


def serve(
    tree: Tree,
    mountpoint: Path,
    options: MountOptions,
    control_handlers: Handlers | None = None,
    on_unmount: Callable[[], Awaitable[None]] | None = None,
    *,
    about: Message | None = None,
    store: str | None = None,
) -> None:
    """Mount a tree and serve it until it is unmounted; then run `on_unmount`, and close the tree.

    The control socket answers `status`, `stop` and `control_handlers` until `on_unmount` is done.
    `about` goes into mount.json; `store` is the store's directory. Raises `NotFound`, `InUse`,
    `MountFailed` if it cannot mount.
    """
    parent = Parent(options.ready_fd)
    mount_id = uuid.uuid4().hex[:12]
    try:
        check_mountpoint(mountpoint, store)
        mountpoint = Path(mountinfo.location(mountpoint))
        log_file = daemon.log_to(options.state_dir / "log", mount_id)
        description: Message = {
            **(about or {}),
            "id": mount_id,
            "pid": os.getpid(),
            "mountpoint": str(mountpoint),
            "log": str(log_file),
            "socket": control.SOCKET,
        }
        session = Session(
            tree,
            mountpoint,
            mount_id,
            writeback_cache=options.writeback_cache,
            owner_fd=options.owner_fd,
        )
    except Exception as error:
        parent.failed(error)
        raise

    async def status(_: Message) -> Message:
        return description

    handlers: Handlers = {"status": status, **(control_handlers or {})}
    keep_freed_memory()
    with _directory(options.state_dir, mount_id, description) as directory:
        _run(session, directory, handlers, on_unmount, options, parent, description)


def _run(
    session: Session,
    directory: Path,
    handlers: Handlers,
    on_unmount: Callable[[], Awaitable[None]] | None,
    options: MountOptions,
    parent: Parent,
    description: Message,
) -> None:
    with answering.listening(directory) as listener:
        try:
            session.mount(allow_other=options.allow_other)
        except Exception as error:
            parent.failed(error)
            raise
        log.info("mounted on %s", description["mountpoint"])
        try:
            trio.run(session.run, listener, handlers, lambda: parent.ready(description), on_unmount)
        except BaseException:
            log.exception("the mount ends by a fault")
            session.close()
            raise
        log.info("unmounted")


@contextlib.contextmanager
def _told(options: MountOptions) -> Iterator[None]:
    """What goes wrong in here is told to the parent too."""
    try:
        yield
    except Exception as error:
        Parent(options.ready_fd).failed(error)
        raise


@contextlib.contextmanager
def _directory(state_dir: Path, mount_id: str, description: Message) -> Iterator[Path]:
    """The mount's directory with its mount.json, gone again at the end; SIGKILL leaves it."""
    directory = control.mount_directory(state_dir, mount_id)
    directory.mkdir(parents=True, mode=0o700)
    (directory / "mount.json").write_bytes(control.encode(description))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def check_mountpoint(mountpoint: Path, store: str | None = None) -> None:
    """Raise `NotFound`, `InUse` or `MountFailed` unless a path is an empty directory of its own.

    A mount over the directory `store`, or within it, would wait for itself.
    """
    shown = str(mountpoint)
    mount = mountinfo.mount_at(mountpoint)
    if mount is None and os.path.islink(mountpoint):
        mount = mountinfo.mount_at(Path(os.path.realpath(mountpoint)))
    if mount is not None and mount.mount_id is not None:
        hint = f"artfs umount '{shown}' ends that mount, or clears it if its daemon has died"
        raise InUse(shown, "artfs is mounted there already", hint)
    try:
        if not stat.S_ISDIR(os.stat(mountpoint).st_mode):
            raise MountFailed(shown, "is not a directory")
        empty = not os.listdir(mountpoint)
    except FileNotFoundError:
        raise NotFound(shown, "no such directory", f"mkdir '{shown}' makes it") from None
    except OSError as error:
        raise MountFailed(shown, error.strerror or str(error)) from error
    if mount is not None:
        raise InUse(shown, f"{mount.fstype} is mounted there")
    if not empty:
        raise MountFailed(shown, "is not empty", "mount on an empty directory")
    real, base = Path(os.path.realpath(mountpoint)), Path(os.path.realpath(store or "/"))
    if store and (real.is_relative_to(base) or base.is_relative_to(real)):
        raise MountFailed(shown, f"overlaps the store {store}")
