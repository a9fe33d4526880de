"""Models and code as artifacts: what runs have for those beside `log_artifact`."""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from artfs.api.artifact import Artifact
from artfs.errors import InvalidValue

#: Whether a path is meant; the second argument is the directory it was found below.
Rule: TypeAlias = Callable[[str], bool] | Callable[[str, str], bool]
#: The project that `link_model` links to, in the entity of the run.
REGISTRY = "model-registry"


class Modelling(ABC):
    """The part of a run that logs and uses models."""

    @property
    @abstractmethod
    def entity(self) -> str:
        """See `Run`."""

    @property
    @abstractmethod
    def project(self) -> str:
        """See `Run`."""

    @abstractmethod
    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,  # noqa: A002  # the word of the contract
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """See `Run`."""

    @abstractmethod
    def use_artifact(self, artifact_or_name: Artifact | str) -> Artifact:
        """See `Run`."""

    @abstractmethod
    def link_artifact(
        self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None
    ) -> Artifact:
        """See `Run`."""

    def log_model(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> None:
        """Log a file, directory or URI as an artifact of type `model`. Raises as `log_artifact`."""
        self.log_artifact(path, name, "model", aliases)

    def use_model(self, name: str) -> str:
        """Download a model; the path of its file if it has only one, else of the directory.

        Raises as `use_artifact` and `Artifact.download`; `InvalidValue` if the type of the artifact
        does not have the word `model` in it.
        """
        artifact = self.use_artifact(name)
        if "model" not in artifact.type.lower():
            raise InvalidValue(
                f"artifact '{artifact.name}'", f"has type '{artifact.type}', and is no model",
                "use_artifact(name).download() is for any artifact",
            )  # fmt: skip
        path = artifact.download()
        found = os.listdir(path)
        return os.path.join(path, found[0]) if len(found) == 1 else path

    def link_model(
        self,
        path: str | os.PathLike[str],
        registered_model_name: str,
        name: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Artifact:
        """Log a model, as `log_model`, and link it to `model-registry/REGISTERED_MODEL_NAME` of the
        run's entity; the aliases are those of the link, which is returned.

        Raises as `link_artifact`.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", registered_model_name):
            raise InvalidValue(
                f"model '{registered_model_name}'",
                "may hold only letters, digits, '_', '-' and '.'",
            )
        logged = self.log_artifact(path, name, "model")
        return self.link_artifact(
            logged, f"{self.entity}/{REGISTRY}/{registered_model_name}", aliases
        )

    def log_code(
        self,
        root: str | os.PathLike[str] | None = ".",
        name: str | None = None,
        include_fn: Rule | None = None,
        exclude_fn: Rule | None = None,
    ) -> Artifact | None:
        """Log the program's code, all files below `root` that end in `.py`, as an artifact of type
        `code`, `source-PROJECT-PROGRAM` if it has no other name. None if there are none.

        `include_fn`, `exclude_fn`: other rules, of absolute paths; they may take `root` as well,
        which is absolute then.
        """
        top = os.path.abspath(os.fspath(root or "."))
        included = _rule(include_fn or (lambda path: path.endswith(".py")), top)
        excluded = _rule(exclude_fn or (lambda path: _is_ours(path, top)), top)
        own = f"source-{self.project}-{os.path.basename(sys.argv[0]) or 'program'}"
        artifact = Artifact(name or re.sub(r"[^A-Za-z0-9_.-]", "_", own)[:128], "code")
        found = 0
        for directory, _, files in os.walk(top):
            for path in sorted(os.path.join(directory, file) for file in files):
                if included(path) and not excluded(path):
                    artifact.add_file(path, os.path.relpath(path, top))
                    found += 1
        return self.log_artifact(artifact) if found else None


def _rule(rule: Callable[..., bool], top: str) -> Callable[[str], bool]:
    def call(path: str) -> bool:
        try:
            return rule(path, top)
        except TypeError:
            return rule(path)

    return call


def _is_ours(path: str, top: str) -> bool:
    first = os.path.relpath(path, top).split(os.sep)[0]
    return first in ("wandb", ".wandb", "artifacts")
