"""A filesystem as plain Python objects: what a draft must look like after any operations."""

from __future__ import annotations

from artfs.vfs.errors import (
    Exists,
    FileSystemError,
    IsADirectory,
    NoEntry,
    NotADirectory,
    NotEmpty,
    NotPermitted,
)
from tests.unit.draft.drafts import Listing, Node

NOREPLACE, EXCHANGE = 1, 2


class File:
    def __init__(self, data: bytes = b"", mode: int = 0o644) -> None:
        self.data = bytearray(data)
        self.mode = mode


class Link:
    def __init__(self, target: bytes) -> None:
        self.target = target


class Fifo:
    mode = 0o644


class Dir:
    def __init__(self, mode: int = 0o755) -> None:
        self.mode = mode
        self.children: dict[bytes, Thing] = {}


Thing = File | Link | Fifo | Dir


class Reference:
    """Operations raise what the draft must raise."""

    def __init__(self, tree: Listing) -> None:
        self.root = Dir()
        for path, node in sorted(tree.items()):
            things: dict[str, Thing] = {
                "d": Dir(node.mode), "l": Link(node.data), "f": File(node.data, node.mode)
            }  # fmt: skip
            parent, name = self._place(path)
            parent.children[name] = things[node.kind]

    def get(self, path: bytes) -> Thing:
        thing: Thing = self.root
        for name in filter(None, path.split(b"/")):
            if not isinstance(thing, Dir):
                raise NotADirectory
            if name not in thing.children:
                raise NoEntry
            thing = thing.children[name]
        return thing

    def _place(self, path: bytes) -> tuple[Dir, bytes]:
        parent, _, name = path.rpartition(b"/")
        directory = self.get(parent)
        if not isinstance(directory, Dir):
            raise NotADirectory
        return directory, name

    def _add(self, path: bytes, thing: Thing) -> None:
        parent, name = self._place(path)
        if name in parent.children:
            raise Exists
        parent.children[name] = thing

    def file(self, path: bytes) -> File:
        thing = self.get(path)
        if isinstance(thing, Dir):
            raise IsADirectory
        if not isinstance(thing, File):
            raise FileSystemError("not tried")
        return thing

    def create(self, path: bytes, mode: int) -> None:
        self._add(path, File(mode=mode))

    def mkdir(self, path: bytes) -> None:
        self._add(path, Dir())

    def symlink(self, target: bytes, path: bytes) -> None:
        self._add(path, Link(target))

    def mknod(self, path: bytes) -> None:
        self._add(path, Fifo())

    def link(self, old: bytes, new: bytes) -> None:
        thing = self.get(old)
        self._place(new)
        if isinstance(thing, Dir):
            raise NotPermitted
        self._add(new, thing)

    def write(self, path: bytes, offset: int, data: bytes) -> None:
        content = self.file(path).data
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data

    def truncate(self, path: bytes, size: int) -> None:
        content = self.file(path).data
        del content[size:]
        content.extend(bytes(size - len(content)))

    def chmod(self, path: bytes, mode: int) -> None:
        thing = self.get(path)
        if not isinstance(thing, File | Dir):
            raise FileSystemError("not tried")
        thing.mode = mode

    def unlink(self, path: bytes) -> None:
        parent, name = self._place(path)
        if isinstance(self.get(path), Dir):
            raise IsADirectory
        del parent.children[name]

    def rmdir(self, path: bytes) -> None:
        parent, name = self._place(path)
        thing = self.get(path)
        if not isinstance(thing, Dir):
            raise NotADirectory
        if thing.children:
            raise NotEmpty
        del parent.children[name]

    def rename(self, old: bytes, new: bytes, flags: int) -> None:
        parent, name = self._place(old)
        new_parent, new_name = self._place(new)
        source = self.get(old)
        target = new_parent.children.get(new_name)
        if target is source:
            if flags == NOREPLACE:
                raise Exists
            return
        self._check_rename(source, target, flags)
        if flags == EXCHANGE and target is not None:
            parent.children[name] = target
        else:
            del parent.children[name]
        new_parent.children[new_name] = source

    def _check_rename(self, source: Thing, target: Thing | None, flags: int) -> None:
        if target is None:
            if flags == EXCHANGE:
                raise NoEntry
        elif flags == NOREPLACE:
            raise Exists
        elif flags == EXCHANGE:
            return
        elif isinstance(target, Dir):
            if not isinstance(source, Dir):
                raise IsADirectory
            if target.children:
                raise NotEmpty
        elif isinstance(source, Dir):
            raise NotADirectory

    def listing(self, specials: bool = True) -> Listing:
        """All paths; without `specials`, what a version holds of it."""
        found: Listing = {}
        todo = [(b"", self.root)]
        while todo:
            prefix, directory = todo.pop()
            for name, thing in directory.children.items():
                path = prefix + name
                if isinstance(thing, Dir):
                    found[path] = Node("d", mode=thing.mode)
                    todo.append((path + b"/", thing))
                elif isinstance(thing, Link):
                    found[path] = Node("l", thing.target, 0o777)
                elif isinstance(thing, File):
                    found[path] = Node("f", bytes(thing.data), thing.mode)
                elif specials:
                    found[path] = Node("p", mode=thing.mode)
        return found
