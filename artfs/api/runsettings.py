"""What a run is begun with, as one object."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `init` as `wandb.Settings` calls them: for `init` itself, where its own ones
    come first, and for the run that `Artifact.save` begins."""

    project: str | None = None
    entity: str | None = None
    run_job_type: str | None = None
    run_group: str | None = None
    run_name: str | None = None
    run_id: str | None = None
    store: str | os.PathLike[str] | None = None
