"""Where things are: what the caller says, else the environment, else the configuration file.

The one place below the command line that reads the environment; it is asked by the functions on
top only (the command line's settings, `artfs.init`, `artfs.Api`, `artfs.Artifact` outside a run).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import msgspec

from artfs.errors import InvalidValue
from artfs.types import parse_project


class Settings(msgspec.Struct, frozen=True):
    """`store`: its URL. `project`: (entity, project). `cache`, `state`: directories of artfs."""

    store: str
    is_default_store: bool
    project: tuple[str, str]
    cache: Path
    state: Path


def load(store: str | None = None, project: str | None = None) -> Settings:
    """The settings, with what is given in the place of what the environment says.

    Raises `InvalidValue`.
    """
    config = _config()
    default_store = str(_xdg("XDG_DATA_HOME", ".local/share") / "store")
    url = _setting(store, "store", config) or default_store
    cache = _setting(None, "cache_dir", config)
    return Settings(
        url,
        url == default_store,
        parse_project(_setting(project, "project", config) or "default"),
        Path(cache) if cache else _xdg("XDG_CACHE_HOME", ".cache"),
        _xdg("XDG_STATE_HOME", ".local/state"),
    )


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable) or str(Path.home() / fallback)
    return Path(base) / "artfs"


def _config() -> dict[str, object]:
    path = _xdg("XDG_CONFIG_HOME", ".config") / "config.toml"
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidValue(str(path), str(error)) from error


def _setting(given: str | None, name: str, config: dict[str, object]) -> str | None:
    value = given or os.environ.get(f"ARTFS_{name.upper()}") or config.get(name)
    return None if value is None else str(value)
