"""Versioned artifacts as a filesystem.

The Python API has the shape of W&B Artifacts: `init`, `Artifact`, `Api`, `log_artifact`,
`use_artifact`, `finish`, and `run`, the current run; and the values that artifacts take, `Table`,
`Image` and so on. It is loaded when it is used, so that the command line, which needs none of it,
starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from artfs.errors import (
    ArtfsError,
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    CommError,
    Error,
    UnreadableReference,
    UsageError,
)

if TYPE_CHECKING:
    from artfs import data_types
    from artfs.api.artifact import Artifact
    from artfs.api.files import open  # noqa: A004  # `artfs.open` is the builtin for versions
    from artfs.api.labels import ArtifactTTL
    from artfs.api.manifest import ArtifactManifest, ArtifactManifestEntry
    from artfs.api.mounting import mounted
    from artfs.api.public import Api
    from artfs.api.run import Run
    from artfs.api.runsettings import Settings
    from artfs.api.session import (
        config,
        define_metric,
        finish,
        init,
        log,
        log_artifact,
        login,
        summary,
        unwatch,
        use_artifact,
        watch,
    )
    from artfs.api.values import (
        Audio,
        Bokeh,
        BoundingBoxes2D,
        Classes,
        Html,
        Image,
        ImageMask,
        JoinedTable,
        Object3D,
        PartitionedTable,
        Table,
        Video,
    )

    #: The current run, if any.
    run: Run | None
    __version__: str

__all__ = [
    "Api",
    "ArtfsError",
    "Artifact",
    "ArtifactFinalizedError",
    "ArtifactManifest",
    "ArtifactManifestEntry",
    "ArtifactNotLoggedError",
    "ArtifactTTL",
    "Audio",
    "Bokeh",
    "BoundingBoxes2D",
    "Classes",
    "CommError",
    "Error",
    "Html",
    "Image",
    "ImageMask",
    "JoinedTable",
    "Object3D",
    "PartitionedTable",
    "Run",
    "Settings",
    "Table",
    "UnreadableReference",
    "UsageError",
    "Video",
    "config",
    "data_types",
    "define_metric",
    "finish",
    "init",
    "log",
    "log_artifact",
    "login",
    "mounted",
    "open",
    "run",
    "summary",
    "unwatch",
    "use_artifact",
    "watch",
]

_MODULES = {
    "Artifact": "artifact", "ArtifactTTL": "labels",
    "ArtifactManifest": "manifest", "ArtifactManifestEntry": "manifest",
    "Api": "public", "Run": "run", "init": "session", "finish": "session", "log": "session",
    "log_artifact": "session", "use_artifact": "session", "login": "session",
    "config": "session", "summary": "session", "watch": "session", "unwatch": "session",
    "define_metric": "session", "Settings": "runsettings", "mounted": "mounting", "open": "files",
    "Audio": "values", "Bokeh": "values", "BoundingBoxes2D": "values", "Classes": "values",
    "Html": "values", "Image": "values", "ImageMask": "values", "JoinedTable": "values",
    "Object3D": "values", "PartitionedTable": "values", "Table": "values", "Video": "values",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "run":  # changes all the time, and is never kept
        found: object = importlib.import_module("artfs.api.current").current()
        return found
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("artfs")
    if name == "data_types":
        return importlib.import_module("artfs.data_types")
    if name not in _MODULES:
        raise AttributeError(
            f"module 'artfs' has no attribute '{name}': it has of wandb what is about artifacts"
        )
    found = getattr(importlib.import_module(f"artfs.api.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
