"""The option --on-conflict of the commands that commit drafts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from artfs.vfs.draft.policy import POLICIES

F = TypeVar("F", bound=Callable[..., object])


def on_conflict_option(default: str | None = None) -> Callable[[F], F]:
    """The option; without a default it is None where it is not given."""
    return click.option(
        "--on-conflict",
        type=click.Choice(POLICIES),
        default=default,
        show_default=default is not None,
        help="If the artifact has moved on: put the changes on its newest version, unless both"
        " changed a path; fail; or put them there with this draft's side of such paths.",
    )
