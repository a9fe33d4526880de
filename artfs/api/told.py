"""What a run is told beside artifacts: its configuration, its results, notes and tags.

They are recorded with the run, which is when it uses or makes a version, and when it ends.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from artfs.api.plain import as_json, plain
from artfs.errors import InvalidValue
from artfs.format.runs import RunSaid

#: What a configuration can be made of.
Given: TypeAlias = "Mapping[str, Any] | argparse.Namespace"


class RunValues(MutableMapping[str, Any]):
    """Values by name, which are also attributes. Thread-safe."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        vars(self)["_kept"] = dict(values or {})

    def _values(self) -> RunValues:
        """Where they are."""
        return self

    @property
    def _items(self) -> dict[str, Any]:
        found: dict[str, Any] = vars(self._values())["_kept"]
        return found

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # whatever the program has put there
        return self._items[name]

    def __setitem__(self, name: str, value: object) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self._items)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as __getitem__
        if name.startswith("__"):  # Python's own
            raise AttributeError(name)
        try:
            return self._items[name]
        except KeyError:
            raise AttributeError(f"no value is called '{name}'") from None

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """A copy."""
        return self._items.copy()  # in one step, whatever other threads do

    def update(  # type: ignore[override]  # W&B's: of one mapping, or of parsed arguments
        self, values: Given, allow_val_change: bool | None = None
    ) -> None:
        """Set several. Numbers of NumPy, dates and paths become what JSON has for them.

        `allow_val_change`: W&B's, which does not let a configuration be changed without it; here
        it may be.
        """
        del allow_val_change
        self._items.update({str(name): plain(value) for name, value in mapping(values).items()})

    def setdefaults(self, values: Given) -> None:
        """Set those that are not set."""
        self.update({k: v for k, v in mapping(values).items() if k not in self})


def mapping(given: Given) -> Mapping[str, Any]:
    """The values of a mapping, or of what argparse has made. Raises `InvalidValue`."""
    if isinstance(given, argparse.Namespace):
        return vars(given)
    if isinstance(given, Mapping):
        return given
    raise InvalidValue("config", f"is a {type(given).__name__}, not a dict")


class Told:
    """The part of a run that is told things. Of a run that goes on, what was said of it before is
    there again."""

    def __init__(
        self,
        run_id: str,
        before: RunSaid | None = None,
        *,
        name: str | None = None,
        config: Given | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        there = before or RunSaid()
        self.id = run_id
        self._called = name or there.name
        #: Free text.
        self.notes = notes or there.notes
        #: Words.
        self.tags = _words(there.tags if tags is None else tags)
        self._config = RunValues(there.config)
        self._config.update(config or {})
        self._summary = RunValues(there.summary)
        self._step = int(there.summary.get("_step", -1)) + 1
        self._resumed = before is not None
        self._directory = os.path.join(os.fspath(directory or "."), "wandb", f"run-{run_id}")

    @property
    def name(self) -> str:
        """What it is called; its id, if nothing."""
        return self._called or self.id

    @name.setter
    def name(self, name: str) -> None:
        self._called = name

    @property
    def config(self) -> RunValues:
        """What it was begun with: `run.config.lr`, `run.config["lr"]`."""
        return self._config

    @property
    def summary(self) -> RunValues:
        """What has come of it; of each value that was logged, the last one."""
        return self._summary

    @property
    def resumed(self) -> bool:
        """Whether a run with this id was recorded before, and goes on."""
        return self._resumed

    @property
    def step(self) -> int:
        """The number of the next `log`."""
        return self._step

    @property
    def url(self) -> str | None:
        """W&B's page of the run; there is none here."""
        return None

    @property
    def dir(self) -> str:
        """A directory for files of the program, `./wandb/run-ID/files`, made when it is asked for.
        What is put there is the program's own: `add_file` and so on make versions."""
        path = os.path.join(self._directory, "files")
        os.makedirs(path, exist_ok=True)
        return path

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None
    ) -> None:
        """Put values into the summary, in the place of earlier ones, which are not kept.

        Tables, images and other values of artifacts are left out: they are `Artifact.add`'s.
        `step`: of a number other than the next; `commit` False: more of the same step follows.
        """
        from artfs.api.values import Value

        kept = {k: v for k, v in mapping(data).items() if not isinstance(v, Value)}
        if step is not None:
            self._step = step
        self._summary.update({**kept, "_step": self._step})
        if commit or (commit is None and step is None):
            self._step += 1

    def define_metric(self, name: str, *_: object, **__: object) -> None:
        """W&B's: how a metric is to be drawn. There are no charts here; this does nothing."""

    def watch(self, *_: object, **__: object) -> None:
        """W&B's: draw gradients. There are no charts here; this does nothing."""

    def unwatch(self, *_: object, **__: object) -> None:
        """As `watch`."""

    def _said(self) -> RunSaid:
        return RunSaid(
            name=str(as_json(self._called)), notes=str(as_json(self.notes or "")),
            tags=[str(as_json(tag)) for tag in self.tags],
            config=_recorded(self._config), summary=_recorded(self._summary),
        )  # fmt: skip


def _words(tags: Sequence[str]) -> tuple[str, ...]:
    return (tags,) if isinstance(tags, str) else tuple(tags)


def _recorded(values: RunValues) -> dict[str, Any]:
    return {str(as_json(name)): as_json(value) for name, value in values.as_dict().items()}
