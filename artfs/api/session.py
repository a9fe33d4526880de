"""`init`, and the functions of the module that are of the current run."""

from __future__ import annotations

import atexit
import builtins
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from artfs.api import current
from artfs.api.artifact import Artifact
from artfs.api.place import find_place
from artfs.api.run import Run
from artfs.api.runsettings import Settings
from artfs.api.told import Given, RunValues
from artfs.errors import Conflict, InvalidValue, NotThere

log_ = logging.getLogger(__name__)
_REINIT = ("default", "return_previous", "finish_previous", "create_new")


def init(
    project: str | None = None,
    entity: str | None = None,
    job_type: str | None = None,
    group: str | None = None,
    name: str | None = None,
    id: str | None = None,  # noqa: A002  # the word of the contract
    store: str | os.PathLike[str] | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    config: Given | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002  # the word of the contract
    mode: str | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    allow_val_change: bool | None = None,
    save_code: bool | None = None,
    force: bool | None = None,
    anonymous: str | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
) -> Run:
    """Begin a run, which is the current one until it is finished or another begins. A thread that
    has begun runs itself means its own.

    What is not given is found as the command line finds it: in ARTFS_STORE and ARTFS_PROJECT, in
    config.toml, or by default. `project` may be `ENTITY/PROJECT`. `settings` may hold all of these.

    `config`: a mapping, or parsed arguments. `dir`: where `Run.dir` is to be. `reinit`: of a run
    that goes on, True or "finish_previous" finish it, as in a notebook is done by itself, and
    "return_previous" returns it; else there are two. `resume`: of an `id` that there is,
    "must" and "never" raise `NotFound` and `Conflict`; any other goes on with it. `mode`: all that
    W&B has are the same here, but for "disabled", which is refused. The others are W&B's, for what
    is not kept here, and mean nothing.
    Raises `InvalidValue`, `NotFound` (no such store), `Unreachable`.
    """
    del allow_val_change, save_code, force, anonymous, sync_tensorboard, monitor_gym
    own = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
    _check_mode(mode or own.mode)
    previous = _previous(reinit if reinit is not None else own.reinit)
    if previous is not None:
        return previous
    place = find_place(store or own.store, project or own.project, entity or own.entity)
    run = Run(
        place, job_type=job_type or own.run_job_type, group=group or own.run_group,
        name=name or own.run_name, id=id or own.run_id, config=config,
        notes=notes or own.run_notes, tags=own.run_tags if tags is None else tags, directory=dir,
    )  # fmt: skip
    _check_resumed(run, resume if resume is not None else own.resume)
    current.begin(run)
    return run


def _check_mode(mode: str | None) -> None:
    if mode == "disabled":
        raise InvalidValue(
            "mode 'disabled'", "is not there: a run makes versions",
            "begin it in a store of its own, init(store=DIRECTORY), which can be removed",
        )  # fmt: skip
    if mode not in (None, "online", "offline", "shared"):
        raise InvalidValue(f"mode '{mode}'", "is none of 'online', 'offline' and 'shared'")


def _previous(reinit: bool | str | None) -> Run | None:
    """The run that is to go on, if one is."""
    if reinit not in (None, True, False, *_REINIT):
        raise InvalidValue(f"reinit '{reinit}'", f"is none of {', '.join(_REINIT)}")
    if reinit == "return_previous":
        return current.current()
    in_notebook = reinit in (None, "default") and hasattr(builtins, "__IPYTHON__")
    if reinit in (True, "finish_previous") or in_notebook:
        for run in current.runs_of_thread():
            run.finish()
    return None


def _check_resumed(run: Run, resume: bool | str | None) -> None:
    if resume not in (None, True, False, "allow", "must", "never", "auto"):
        raise InvalidValue(f"resume '{resume}'", "is none of allow, must, never and auto")
    if resume == "must" and not run.resumed:
        raise NotThere(f"run '{run.id}'", "no such run, and it must be one to go on with")
    if resume == "never" and run.resumed:
        raise Conflict(f"run '{run.id}'", "is there, and is not to go on", "choose another id")


def login(*_: object, **__: object) -> bool:
    """W&B's, for its server. There is nothing to log in to: this does nothing, and returns True."""
    return True


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """`Run.log` of the current run. Raises `InvalidValue` if there is none."""
    _current().log(data, step, commit)


def watch(*_: object, **__: object) -> None:
    """`Run.watch`."""


def unwatch(*_: object, **__: object) -> None:
    """`Run.unwatch`."""


def define_metric(name: str, *_: object, **__: object) -> None:
    """`Run.define_metric`."""


class _OfCurrent(RunValues):
    """The values of whatever run is the current one when they are asked for."""

    def __init__(self, which: Callable[[Run], RunValues]) -> None:
        super().__init__()
        vars(self)["_which"] = which

    def _values(self) -> RunValues:
        found: RunValues = vars(self)["_which"](_current())
        return found


#: `Run.config` of the current run. Raises `InvalidValue` when there is none.
config: RunValues = _OfCurrent(lambda run: run.config)
#: `Run.summary` of the current run.
summary: RunValues = _OfCurrent(lambda run: run.summary)


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,  # noqa: A002  # the word of the contract
    aliases: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Artifact:
    """`Run.log_artifact` of the current run. Raises `InvalidValue` if there is none."""
    return _current().log_artifact(artifact_or_path, name, type, aliases, tags)


def use_artifact(
    artifact_or_name: Artifact | str,
    type: str | None = None,  # noqa: A002  # the word of the contract
    aliases: Sequence[str] | None = None,
    use_as: str | None = None,
) -> Artifact:
    """`Run.use_artifact` of the current run. Raises `InvalidValue` if there is none."""
    return _current().use_artifact(artifact_or_name, type, aliases, use_as)


def finish(exit_code: int | None = 0, quiet: bool | None = None) -> None:
    """`Run.finish` of the current run, if there is one."""
    run = current.current()
    if run is not None:
        run.finish(exit_code, quiet)


def _current() -> Run:
    run = current.current()
    if run is None:
        raise InvalidValue("run", "none has begun", "call init() first")
    return run


@atexit.register
def _report() -> None:
    """End the runs that nobody finished, and tell of what failed; their commits are done by now."""
    failed = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
    for run in current.own_runs():
        try:
            run.finish(1 if failed else None)  # what sys.exit was called with cannot be known
        except Exception as error:
            log_.error("run %s: %s", run.name, error)
