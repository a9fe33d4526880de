"""The real wandb package, kept off the network, and places to write to."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.values import Folder


@pytest.fixture
def ours(tmp_path: Path) -> Folder:
    """An empty artifact that our values are written into."""
    return Folder(tmp_path / "ours")


@pytest.fixture(scope="session")
def wandb_package(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    home = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        _keep_quiet(patch, home)
        warnings.simplefilter("ignore")
        package: ModuleType = pytest.importorskip("wandb", reason="wandb is not installed")
    return package


@pytest.fixture
def wandb(wandb_package: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    _keep_quiet(monkeypatch, tmp_path / "wandb")
    return wandb_package


def _keep_quiet(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        patch.setenv(name, str(home))
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_SILENT", "true")
    patch.setenv("WANDB_ERROR_REPORTING", "false")  # its telemetry as well


@pytest.fixture
def add_theirs(wandb: ModuleType, tmp_path: Path) -> Callable[..., Folder]:
    """Adds values to an artifact of wandb's: `add_theirs(name=value)` gives its files."""

    def add(**values: Any) -> Folder:  # noqa: ANN401  # values of wandb's
        artifact = wandb.Artifact("a", "dataset")
        for name, value in values.items():
            artifact.add(value, name)
        folder = Folder(tmp_path / "theirs")
        for path, entry in artifact.manifest.entries.items():
            target = folder.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.local_path is None:
                target.write_text(entry.ref)
            else:
                shutil.copyfile(entry.local_path, target)
        if artifact._tmp_dir is not None:  # or it warns when it is collected, in any test
            artifact._tmp_dir.cleanup()
        return folder

    return add
