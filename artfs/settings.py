"""Where things are: what the caller says, else the environment, else the configuration file.

The one place below the command line that reads the environment; it is asked by the functions on
top only (the command line's settings, `artfs.init`, `artfs.Api`, `artfs.Artifact` outside a run).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from artfs.errors import InvalidValue
from artfs.store.options import S3Options, SourcePolicy, StoreOptions
from artfs.types import parse_project

T = TypeVar("T")


class Settings(msgspec.Struct, frozen=True):
    """`store`: its URL, and `options` to reach it. `project`: (entity, project). `cache`, `state`:
    directories of artfs."""

    store: str
    is_default_store: bool
    project: tuple[str, str]
    cache: Path
    state: Path
    options: StoreOptions


_SIZE = re.compile(r"([0-9]+)\s*([KMGT]?)(i?B)?\Z", re.IGNORECASE)
_UNITS = " KMGT"
#: What the configuration file may hold.
_NAMES = {"store", "project", "cache_dir", "cache_size", "reference_dirs", "reference_private"} | {
    f"s3_{name}" for name in S3Options.__struct_fields__
}


def load(
    store: str | None = None, project: str | None = None, cache_size: str | None = None
) -> Settings:
    """The settings, with what is given in the place of what the environment says.

    Raises `InvalidValue`.
    """
    config = _config()
    default_store = str(_xdg("XDG_DATA_HOME", ".local/share") / "store")
    url = _setting(store, "store", config) or default_store
    given_cache = _setting(None, "cache_dir", config)
    cache = Path(given_cache) if given_cache else _xdg("XDG_CACHE_HOME", ".cache")
    return Settings(
        url,
        url == default_store,
        parse_project(_setting(project, "project", config) or "default"),
        cache,
        _xdg("XDG_STATE_HOME", ".local/state"),
        StoreOptions(
            _s3(config), cache / "servers", _cache_size(cache_size, config), _sources(config)
        ),
    )


def _cache_size(given: str | None, config: dict[str, object]) -> int:
    size = _setting(given, "cache_size", config)
    return StoreOptions().cache_size if size is None else parse_size(size)


def parse_size(text: str) -> int:
    """The bytes in `512M`, `20G`, `20GiB` or `1000`; units are powers of 1024.

    Raises `InvalidValue`.
    """
    match = _SIZE.match(text.strip())
    if match is None:
        raise InvalidValue(f"cache size '{text}'", "is no size; write 20G, 512M or 0")
    return int(match[1]) << 10 * _UNITS.index(match[2].upper() or " ")


def _s3(config: dict[str, object]) -> S3Options:
    def value(name: str, parse: Callable[[str], T], default: T) -> T:
        text = _setting(None, f"s3_{name}", config)
        if text is None:
            return default
        try:
            return parse(text)
        except (ValueError, KeyError) as error:
            raise InvalidValue(f"setting s3_{name}", f"cannot be '{text}'") from error

    default = S3Options()
    return S3Options(
        endpoint=value("endpoint", str, None),
        region=value("region", str, None),
        profile=value("profile", str, None),
        path_style=value("path_style", _switch, None),
        ca_bundle=value("ca_bundle", str, None),
        proxy=value("proxy", str, None),
        connect_timeout=value("connect_timeout", _seconds, default.connect_timeout),
        read_timeout=value("read_timeout", _seconds, default.read_timeout),
        attempts=value("attempts", _count, default.attempts),
        connections=value("connections", _count, default.connections),
    )


def _sources(config: dict[str, object]) -> SourcePolicy:
    text = os.environ.get("ARTFS_REFERENCE_DIRS")
    given = config.get("reference_dirs", []) if text is None else text.split(":")
    directories = [given] if isinstance(given, str) else given
    if not isinstance(directories, list) or not all(isinstance(one, str) for one in directories):
        raise InvalidValue("setting reference_dirs", "is no list of directories")
    for directory in directories:
        if directory and not os.path.isabs(directory):
            raise InvalidValue("setting reference_dirs", f"'{directory}' is no absolute path")
    private = _setting(None, "reference_private", config) or "true"
    try:
        return SourcePolicy(tuple(filter(None, directories)), _switch(private))
    except KeyError:
        raise InvalidValue("setting reference_private", f"cannot be '{private}'") from None


def _switch(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
        text.lower()
    ]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86_400:
        raise ValueError(text)
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if not 0 < count <= 1000:
        raise ValueError(text)
    return count


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable) or str(Path.home() / fallback)
    return Path(base) / "artfs"


def _config() -> dict[str, object]:
    path = _xdg("XDG_CONFIG_HOME", ".config") / "config.toml"
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidValue(str(path), os.strerror(error.errno or 0)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(str(path), str(error)) from error
    if unknown := sorted(found.keys() - _NAMES):
        raise InvalidValue(
            str(path), f"'{unknown[0]}' is no setting", f"these are: {', '.join(sorted(_NAMES))}"
        )
    return found


def _setting(given: str | None, name: str, config: dict[str, object]) -> str | None:
    value = given or os.environ.get(f"ARTFS_{name.upper()}") or config.get(name)
    return None if value is None else str(value)
