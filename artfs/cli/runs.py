"""runs: which programs used and made versions."""

from __future__ import annotations

import json
import shlex

import click

from artfs.cli.app import Settings
from artfs.cli.graphs import title_of
from artfs.cli.output import one_line, path_text
from artfs.errors import NotFound
from artfs.format.runs import Input, Output, RunRecord, decode_files
from artfs.repo.opened import opened_paths
from artfs.repo.repository import Repository
from artfs.repo.runs import state_of
from artfs.types import RunKey, parse_run


@click.command()
@click.argument("run_id", required=False, metavar="[ID]")
@click.pass_obj
def runs(settings: Settings, run_id: str | None) -> None:
    """List the project's runs, or everything known of one."""
    with settings.repository() as repository:
        if run_id is None:
            _list(settings, repository)
        else:
            _show(settings, repository, parse_run(run_id, settings.project))


def _list(settings: Settings, repository: Repository) -> None:
    found = [(key, repository.runs.get(key)) for key in repository.runs.list(*settings.project)]
    found.sort(key=lambda item: item[1].started, reverse=True)
    lines = [
        f"{key.id}\t{state_of(run)}\t{run.started}\t{one_line(run.job_type) or '-'}"
        f"\t{run.user}@{run.host}\t{title_of(key, run)[:60]}"
        for key, run in found
    ]
    settings.result("\n".join(lines), [run_json(key, run) for key, run in found])


def run_json(key: RunKey, run: RunRecord) -> dict[str, object]:
    """A run's record as a document."""
    return {
        "run": str(key), "name": run.name or key.id, "state": state_of(run),
        "job_type": run.job_type or None, "group": run.group or None, "started": run.started,
        "ended": run.ended or None, "exit": run.exit, "host": run.host, "user": run.user,
        "command": run.command, "notes": run.notes or None, "tags": run.tags or None,
        "config": run.config or None, "summary": run.summary or None,
    }  # fmt: skip


def _show(settings: Settings, repository: Repository, key: RunKey) -> None:
    run, artifacts = repository.runs.get(key), repository.runs.artifacts(key)
    document = run_json(key, run)
    lines = [
        f"{name}: {one_line(_text(name, value, run))}"
        for name, value in document.items()
        if value is not None
    ]
    document["inputs"] = [_input(repository, one, lines) for one in artifacts.inputs]
    document["outputs"] = [_output(one, lines) for one in artifacts.outputs]
    settings.result("\n".join(lines), document)


def _text(name: str, value: object, run: RunRecord) -> str:
    if name == "command":
        return shlex.join(run.command)
    return str(value) if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)


def _input(repository: Repository, one: Input, lines: list[str]) -> dict[str, object]:
    lines.append(f"used: {one.artifact}:v{one.version}" + (f" as {one.use_as}" * bool(one.use_as)))
    files = None
    if one.files:
        try:
            root = repository.catalog.version(one.key, one.version).root.entry()
        except NotFound:
            lines.append("    files of it were opened; it was deleted since")
        else:
            bitmap = decode_files(one.files, root.count)
            files = [path_text(path) for path in opened_paths(root, bitmap, repository.blobs)]
            lines += [f"    {path}" for path in files]
    return {
        "artifact": one.artifact, "version": f"v{one.version}", "digest": one.digest,
        "use_as": one.use_as or None, "files": files,
    }  # fmt: skip


def _output(one: Output, lines: list[str]) -> dict[str, object]:
    lines.append(f"made: {one.artifact}:v{one.version}" + ("" if one.made else " (unchanged)"))
    return {
        "artifact": one.artifact, "version": f"v{one.version}", "digest": one.digest,
        "made": one.made,
    }  # fmt: skip
