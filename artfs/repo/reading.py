"""A version's tree for synchronous callers: the API, the command line, threads of a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from artfs.errors import Damaged, NotFound
from artfs.format import walk
from artfs.format.build import Steps
from artfs.repo.blobs import Blobs, neighbours
from artfs.types import Entry, path_shown

T = TypeVar("T")

#: Bytes that are fetched ahead of who reads a file of a remote store.
_AHEAD = 96 << 20


def drive(steps: Steps[T], blobs: Blobs) -> T:
    """Run a traversal to its end, fetching each node it asks for."""
    try:
        ref = next(steps)
        while True:
            ref = steps.send(blobs.node(ref))
    except StopIteration as end:
        result: T = end.value
        return result


def children(directory: Entry, blobs: Blobs) -> Iterator[Entry]:
    """A directory's entries in name order, read as they are asked for."""
    after = b""
    while entries := drive(walk.page_by_name(directory, after), blobs):
        yield from entries
        after = entries[-1].name


def entries(root: Entry, blobs: Blobs, prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Every path below a directory with its entry: a directory first, then what is in it."""
    below = [(prefix, children(root, blobs))]  # no recursion: paths may be 2,000 directories deep
    while below:
        prefix, found = below[-1]
        for entry in found:
            path = prefix + entry.name
            yield path, entry
            if entry.is_dir:
                below.append((path + b"/", children(entry, blobs)))
                break
        else:
            below.pop()


def resolve(root: Entry, path: bytes, blobs: Blobs, what: str = "") -> Entry:
    """The entry at a path. Raises `NotFound`, naming `what` (a ref) and the path."""
    entry = drive(walk.resolve(root, path), blobs)
    if entry is None:
        shown = path_shown(path)
        hint = f"artfs ls {what} lists what there is" if what else ""
        raise NotFound(f"{what}/{shown}" if what else shown, "no such path in this version", hint)
    return entry


def content(
    file: Entry, blobs: Blobs, offset: int = 0, length: int | None = None
) -> Iterator[bytes]:
    """A file's bytes [offset, offset+length), in pieces, chunk by chunk.

    Raises `Damaged` naming the file; `ObjectNotFound`; `Unreachable`.
    """
    end = file.size if length is None else min(file.size, offset + length)
    position = offset
    while position < end:
        if blobs.is_remote:
            _expect(file, blobs, position, min(end - position, _AHEAD))
        for start, ref in drive(walk.chunks(file, position, min(end - position, 16 << 20)), blobs):
            try:
                data = blobs.read(ref)
            except Damaged as error:
                raise Damaged(path_shown(file.name), str(error), error.hint) from error
            piece = data[max(0, position - start) : end - start]
            position += len(piece)
            yield piece


def _expect(file: Entry, blobs: Blobs, offset: int, length: int) -> None:
    """Have a part of a file that is about to be read fetched at once."""
    refs = [ref for _, ref in drive(walk.chunks(file, offset, length), blobs)]
    for run in neighbours(refs) if refs else ():
        if file.height == 0:  # a small file, read whole: those around it are likely to be next
            blobs.reader(run[0].pack).expect_all()
        else:
            blobs.prefetch(run[0], run[-1].offset + run[-1].stored - run[0].offset)


def chunks_at(file: Entry, blobs: Blobs, offset: int, length: int) -> tuple[int, bytes]:
    """The whole chunks that hold bytes [offset, offset+length) of a file, one after the other, and
    the offset of the first; neighbours in a pack are read at once.

    Raises `Damaged`, `ObjectNotFound`, `Unreachable`.
    """
    pieces = drive(walk.chunks(file, offset, length), blobs)
    if not pieces:
        return offset, b""
    parts = [blobs.span(run) for run in neighbours([ref for _, ref in pieces])]
    return pieces[0][0], parts[0] if len(parts) == 1 else b"".join(parts)
