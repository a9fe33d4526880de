"""What programs tell a run beside artifacts, and how they begin one."""

from __future__ import annotations

import argparse
import builtins
import dataclasses
import datetime
import enum
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import artfs
from artfs import Artifact
from artfs.api.recorded import RecordedRun
from artfs.errors import Conflict, InvalidValue, NotThere
from tests.unit.api.artifacts.contents import made, saved


def recorded(run: artfs.Run) -> RecordedRun:
    return artfs.Api().run(run.path)


def test_config_and_summary_are_recorded_with_the_run() -> None:
    arguments = argparse.Namespace(lr=0.1, out=Path("a/b"))
    run = artfs.init(config=arguments, notes="first", tags=["cnn", "small"], name="baseline")
    assert (run.config.lr, artfs.config["out"]) == (0.1, "a/b")
    artfs.config.update({"seed": 7, "lr": 0.2}, allow_val_change=True)
    run.config.setdefaults({"seed": 8, "depth": 3})
    artfs.config.width = 5
    assert "missing" not in run.config
    assert run.config.get("missing", 1) == 1
    with pytest.raises(AttributeError, match="no value is called 'missing'"):
        _ = run.config.missing
    artfs.log({"loss": 0.5, "table": artfs.Table(columns=["a"], data=[[1]])})
    run.log({"loss": 0.25, "nan": math.nan, "inf": -math.inf})
    run.log({"part": 1}, commit=False)
    run.log({"part": 2}, step=7)
    assert run.step == 7
    artfs.summary["best"] = {"loss": 0.25}
    run.log_artifact(made(x="x"))
    run.name, run.notes, run.tags = "renamed", "second", (*run.tags, "new")
    run.finish(quiet=True)
    found = recorded(run)
    assert found.config == {"lr": 0.2, "out": "a/b", "seed": 7, "depth": 3, "width": 5}
    assert found.summary == {
        "loss": 0.25, "nan": None, "inf": "-Infinity", "part": 2, "_step": 7, "best": {"loss": 0.25}
    }  # fmt: skip
    assert (found.name, found.notes, found.tags) == ("renamed", "second", ["cnn", "small", "new"])
    command = [sys.executable, "-m", "artfs", "runs", run.id]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 'config: {"lr": 0.2, "out": "a/b"' in done.stdout
    command.insert(3, "--json")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["summary"]["part"] == 2


def test_any_value_is_recorded_somehow() -> None:
    loop: list[object] = []
    loop.append(loop)
    with artfs.init(config={"set": {1}, "bad": "\udcff", "none": None, "f": print}) as run:
        run.summary.update({"object": object, "deep": {1: b"x"}})
        with pytest.raises(RecursionError):
            run.summary["loop"] = loop
        run.log_artifact(made(x="x"))
    found = recorded(run)
    assert found.config["set"] == [1]
    assert (found.config["bad"], found.config["none"]) == ("?", None)
    assert found.summary["deep"] == {"1": "b'x'"}


def test_a_run_that_goes_on_has_what_was_said_of_it() -> None:
    with artfs.init(id="one", name="first", config={"a": 1}, resume="never") as run:
        assert not run.resumed
        run.log({"loss": 3})
        run.log_artifact(made(x="x"))
    with artfs.init(id="one", config={"b": 2}, resume="must") as again:
        assert (again.resumed, again.name, again.step) == (True, "first", 1)
        assert (again.config.as_dict(), again.summary.loss) == ({"a": 1, "b": 2}, 3)
        again.log_artifact(made(x="y"))
    assert (recorded(run).name, recorded(run).config) == ("first", {"a": 1, "b": 2})
    with pytest.raises(Conflict, match="run 'one': is there, and is not to go on"):
        artfs.init(id="one", resume="never")
    with pytest.raises(NotThere, match="run 'two': no such run"):
        artfs.init(id="two", resume="must")
    assert artfs.run is None


def test_a_run_that_is_begun_while_another_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    first = artfs.init()
    assert artfs.init(reinit="return_previous") is first
    second = artfs.init()
    assert first.log_artifact(made(x="x")).wait().version == "v0"  # goes on, too
    other: list[artfs.Run] = []
    thread = threading.Thread(target=lambda: other.append(artfs.init(reinit=True)))
    thread.start()
    thread.join()
    third = artfs.init(reinit=True)
    for run in (first, second):
        with pytest.raises(InvalidValue, match="has finished"):
            run.log_artifact(made(x="y"))
    assert other[0].log_artifact(made(x="z")).wait().version == "v1"  # of another thread
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    artfs.init()  # a cell that is run again
    with pytest.raises(InvalidValue, match="has finished"):
        third.log_artifact(made(x="y"))


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda: artfs.init(mode="disabled"), "mode 'disabled': is not there"),
        (lambda: artfs.init(mode="off"), "mode 'off': is none of"),
        (lambda: artfs.init(reinit="again"), "reinit 'again': is none of"),
        (lambda: artfs.init(resume="maybe"), "resume 'maybe': is none of"),
        (lambda: artfs.init(config="x.yaml"), "config: is a str, not a dict"),  # type: ignore[arg-type]  # on purpose
        (lambda: artfs.Settings(run_grop="x"), "setting 'run_grop': is none"),
        (lambda: artfs.config["x"], "run: none has begun"),
        (lambda: artfs.log({"x": 1}), "run: none has begun"),
        (lambda: artfs.Api().runs(order="name"), "order 'name': is none of"),
        (lambda: artfs.Api().runs(filters={"name": 1}), "filter 'name': is none of"),
    ],
)
def test_wrong_use_of_runs_says_what_and_why(act: Callable[[], object], says: str) -> None:
    saved(x="x")
    with pytest.raises(InvalidValue, match=says):
        act()


def test_settings_of_wandb_are_taken() -> None:
    settings = artfs.Settings(silent=True, start_method="fork", _disable_stats=True, x_label="a")
    with artfs.init(settings=settings, mode="offline", anonymous="allow", save_code=True):
        pass
    with artfs.init(settings={"run_group": "g", "console": "off", "run_tags": ["t"]}) as run:
        assert (run.group, run.tags) == ("g", ("t",))
    assert artfs.login(key="secret", relogin=True)
    with pytest.raises(AttributeError, match="has no attribute 'sweep'"):
        _ = artfs.sweep


def test_the_directory_of_a_run() -> None:
    run = artfs.init(id="one")
    assert not os.path.exists("wandb")
    assert run.dir == "./wandb/run-one/files"
    Path(run.dir, "model").write_text("m")
    assert Path(artfs.init(id="two", dir="there").dir) == Path("there/wandb/run-two/files")


@dataclasses.dataclass
class Settled:
    rate: float = 0.1


class Kind(enum.Enum):
    SMALL = 1


def test_metadata_of_numbers_dates_and_paths() -> None:
    numpy = pytest.importorskip("numpy")
    artifact = Artifact(
        "data", "t",
        metadata={
            "loss": numpy.float32(0.5), "n": numpy.int64(3), "ok": numpy.bool_(True),
            "shape": numpy.arange(3), "deep": [{"x": numpy.mean([1, 2])}], "path": Path("a/b"),
            "day": datetime.date(2026, 1, 2), "kind": Kind.SMALL, "settled": Settled(),
        },
    )  # fmt: skip
    artifact.metadata["late"] = numpy.float64(1.5)
    artifact.save()
    assert artfs.Api().artifact("data").metadata == {
        "loss": 0.5, "n": 3, "ok": True, "shape": [0, 1, 2], "deep": [{"x": 1.5}], "path": "a/b",
        "day": "2026-01-02", "kind": "SMALL", "settled": {"rate": 0.1}, "late": 1.5,
    }  # fmt: skip
    with pytest.raises(InvalidValue, match="metadata 'k': is not JSON"):
        Artifact("data", "t", metadata={"k": numpy.float32("nan")})


def test_models() -> None:
    Path("source.py").write_text("print()")
    with artfs.init(project="zoo", entity="me") as run:
        run.log_model("model.h5", name="net", aliases=["prod"])
        run.log_model("images")
        linked = run.link_model("model.h5", "Best-Net", name="net", aliases=["staging"])
        assert linked.qualified_name == "me/model-registry/Best-Net:v0"
        assert run.use_model("net:prod") == "./artifacts/net:v0/model.h5"
        assert run.use_model(f"run-{run.id}-images") == f"./artifacts/run-{run.id}-images:v0"
        code = run.log_code()
        assert code is not None
        assert code.wait().type == "code"
        assert list(code.manifest.entries) == ["source.py"]
        assert run.log_code(include_fn=lambda path, root: path == f"{root}/x") is None
        run.log_artifact(made(x="x")).wait()
        with pytest.raises(InvalidValue, match="has type 'dataset', and is no model"):
            run.use_model("data")
        with pytest.raises(InvalidValue, match="model 'a/b': may hold only"):
            run.link_model("model.h5", "a/b")


def test_one_alias_need_be_no_list() -> None:
    with artfs.init() as run:
        logged = run.log_artifact(made(x="x"), aliases="best", tags="clean").wait()
        assert (logged.aliases, logged.tags) == (["latest", "best"], ["clean"])
        used = run.use_artifact(made("other", x="x"), aliases=["first"])
        assert used.aliases == ["latest", "first"]


def test_a_reference_is_logged_by_its_uri() -> None:
    with artfs.init() as run, pytest.warns(artfs.UnreadableReference):
        logged = run.log_artifact("weird://host/x", name="data", type="t").wait()
    assert [entry.ref for entry in logged.manifest] == ["weird://host/x"]


def test_artifacts_are_listed_by_type_and_name() -> None:
    with artfs.init(project="zoo", entity="me", config={"lr": 1}, job_type="train") as run:
        for number in range(3):
            run.log_artifact(made("cats", x=str(number)), aliases=[f"n{number}"])
        run.log_artifact("model.h5", name="net", type="model")
    api = artfs.Api(overrides={"entity": "me", "project": "zoo"}, timeout=20)
    assert [one.name for one in api.artifact_types()] == ["dataset", "model"]
    [cats] = api.artifact_type("dataset", project="me/zoo").collections(per_page=5)
    assert (cats.name, cats.type, cats.entity, cats.project) == ("cats", "dataset", "me", "zoo")
    assert (cats.aliases, cats.is_sequence()) == (["latest", "n0", "n1", "n2"], True)
    api.artifact("cats:v1").delete(delete_aliases=True)
    assert [one.version for one in cats.artifacts()] == ["v2", "v0"]
    assert [one.name for one in api.artifact_versions("dataset", "me/zoo/cats")] == [
        "cats:v2", "cats:v0"
    ]  # fmt: skip
    first = api.artifact("cats:v0")
    first.tags.append("old")
    first.save()
    assert [one.version for one in api.artifacts("dataset", "cats", tags=["old"])] == ["v0"]
    assert [one.name for one in api.artifact_collections("me/zoo", "model")] == ["net"]
    assert api.artifact_collection("model", "net").artifacts()[0].aliases == ["latest"]
    assert api.artifact_collection_exists("cats", "dataset")
    assert not api.artifact_collection_exists("cats", "model")
    assert not api.artifact_collection_exists("dogs", "dataset")
    assert api.artifact_exists("cats:n2", "dataset")
    assert not api.artifact_exists("cats:n1")
    with pytest.raises(ValueError, match="artifact 'cats': has type 'dataset', not 'model'"):
        api.artifacts("model", "cats")
    assert [one.id for one in api.runs("me/zoo", filters={"config.lr": 1, "jobType": "train"})] == [
        run.id
    ]
    assert api.runs(filters={"state": "failed"}, order="-created_at") == []
