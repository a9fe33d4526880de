"""What a run is begun with, as one object."""

from __future__ import annotations

import os
from collections.abc import Sequence

from artfs.errors import InvalidValue

#: What `wandb.Settings` has for W&B's server, console and charts; and all `x_…` and `_…`.
_OF_WANDB = frozenset({
    "allow_val_change", "anonymous", "api_key", "base_url", "code_dir", "console", "disable_code",
    "disable_git", "disable_job_creation", "email", "force", "git_commit", "git_remote",
    "git_remote_url", "git_root", "host", "init_timeout", "login_timeout", "notebook_name",
    "organization", "program", "quiet", "relogin", "root_dir", "save_code", "show_colors",
    "show_emoji", "show_errors", "show_info", "show_warnings", "silent", "start_method", "strict",
    "summary_timeout", "symlink", "sync_tensorboard", "username", "wandb_dir",
})  # fmt: skip


class Settings:
    """The arguments of `init` as `wandb.Settings` calls them: for `init` itself, where its own ones
    come first, and for the run that `Artifact.save` begins. What only W&B has a use for (`silent`,
    `start_method` and so on) is taken, and means nothing. Raises `InvalidValue` of other names."""

    def __init__(
        self,
        *,
        project: str | None = None,
        entity: str | None = None,
        run_job_type: str | None = None,
        run_group: str | None = None,
        run_name: str | None = None,
        run_id: str | None = None,
        run_notes: str | None = None,
        run_tags: Sequence[str] | None = None,
        mode: str | None = None,
        reinit: bool | str | None = None,
        resume: bool | str | None = None,
        store: str | os.PathLike[str] | None = None,
        **of_wandb: object,
    ) -> None:
        for name in of_wandb:
            if name not in _OF_WANDB and not name.startswith(("_", "x_")):
                raise InvalidValue(f"setting '{name}'", "is none that there is")
        self.project, self.entity, self.store = project, entity, store
        self.run_job_type, self.run_group = run_job_type, run_group
        self.run_name, self.run_id = run_name, run_id
        self.run_notes, self.run_tags = run_notes, run_tags
        self.mode, self.reinit, self.resume = mode, reinit, resume
