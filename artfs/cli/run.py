"""run: a program between versions it reads and versions it makes, without a line of it changed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from artfs.cli import exits
from artfs.cli.app import Settings
from artfs.cli.child import CannotStart, Foreground, Interrupted, foreground
from artfs.cli.conflicts import on_conflict_option
from artfs.cli.drafts import COMMIT_PATIENCE
from artfs.cli.runmounts import Mount, Mounts, mounts
from artfs.errors import ArtfsError, InvalidValue
from artfs.format.record import VersionRecord
from artfs.format.runs import RunArtifacts
from artfs.fuse.mounted import Message
from artfs.repo.links import source_of
from artfs.repo.recording import Recorder
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, RunKey, check_name
from artfs.vfs.draft.policy import REBASE
from artfs.vfs.draft.records import read_draft

#: Seconds between two times that what was opened is recorded, and for the mount to do it.
_EVERY, _PATIENCE = 30.0, 5.0
_VARIABLE = re.compile(r"[^A-Za-z0-9]")


class Input(msgspec.Struct, frozen=True):
    """A version that the command reads, on a directory of its own if it has one."""

    key: ArtifactKey
    version: VersionRecord
    directory: Path | None

    @property
    def ref(self) -> str:
        """ENTITY/PROJECT/NAME:vN."""
        key = self.key
        return f"{key.entity}/{key.project}/{key.name}:v{self.version.version}"


class Output(msgspec.Struct, frozen=True):
    """A directory of which a version of `key` is made; `base`: what is in it at first."""

    key: ArtifactKey
    base: VersionRecord | None
    directory: Path


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
@click.option("--input", "inputs", multiple=True, metavar="REF[=DIR]", help="A version it reads.")
@click.option("--output", "outputs", multiple=True, metavar="REF=DIR", help="A version it makes.")
@click.option("--files", is_flag=True, help="Record which files it opens, not only versions.")
@click.option("--type", "type_", default="", metavar="T", help="Type of artifacts that are new.")
@click.option("--name", default="", metavar="N", help="Name of the run.")
@click.option("--group", default="", metavar="G", help="Group of the run.")
@click.option("--job-type", default="", metavar="J", help="What the run does, in a word.")
@on_conflict_option(REBASE)
@click.pass_context
def run(
    ctx: click.Context,
    command: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    files: bool,
    type_: str,
    name: str,
    group: str,
    job_type: str,
    on_conflict: str,
) -> None:
    """Run a program between versions that it reads and makes.

    What it opens in the mounts that it gets is recorded; what it writes becomes versions if it
    exits with 0.
    """
    settings: Settings = ctx.obj
    if type_:
        check_name(type_, "type")
    with settings.repository() as repository:
        plan = _Plan(settings, repository, inputs, outputs)
        key = RunKey(*settings.project, secrets.token_hex(6))
        recorder = Recorder(
            repository.runs, key, name=name, group=group, job_type=job_type, command=list(command)
        )
        draft_options = ["--type", type_] if type_ else []
        draft_options += ["--on-conflict", on_conflict]
        done = _Done(settings, key)
        status, is_recorded = exits.FAILED, False
        with foreground() as front:
            try:
                front.attend(lambda: plan.record_bases(recorder))
                with _mounted(settings, plan, key, draft_options, files) as stage:
                    try:
                        status = _run(front, stage, plan, command, done)
                    except Interrupted:  # said now: it may take long to unmount
                        settings.say("interrupted; artfs drafts lists what was not committed")
                        raise
            except Interrupted as signal:
                status = signal.status
            finally:
                try:
                    is_recorded = front.attend(lambda: recorder.end(status))
                except Interrupted as signal:
                    status = signal.status
        # A store that does not answer is not asked again: that takes as long as the last time.
        done.is_unsure = done.is_unsure or not is_recorded
        done.tell(repository, plan, status)
    ctx.exit(status)


class _Plan:
    """What the options say, checked against the store. Raises `InvalidValue`, `NotFound`."""

    def __init__(
        self, settings: Settings, repository: Repository, inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:  # fmt: skip
        self.project = settings.project
        self.inputs = [self._input(settings, repository, text) for text in inputs]
        self.outputs = [self._output(settings, repository, text) for text in outputs]
        for what, keys in (
            ("--input", [one.key for one in self.inputs if one.directory is None]),
            ("--output", [one.key for one in self.outputs]),
        ):
            for key in keys:
                if keys.count(key) > 1:
                    raise InvalidValue(f"{what} {key}", "is given twice")

    def _input(self, settings: Settings, repository: Repository, text: str) -> Input:
        ref_text, _, directory = text.partition("=")
        ref = settings.ref(ref_text)
        version = repository.catalog.resolve(ref)
        return Input(ref.artifact, version, Path(directory).absolute() if directory else None)

    def _output(self, settings: Settings, repository: Repository, text: str) -> Output:
        ref_text, _, directory = text.partition("=")
        if not directory:
            raise InvalidValue(f"--output {text}", "is not of the form REF=DIR")
        path = Path(directory).absolute()
        if ":" not in ref_text and "@" not in ref_text:
            return Output(settings.artifact(ref_text), None, path)
        ref = settings.ref(ref_text)
        found = source_of(repository, ref.artifact, repository.catalog.resolve(ref))
        return Output(*found, path)

    def record_bases(self, recorder: Recorder) -> None:
        """Record that there is a run, and what its outputs are made from."""
        for output in self.outputs:
            if output.base is not None:
                recorder.used(output.key, output.base, "base")
        recorder.begin()

    def needs_mount(self, one: Input) -> bool:
        """Whether an input is not to be had in the mount of the project."""
        key = one.key
        return one.directory is not None or (key.entity, key.project) != self.project


class _Stage(msgspec.Struct, frozen=True):
    """Everything is mounted: `project`, the inputs that need mounts of their own, the outputs."""

    project: Path
    readers: list[Mount]
    drafts: list[Mount]
    input_paths: list[Path]
    environment: dict[str, str]


@contextlib.contextmanager
def _mounted(
    settings: Settings, plan: _Plan, key: RunKey, draft_options: list[str], files: bool
) -> Iterator[_Stage]:
    tell = ["--tell", str(key), *(["--tell-files"] if files else [])]
    # Not TemporaryDirectory, which descends into what cannot be unmounted, and removes it.
    temporary = Path(tempfile.mkdtemp(prefix="artfs-run-"))
    project = temporary / "project"
    readers, paths = [(project, ["mount", str(project), *tell])], []
    for number, one in enumerate(plan.inputs):
        path = project / one.key.name / f"v{one.version.version}"
        if plan.needs_mount(one):
            path = one.directory or temporary / f"input-{number}"
            readers.append((path, ["mount", one.ref, str(path), *tell]))
        paths.append(path)
    drafts = [
        (one.directory, _draft_command(one, [*draft_options, "--run", str(key)]))
        for one in plan.outputs
    ]
    try:
        with mounts(settings) as made:
            yield _staged(settings, plan, key, made, readers, drafts, paths)
    finally:
        with contextlib.suppress(OSError):
            temporary.rmdir()


def _staged(
    settings: Settings, plan: _Plan, key: RunKey, made: Mounts,
    readers: list[tuple[Path, list[str]]], drafts: list[tuple[Path, list[str]]], paths: list[Path],
) -> _Stage:  # fmt: skip
    started = made.start([*readers, *drafts])
    environment = {
        **os.environ, "ARTFS_STORE": settings.store_url, "ARTFS_PROJECT": "/".join(plan.project),
        "ARTFS_RUN": str(key), "ARTFS_MOUNT": str(readers[0][0]),
    }  # fmt: skip
    for one, path in zip(plan.inputs, paths, strict=True):
        environment[_variable("INPUT", one.key)] = str(path)
    for output in plan.outputs:
        environment[_variable("OUTPUT", output.key)] = str(output.directory)
    count = len(readers)
    return _Stage(readers[0][0], started[:count], started[count:], paths, environment)


def _variable(kind: str, key: ArtifactKey) -> str:
    return f"ARTFS_{kind}_{_VARIABLE.sub('_', key.name).upper()}"


def _draft_command(one: Output, options: list[str]) -> list[str]:
    name = f"{one.key.entity}/{one.key.project}/{one.key.name}"
    ref = [name, str(one.directory), "--new"]
    if one.base is not None:
        ref = [f"{name}:v{one.base.version}", str(one.directory)]
    return ["draft", *ref, "--commit-on", "never", *options]


def _run(front: Foreground, stage: _Stage, plan: _Plan, command: Sequence[str], done: _Done) -> int:
    def record(do: str, patience: float) -> None:
        for mount in stage.readers:
            mount.ask({"do": do}, patience)

    def tick() -> None:
        with contextlib.suppress(ArtfsError):  # it is tried again, and at the end told
            record("record", _PATIENCE)

    try:
        status = front.run(_filled(command, stage, plan), stage.environment, _EVERY, tick)
    except (CannotStart, Interrupted) as error:
        for draft in stage.drafts:
            draft.discard()
        if isinstance(error, Interrupted):
            raise
        done.complain(f"{command[0]}: {error}")
        return error.status
    # Before a version is made that may have come from it; if that fails, none is made.
    unrecorded = 0
    try:
        front.attend(lambda: record("record all", COMMIT_PATIENCE))
    except ArtfsError as error:
        done.is_unsure = True
        done.complain(f"what was opened is not recorded: {error}")
        unrecorded = exits.status_of(error) if stage.drafts else 0
    failed = [
        done.finish(front, draft, output, commit=not status and not unrecorded)
        for draft, output in zip(stage.drafts, plan.outputs, strict=True)
    ]
    return status or unrecorded or next((each for each in failed if each), 0)


def _filled(command: Sequence[str], stage: _Stage, plan: _Plan) -> list[str]:
    """The command with paths in the places of `{input:NAME}` and `{output:NAME}`."""
    places = {f"{{output:{one.key.name}}}": str(one.directory) for one in plan.outputs}
    for one, path in zip(plan.inputs, stage.input_paths, strict=True):
        places[f"{{input:{one.key.name}}}"] = str(path)
    filled = list(command)
    for place, text in places.items():
        filled = [argument.replace(place, text) for argument in filled]
    return filled


class _Done:
    """What has come of a run: for people as soon as it is known, and as a document at the end.
    `is_unsure`: nobody knows what it has opened."""

    def __init__(self, settings: Settings, key: RunKey) -> None:
        self.is_unsure = False
        self._settings = settings
        self._key = key
        self._versions: list[dict[str, object]] = []
        self._drafts: list[dict[str, object]] = []

    def complain(self, line: str) -> None:
        """Something is not as it should be: that is said to those who want quiet, too."""
        click.echo(f"artfs: {line}", err=True)

    def finish(self, front: Foreground, draft: Mount, output: Output, *, commit: bool) -> int:
        """Commit a draft, or keep it if there is anything in it. Returns an exit status, not 0 if
        it could not be committed.

        Raises `Interrupted`."""
        about, failed = draft.about, 0
        if commit:
            stop = {"do": "stop", "mode": "commit"}
            try:
                if _is_empty(draft, output):
                    draft.discard()
                    self._made_nothing(output)
                    return 0
                answer = front.attend(lambda: draft.ask(stop, COMMIT_PATIENCE))
                self._end(draft)
                record = read_draft(self._settings.state, str(about["draft"]))
                if record.error:
                    raise ArtfsError(f"draft {record.id}", record.error)
            except (ArtfsError, OSError) as error:
                self.complain(str(error))
                failed = exits.status_of(error) if isinstance(error, ArtfsError) else exits.FAILED
            else:
                self._committed(output, {**answer, "version": record.base})
                return 0
        self._kept(draft, output)
        return failed

    def _end(self, draft: Mount) -> None:
        if not draft.end(COMMIT_PATIENCE):
            self.complain(f"{draft.path}: was in use by programs that the command left behind")

    def _committed(self, output: Output, answer: Message) -> None:
        version = int(answer["version"])
        for path in answer["left_out"]:
            self._settings.say(f"left out, as no version can hold it: {path}")
        if version < 0:  # what was there has been removed this moment
            self._made_nothing(output)
            return
        if answer["onto"] is not None:
            self._settings.say(f"put on v{answer['onto']}, which others had made meanwhile")
        changed, name = bool(answer["changed"]), self._settings.named(output.key)
        self._settings.say(f"{name}:v{version}" + ("" if changed else " (unchanged)"))
        self._versions.append({"artifact": name, "version": f"v{version}", "changed": changed})

    def _made_nothing(self, output: Output) -> None:
        name = self._settings.named(output.key)
        self._settings.say(f"{name}: nothing was written")
        self._versions.append({"artifact": name, "version": None, "changed": False})

    def _kept(self, draft: Mount, output: Output) -> None:
        about = draft.about
        with contextlib.suppress(ArtfsError, OSError):  # then it is kept: nothing is lost
            if _is_empty(draft, output):
                draft.discard()
                return
            draft.ask({"do": "stop", "mode": "keep"})
        name = self._settings.named(output.key)
        self._drafts.append({"artifact": name, "draft": about["draft"]})
        self._settings.say(
            f"draft {about['draft']} of {name} is kept:"
            f" artfs draft --resume {about['draft']} MNT goes on with it,"
            f" artfs drafts --discard {about['draft']} deletes it"
        )

    def tell(self, repository: Repository, plan: _Plan, status: int) -> None:
        """Say what was not opened, and print the document."""
        found: RunArtifacts | None = None
        if not self.is_unsure:
            try:
                found = repository.runs.artifacts(self._key)
            except ArtfsError as error:
                self.complain(f"what was opened cannot be told: {error}")
        if found is not None:
            self._tell_unopened(found, plan)
        self._settings.result(
            "",
            {
                "run": str(self._key), "exit": status,
                "inputs": None if found is None else [
                    {"artifact": i.artifact, "version": f"v{i.version}", "use_as": i.use_as}
                    for i in found.inputs
                ],
                "outputs": self._versions, "drafts": self._drafts,
            },
        )  # fmt: skip

    def _tell_unopened(self, found: RunArtifacts, plan: _Plan) -> None:
        opened = {(one.artifact, one.version) for one in found.inputs}
        for one in plan.inputs:
            source = one.version.source
            key, number = one.key, one.version.version
            if source is not None:
                key, number = source.key, source.version
            if (f"{key.entity}/{key.project}/{key.name}", number) not in opened:
                shown = self._settings.named(one.key, one.version.version)
                self._settings.say(f"{shown} was not opened")


def _is_empty(draft: Mount, output: Output) -> bool:
    """Whether a draft over nothing has nothing in it: no version is made of it. Not that of one
    whose daemon is gone. Raises `OSError`."""
    return output.base is None and not os.listdir(draft.path)
