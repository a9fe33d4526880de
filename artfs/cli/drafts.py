"""draft, drafts, sync, status: edit versions with ordinary tools."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from artfs.cli.app import Settings
from artfs.cli.conflicts import on_conflict_option
from artfs.cli.mounts import background
from artfs.cli.output import age_text, size_text
from artfs.errors import ArtfsError, InvalidValue, Unreachable
from artfs.fuse.mounted import Message, call, describe, not_served, unmount
from artfs.types import ArtifactKey, check_name, parse_artifact, parse_project
from artfs.vfs.draft.policy import REBASE
from artfs.vfs.draft.records import discard_draft, list_drafts, read_draft

#: A commit may upload for as long as this; the daemon goes on even if the command gives up.
COMMIT_PATIENCE = 24 * 3600.0
_COMMIT_ON = {"both": "unmount,sync", "sync": "sync", "unmount": "unmount", "never": ""}


@click.command()
@click.argument("where", nargs=-1, required=True, metavar="[REF] MNT")
@click.option("--new", is_flag=True, help="Start from nothing; REF is the artifact's name.")
@click.option("--type", "type_", default="", metavar="T", help="Type of a new artifact.")
@click.option("--resume", metavar="ID", help="Go on with a draft that is there; no REF.")
@click.option("--commit-on", type=click.Choice(list(_COMMIT_ON)), default="both", show_default=True)
@on_conflict_option(REBASE)
@click.option("--description", default="", metavar="D", help="Of the version to be.")
@click.option("--allow-other", is_flag=True, help="Let other users in.")
@click.option("--foreground", is_flag=True, help="Stay; log to standard error.")
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--owner-fd", type=int, hidden=True)
@click.option("--run", metavar="RUN", default="", hidden=True)
@click.pass_obj
def draft(
    settings: Settings,
    where: tuple[str, ...],
    new: bool,
    type_: str,
    resume: str | None,
    commit_on: str,
    on_conflict: str,
    description: str,
    allow_other: bool,
    foreground: bool,
    ready_fd: int | None,
    owner_fd: int | None,
    run: str,
) -> None:
    """Mount a draft over the version REF on the directory MNT."""
    if len(where) != (1 if resume else 2):
        raise click.UsageError("takes REF MNT, or --resume ID MNT")
    if resume and new:
        raise click.UsageError("--new and --resume exclude each other")
    if type_:
        check_name(type_, "type")
    ref, mountpoint = (None, *where)[-2:]
    assert mountpoint is not None  # `where` is not empty
    if ref is not None:
        # What is no ref at all is said here, and not by a daemon.
        _ = settings.artifact(ref) if new else settings.ref(ref)
    if not foreground:
        command = ["draft", *([ref] if ref else []), str(Path(mountpoint).absolute())]
        command += ["--new"] if new else []
        command += ["--type", type_] if type_ else []
        command += ["--resume", resume] if resume else []
        command += ["--commit-on", commit_on, "--on-conflict", on_conflict]
        command += ["--description", description]
        command += ["--allow-other"] if allow_other else []
        if resume:
            settings.store_url = read_draft(settings.state, resume).store
        ready = background(settings, command, mountpoint)
        settings.say(f"draft {ready['draft']} of {_artifact(settings, ready)} on {mountpoint}")
        settings.result("", ready)
        return
    from artfs.cli.serving import DraftWanted, serve_draft
    from artfs.fuse.mount import MountOptions

    wanted = DraftWanted(ref, resume, new, type_, description, run)
    options = MountOptions(
        state_dir=settings.state, allow_other=allow_other, ready_fd=ready_fd, owner_fd=owner_fd
    )
    serve_draft(settings, wanted, Path(mountpoint), options, _COMMIT_ON[commit_on], on_conflict)


def end_draft(
    settings: Settings, mountpoint: Path, about: Message, ending: str | None,
    on_conflict: str | None,
) -> None:  # fmt: skip
    """Unmount a draft: commit, keep or discard it; print what became of it."""
    commits = ending is None and "unmount" in str(about["commit_on"])
    mode = ending or ("commit" if commits else "keep")
    try:
        request = {"do": "stop", "mode": mode, "on_conflict": on_conflict}
        answer = call(settings.state, mountpoint, request, COMMIT_PATIENCE)
    except Unreachable:
        unmount(settings.state, mountpoint)
        raise Unreachable(
            str(mountpoint), "its daemon is gone; the mount is cleared and the draft kept",
            f"artfs draft --resume {about['draft']} MNT goes on with it",
        ) from None  # fmt: skip
    try:
        unmount(settings.state, mountpoint, COMMIT_PATIENCE)
    except BaseException:
        # It is in use, and so it stays: people go on working in it.
        with contextlib.suppress(ArtfsError):
            call(settings.state, mountpoint, {"do": "stop", "mode": "stay"})
        raise
    if mode == "discard":
        settings.result("discarded", {"draft": about["draft"], "discarded": True})
        return
    record = read_draft(settings.state, str(about["draft"]))
    if mode == "keep":
        settings.result(f"draft {record.id} kept", {"draft": record.id, "kept": True})
        return
    if record.error:
        raise ArtfsError(f"draft {record.id}", record.error, "artfs drafts shows it")
    _print_version(settings, _artifact(settings, about), {**answer, "version": record.base})


def _artifact(settings: Settings, about: Message) -> str:
    """Of what a mount says that it is a draft."""
    return settings.named(parse_artifact(str(about["artifact"]), parse_project(about["project"])))


def _print_version(settings: Settings, name: str, answer: Message) -> None:
    for path in answer.get("left_out", []):
        settings.say(f"left out, as no version can hold it: {path}")
    if answer.get("onto") is not None:
        settings.say(f"put on v{answer['onto']}, which others had made meanwhile")
    version = answer["version"]
    changed = bool(answer["changed"])
    if version is None or int(version) < 0:
        settings.result("unchanged", {"artifact": name, "version": None, "changed": False})
        return
    text = f"{name}:v{version}" + ("" if changed else " (unchanged)")
    settings.result(text, {"artifact": name, "version": f"v{version}", "changed": changed})


@click.command()
@click.argument("mountpoint", metavar="MNT")
@click.option("--description", metavar="D", help="Of the version.")
@on_conflict_option()
@click.pass_obj
def sync(
    settings: Settings, mountpoint: str, description: str | None, on_conflict: str | None
) -> None:
    """Commit the draft mounted on MNT and go on; prints the version."""
    path = Path(mountpoint)
    about = about_draft(settings, path)
    request = {"do": "sync", "description": description, "on_conflict": on_conflict}
    answer = call(settings.state, path, request, COMMIT_PATIENCE)
    name = _artifact(settings, about)
    if not answer["changed"]:
        answer_text = "unchanged"
        for left in answer["left_out"]:
            settings.say(f"left out, as no version can hold it: {left}")
        settings.result(answer_text, {"artifact": name, "changed": False})
        return
    _print_version(settings, name, answer)


def about_draft(settings: Settings, mountpoint: Path) -> Message:
    """What the mount of a draft says of itself. Raises `NotFound`, `InvalidValue` of any other."""
    about = describe(settings.state, mountpoint)
    if about is None:
        raise not_served(str(mountpoint))
    if "draft" not in about:
        raise InvalidValue(str(mountpoint), "is a read-only mount, not a draft")
    return about


@click.command()
@click.argument("mountpoint", metavar="MNT")
@click.pass_obj
def status(settings: Settings, mountpoint: str) -> None:
    """What a draft has changed since its base.

    A added, M modified, D deleted, R renamed, ? left out.
    """
    path = Path(mountpoint)
    about_draft(settings, path)
    found = call(settings.state, path, {"do": "status"}, COMMIT_PATIENCE)
    base = f"v{found['base']}" if found["base"] >= 0 else "nothing"
    lines = [f"draft {found['draft']} of {found['artifact']} over {base}"]
    if found["newest"] is not None and found["newest"] > found["base"]:
        lines.append(f"{found['artifact']} has moved on to v{found['newest']}")
    lines += [change_line(change) for change in found["changes"]]
    lines += [f"? {left}  (left out: no version can hold it)" for left in found["left_out"]]
    count = len(found["changes"])
    changes = "1 change" if count == 1 else f"{count} changes"
    lines.append(f"{changes}, {size_text(found['bytes'])} written")
    if found["error"]:
        lines.append(f"last commit failed: {found['error']}")
    settings.result("\n".join(lines), found)


def change_line(change: Message) -> str:
    """A changed path for people, as `status` of the daemon gives it."""
    slash = "/" if change["is_dir"] else ""
    origin = f"{change['old_path']}{slash} -> " if change["change"] == "R" else ""
    return f"{change['change']} {origin}{change['path']}{slash}\t{size_text(change['size'])}"


@click.command()
@click.option("--discard", "unwanted", multiple=True, metavar="ID", help="Delete this draft.")
@click.pass_obj
def drafts(settings: Settings, unwanted: tuple[str, ...]) -> None:
    """List all drafts, or discard some.

    Columns: id, artifact, base, age, size on disk, state, last error.
    """
    for draft_id in unwanted:
        discard_draft(settings.state, draft_id)
    rows, lines = [], []
    for info in list_drafts(settings.state):
        record = info.record
        name = settings.named(ArtifactKey(record.entity, record.project, record.name))
        base = f"v{record.base}" if record.base >= 0 else "-"
        rows.append(
            {
                "draft": record.id, "artifact": name, "base": base, "age": info.age,
                "size": info.size, "state": info.state, "error": record.error or None,
            }
        )  # fmt: skip
        error = f"\t{record.error}" if record.error else ""
        lines.append(
            f"{record.id}\t{name}\t{base}\t{age_text(info.age)}"
            f"\t{size_text(info.size)}\t{info.state}{error}"
        )
    settings.result("\n".join(lines), rows)
