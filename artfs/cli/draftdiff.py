"""`artfs diff MNT`: what changed in the files of a draft, as text."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from artfs.cli.app import Settings
from artfs.cli.drafts import COMMIT_PATIENCE, about_draft, change_line
from artfs.cli.output import PATCH_MAX, as_text
from artfs.format import walk
from artfs.fuse.mounted import Message, call
from artfs.repo.reading import content, drive
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind, parse_project


def draft_diff(settings: Settings, mountpoint: str, names_only: bool) -> None:
    """What changed in the files of the draft mounted there."""
    path = Path(mountpoint)
    about = about_draft(settings, path)
    found = call(settings.state, path, {"do": "diff"}, COMMIT_PATIENCE)
    settings.store_url = str(about["store"])
    settings.project = parse_project(str(about["project"]))
    lines: list[str] = []
    with settings.repository() as repository:
        root = None
        if found["base"] >= 0:
            key = settings.artifact(str(about["artifact"]))
            root = repository.catalog.version(key, found["base"]).root.entry()
        for change in found["changes"]:
            lines.append(change_line(change))
            if not names_only and not change["is_dir"]:
                lines += _text_change(repository, root, path, change)
    settings.result("\n".join(lines), found["changes"])


def _text_change(
    repository: Repository, root: Entry | None, mountpoint: Path, change: Message
) -> list[str]:
    name, old_name = str(change["path"]), str(change["old_path"] or change["path"])
    old = _base_text(repository, root, old_name) if change["change"] != "A" else ""
    new = _file_text(mountpoint / name) if change["change"] != "D" else ""
    if old is None or new is None:
        return []
    before, after = old.splitlines(), new.splitlines()
    return list(difflib.unified_diff(before, after, f"a/{old_name}", f"b/{name}", lineterm=""))


def _base_text(repository: Repository, root: Entry | None, name: str) -> str | None:
    if root is None:
        return None
    entry = drive(walk.resolve(root, os.fsencode(name)), repository.blobs)
    if entry is None or entry.kind != Kind.FILE or entry.size > PATCH_MAX:
        return None
    return as_text(b"".join(content(entry, repository.blobs)))


def _file_text(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > PATCH_MAX:
        return None
    return as_text(path.read_bytes())
