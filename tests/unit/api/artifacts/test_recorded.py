"""Runs as the store knows them: what they used and made, and what became of them."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

import artfs
from artfs.api.recorded import RecordedRun
from artfs.errors import ArtifactNotLoggedError, NotFound, Unreachable
from artfs.repo import recording
from artfs.repo.repository import Repository
from artfs.repo.runs import Runs
from artfs.types import RunKey
from tests.support.mounts import wait_for
from tests.support.users import as_nobody, public_directory
from tests.unit.api.artifacts.contents import made, saved, versions


def names(artifacts: list[artfs.Artifact]) -> list[str]:
    return [artifact.name for artifact in artifacts]


def recorded(run_id: str) -> RecordedRun:
    return artfs.Api().run(run_id)


def runs_in_store(home: Path) -> list[str]:
    return sorted(str(p.relative_to(home / "store")) for p in (home / "store/runs").rglob("*.json"))


def test_a_run_that_does_nothing_leaves_nothing(home: Path) -> None:
    with artfs.init():
        made(a="a")
    assert runs_in_store(home) == []
    assert artfs.Api().runs() == []


def test_what_a_run_used_and_made() -> None:
    saved("raw", a="1")
    with artfs.init(name="clean", group="nightly", job_type="preprocess") as run:
        raw = run.use_artifact("raw:v0", use_as="training")
        run.use_artifact("raw:latest", use_as="other")
        clean = run.log_artifact(made("clean", b="2")).wait()
        found = clean.logged_by()
        assert found is not None
        assert (found.state, found.ended_at, found.exit_code) == ("running", None, None)
    assert (found.id, found.path) == (run.id, ["default", "default", run.id])
    assert (found.entity, found.project, found.name) == ("default", "default", "clean")
    (user,) = raw.used_by()
    assert (user.id, user.group, user.job_type) == (run.id, "nightly", "preprocess")
    assert (user.state, user.exit_code) == ("finished", 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", user.created_at)
    assert user.ended_at is not None
    assert user.created_at <= user.ended_at
    assert (user.host, user.command) == (os.uname().nodename, sys.orig_argv)
    assert user.user
    used = user.used_artifacts()
    assert [(one.name, one.use_as) for one in used] == [("raw:v0", "training"), ("raw:v0", "other")]
    assert names(user.logged_artifacts()) == ["clean:v0"]
    assert clean.used_by() == []


def test_a_run_of_another_project() -> None:
    with artfs.init(project="me/one") as run:
        run.log_artifact(made("data", a="1"))
    with artfs.init(project="two", id="same"), artfs.init(project="one", id="same") as other:
        other.use_artifact("me/one/data")
        artfs.use_artifact("me/one/data")
    artifact = artfs.Api().artifact("me/one/data")
    found = artifact.logged_by()
    assert found is not None
    assert found.path == ["me", "one", run.id]
    assert [used.path for used in artifact.used_by()] == [["default", "one", "same"]]
    assert [one.id for one in artfs.Api().runs("me/one")] == [run.id]
    assert artfs.Api().run(f"me/one/{run.id}").created_at
    with pytest.raises(NotFound, match=f"run '{run.id}': no such run"):
        recorded(run.id)


def test_versions_that_no_run_made() -> None:
    Path("f").write_text("f")
    command = [sys.executable, "-m", "artfs", "put", "data", "f"]
    subprocess.run(command, check=True, capture_output=True)
    artifact = artfs.Api().artifact("data")
    assert artifact.logged_by() is None
    assert artifact.used_by() == []
    with pytest.raises(ArtifactNotLoggedError):
        made("new", a="a").logged_by()
    with pytest.raises(ArtifactNotLoggedError):
        made("new", a="a").used_by()


def test_save_outside_a_run_makes_a_run_of_type_auto() -> None:
    found = saved(a="a").logged_by()
    assert found is not None
    assert (found.job_type, found.state) == ("auto", "finished")


def test_content_that_was_there() -> None:
    first = saved(a="a")
    with artfs.init(id="second") as run:
        run.log_artifact(made(a="a"))
    assert versions("data") == [0]
    logged_by = artfs.Api().artifact("data").logged_by()
    assert logged_by is not None
    assert logged_by.id != "second"
    assert first.logged_by() is not None
    assert names(recorded("second").logged_artifacts()) == ["data:v0"]


def test_what_is_used_by_way_of_a_link() -> None:
    source = saved(a="a")
    link = source.link("shelf")
    with artfs.init(id="r") as run:
        run.use_artifact("shelf")
    assert link is not None
    assert [one.id for one in link.used_by()] == [one.id for one in source.used_by()] == ["r"]
    assert names(recorded("r").used_artifacts()) == ["data:v0"]
    for one in (source.logged_by(), link.logged_by()):
        assert one is not None
        assert one.job_type == "auto"


def test_what_is_deleted_is_not_listed() -> None:
    old = saved(a="a")
    with artfs.init(id="r") as run:
        run.use_artifact("data")
        run.log_artifact(made("out", a="a"))
    old.delete()
    assert names(recorded("r").used_artifacts()) == []
    assert names(recorded("r").logged_artifacts()) == ["out:v0"]


def test_using_what_the_run_has_made() -> None:
    with artfs.init(id="r") as run:
        artifact = run.use_artifact(made(a="a"))
    assert [used.id for used in artifact.used_by()] == ["r"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(), 1), (KeyboardInterrupt(), 1), (SystemExit(3), 3), (SystemExit("no"), 1),
        (SystemExit(), 0), (None, 0),
    ],
)  # fmt: skip
def test_how_a_block_ends(error: BaseException | None, status: int) -> None:
    def block() -> None:
        with artfs.init(id="r") as run:
            run.log_artifact(made(a="a"))
            if error is not None:
                raise error

    if error is None:
        block()
    else:
        with pytest.raises(type(error)):
            block()
    state = "failed" if status else "finished"
    assert (recorded("r").state, recorded("r").exit_code) == (state, status)


def test_finish_takes_an_exit_code() -> None:
    artfs.init(id="r").log_artifact(made(a="a"))
    artfs.finish(7)
    artfs.finish(exit_code=8)
    assert (recorded("r").state, recorded("r").exit_code) == ("failed", 7)


def test_a_run_that_goes_on_under_its_id() -> None:
    with artfs.init(id="r", name="first") as run:
        run.log_artifact(made("a", a="a"))
    began = recorded("r").created_at
    with artfs.init(id="r", name="second") as run:
        run.log_artifact(made("b", b="b")).wait()
        assert recorded("r").state == "running"
        run.log_artifact(made("c", c="c"))
    found = recorded("r")
    assert (found.name, found.created_at, found.state) == ("second", began, "finished")
    assert names(found.logged_artifacts()) == ["a:v0", "b:v0", "c:v0"]


PROGRAM = """
import sys, artfs
run = artfs.init(id="r", project="p")
artifact = artfs.Artifact("data", "t")
with artifact.new_file("f") as file:
    file.write("x")
run.log_artifact(artifact)
"""


def program(text: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", text]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize(
    ("ending", "state", "status"),
    [("", "finished", None), ("sys.exit(0)", "finished", None), ("1 / 0", "failed", 1)],
)
def test_a_program_that_never_finishes_its_run(ending: str, state: str, status: int | None) -> None:
    with program(PROGRAM + ending) as process:
        process.communicate(timeout=60)
    found = artfs.Api(project="p").run("r")
    assert (found.state, found.exit_code) == (state, status)
    assert found.command[-2:] == ["-c", PROGRAM + ending]
    assert names(found.logged_artifacts()) == ["data:v0"]


def test_a_program_that_is_killed() -> None:
    with program(PROGRAM + "artifact.wait()\nprint('logged', flush=True)\ninput()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        api = artfs.Api(project="p")
        assert api.run("r").state == "running"
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        found = api.run("r")
    assert (found.state, found.ended_at, found.exit_code) == ("crashed", None, None)
    assert names(found.logged_artifacts()) == ["data:v0"]


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real: Callable[..., object] = getattr(Runs, name)

    def fail(*args: object) -> object:
        monkeypatch.setattr(Runs, name, real)
        raise Unreachable("store", "does not answer")

    monkeypatch.setattr(Runs, name, fail)


@pytest.mark.parametrize("what", ["begin", "mark_uses", "add"])
def test_a_use_that_cannot_be_recorded_is_recorded_later(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = saved(a="a")
    fail_once(monkeypatch, what)
    with caplog.at_level(logging.WARNING), artfs.init(id="r") as run:
        assert run.use_artifact("data").version == "v0"
        wait_for(lambda: "is not recorded as it should be: store" in caplog.text)
    assert len(caplog.records) == 1
    assert [used.id for used in artifact.used_by()] == ["r"]
    assert names(recorded("r").used_artifacts()) == ["data:v0"]
    assert recorded("r").state == "finished"


def test_an_end_that_cannot_be_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with artfs.init(id="r") as run:
        run.log_artifact(made(a="a")).wait()
        fail_once(monkeypatch, "end")
    assert "run r is not recorded as it should be" in caplog.text
    assert recorded("r").state == "running"


def test_no_version_names_a_run_that_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once(monkeypatch, "begin")
    with artfs.init(id="r") as run:
        artifact = run.log_artifact(made(a="a"))
        with pytest.raises(Unreachable):
            artifact.wait()
        assert versions("data") == []
        run.log_artifact(artifact)
    assert names(recorded("r").logged_artifacts()) == ["data:v0"]


def test_who_may_only_read_a_store_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is not recorded, and says so once."""
    with public_directory() as directory:
        store, cache = directory / "store", directory / "cache"
        Repository.open(str(store), cache, create=True).close()
        monkeypatch.setenv("ARTFS_STORE", str(store))
        saved(a="a")
        places = [store, *(path for path in store.rglob("*") if path.is_dir())]
        for place in places:
            place.chmod(0o555)
        monkeypatch.setenv("ARTFS_CACHE_DIR", str(directory / "nobodys"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(directory))
        monkeypatch.chdir(directory)

        def use() -> tuple[str, list[str]]:
            said: list[str] = []
            monkeypatch.setattr(recording.log, "warning", lambda text, *a: said.append(text % a))
            with artfs.init(id="r") as run:
                version = run.use_artifact("data").version
            return version, said

        version, said = cast("tuple[str, list[str]]", as_nobody(use))
        assert version == "v0"
        assert len(said) == 1
        assert said[0].startswith("run r is not recorded as it should be: ")
        assert "ermission denied" in said[0]
        (only,) = artfs.Api(store=store).runs()
        assert only.job_type == "auto"  # that of `saved`
        for place in places:
            place.chmod(0o755)


def test_many_versions_are_written_in_few_parts(home: Path) -> None:
    with artfs.init(id="r") as run:
        for i in range(60):
            run.log_artifact(made(f"a{i}", x=str(i)))
    assert len(recorded("r").logged_artifacts()) == 60
    parts = list((home / "store/runs/default/default/r/artifacts").glob("*.json"))
    assert 0 < len(parts) <= 60


def test_threads_of_one_run() -> None:
    saved(a="a")
    with artfs.init(id="r") as run, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: run.use_artifact("data", use_as=f"u{i}"), range(20)))
        list(pool.map(lambda i: run.log_artifact(made(f"a{i}", x=str(i))), range(20)))
    found = recorded("r")
    assert {one.use_as for one in found.used_artifacts()} == {f"u{i}" for i in range(20)}
    assert set(names(found.logged_artifacts())) == {f"a{i}:v0" for i in range(20)}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("artfs-")]


@pytest.mark.slow
def test_many_processes_record_at_once() -> None:
    """Four runs, and four processes of a fifth."""
    artifact = saved(a="a")
    text = """
import sys, artfs
with artfs.init(id=sys.argv[2]) as run:
    for i in range(5):
        run.use_artifact("data", use_as=f"{sys.argv[1]} {i}")
        artifact = artfs.Artifact(f"out-{sys.argv[1]}-{i}", "t")
        with artifact.new_file("f") as file:
            file.write("x")
        run.log_artifact(artifact)
"""
    commands = [[sys.executable, "-c", text, str(i), run] for i, run in enumerate("abcdeeee")]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(120) for process in processes] == [0] * 8
    assert sorted(run.id for run in artifact.used_by()) == ["a", "b", "c", "d", "e"]
    for i, run in enumerate("abcd"):
        made_by = names(recorded(run).logged_artifacts())
        assert sorted(made_by) == [f"out-{i}-{k}:v0" for k in range(5)]
        assert len(recorded(run).used_artifacts()) == 5
    assert len(recorded("e").logged_artifacts()) == len(recorded("e").used_artifacts()) == 20


def test_a_use_is_found_without_reading_runs(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved("other", a="a")
    artifact = saved(a="a")
    with artfs.init(id="r") as run:
        run.use_artifact("data")

    def refuse(*args: object) -> None:
        raise AssertionError

    for method in ("get", "read_record", "list_names"):
        monkeypatch.setattr(repository.store, method, refuse)
    assert [found.id for found in artifact.used_by()] == ["r"]
    assert repository.runs.users(run.place.key("data"), 1) == []
    assert str(RunKey(*artifact.used_by()[0].path)) == "default/default/r"
