"""Runs: logging goes on in the background, and nothing that failed goes unsaid."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import artfs
from artfs import Artifact, Run
from artfs.api.place import find_place
from artfs.errors import Conflict, InvalidValue, NotFound, Unreachable
from artfs.format.record import VersionRecord
from artfs.repo.catalog import Catalog
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
from tests.unit.api.artifacts.contents import made, saved, stored, versions


class Gate:
    """Stands before the commit point: lets nobody through until it is opened; `error` is what
    happens there then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.error: Exception | None = None
        record = Catalog.record_version

        def wait(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
            assert self.opened.wait(30)
            if self.error is not None:
                raise self.error
            record(catalog, key, version)

        monkeypatch.setattr(Catalog, "record_version", wait)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_logging_goes_on_in_the_background(gate: Gate) -> None:
    with artfs.init() as run:
        artifact = made(a="a")
        assert run.log_artifact(artifact) is artifact
        assert artifact.state == "PENDING"
        assert artifact.size == 1
        with pytest.raises(TimeoutError, match="artifact 'data': is not logged after 0 s"):
            artifact.wait(0)
        with pytest.raises(Conflict, match="is being logged"):
            run.log_artifact(artifact)
        gate.opened.set()
        assert artifact.wait() is artifact
        assert (artifact.state, artifact.version) == ("COMMITTED", "v0")


def test_leaving_the_run_waits(gate: Gate) -> None:
    with artfs.init() as run:
        artifacts = [run.log_artifact(made(f"a{i}", x=str(i))) for i in range(5)]
        threading.Timer(0.05, gate.opened.set).start()
    assert [artifact.name for artifact in artifacts] == [f"a{i}:v0" for i in range(5)]


@pytest.mark.parametrize("leave", [Run.finish, lambda run: run.__exit__(None, None, None)])
def test_leaving_the_run_raises_what_failed(gate: Gate, leave: Callable[[Run], None]) -> None:
    gate.error = Unreachable("store", "does not answer")
    gate.opened.set()
    run = artfs.init()
    run.log_artifact(made(a="a"))
    run.log_artifact(made("other", a="a"))
    with pytest.raises(Unreachable, match="does not answer") as raised:
        leave(run)
    assert len(raised.value.__notes__) == 1
    assert artfs.run is None
    run.finish()


def test_what_wait_has_raised_is_not_raised_again(gate: Gate) -> None:
    gate.error = Unreachable("store", "does not answer")
    gate.opened.set()
    with artfs.init() as run:
        artifact = run.log_artifact(made(a="a"), aliases=["one"])
        with pytest.raises(Unreachable):
            artifact.wait()
        gate.error = None
        run.log_artifact(artifact, aliases=["two"])  # once more
    assert (artifact.version, stored("data")) == ("v0", {"a": b"a"})
    assert artifact.aliases == ["latest", "one", "two"]


def test_all_that_failed_is_told_and_the_run_has_failed(gate: Gate) -> None:
    gate.opened.set()
    with artfs.init(id="r") as run:
        run.use_artifact(saved("used", a="a"))
        gate.error = Unreachable("store", "does not answer")
        run.log_artifact(made("one", a="a"))
        run.log_artifact(made("two", a="a"))
        with pytest.raises(Unreachable) as raised:
            run.finish()
    assert raised.value.__notes__ == ["and: store: does not answer"]
    recorded = artfs.Api().run("r")
    assert (recorded.state, recorded.exit_code) == ("failed", 1)


def test_what_is_logged_while_another_thread_finishes_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever finishes it has not waited for this; so `log_artifact` does."""
    run = artfs.init()
    begin = Artifact.log_in

    def late(*args: Any, **options: Any) -> object:  # noqa: ANN401  # handed on
        job = begin(*args, **options)
        run.finish()
        return job

    monkeypatch.setattr(Artifact, "log_in", late)
    artifact = run.log_artifact(made(a="a"))
    assert artifact.state == "COMMITTED"


def test_an_error_in_the_block_is_the_one_that_is_raised(gate: Gate) -> None:
    gate.error = Unreachable("store", "does not answer")
    gate.opened.set()

    def fail() -> None:
        with artfs.init() as run:
            run.log_artifact(made(a="a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert raised.value.__notes__ == ["and logging failed: store: does not answer"]


def test_a_commit_whose_answer_was_lost_makes_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Catalog.record_version

    def lose(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
        monkeypatch.setattr(Catalog, "record_version", record)
        record(catalog, key, version)
        raise Unreachable("store", "does not answer")

    monkeypatch.setattr(Catalog, "record_version", lose)
    artifact = made(a="a")
    with pytest.raises(Unreachable):
        artifact.save()
    artifact.save()
    assert (artifact.version, versions("data")) == ("v0", [0])


def test_a_draft_finds_its_version_behind_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    old = saved(a="a")
    draft, other = old.new_draft(), old.new_draft()
    record = Catalog.record_version

    def lose(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
        monkeypatch.setattr(Catalog, "record_version", record)
        record(catalog, key, version)
        raise Unreachable("store", "does not answer")

    monkeypatch.setattr(Catalog, "record_version", lose)
    draft.remove("a")
    with pytest.raises(Unreachable):
        draft.save()
    other.add_file("model.h5")
    other.save()
    draft.save()
    assert (draft.version, versions("data")) == ("v1", [0, 1, 2])


def test_another_process_takes_the_number(gate: Gate) -> None:
    Path("b").write_text("b")
    with artfs.init() as run:
        artifact = run.log_artifact(made(a="a"))
        command = [sys.executable, "-m", "artfs", "put", "data", "b"]
        subprocess.run(command, check=True, capture_output=True)
        gate.opened.set()
    assert artifact.version == "v1"
    assert stored("data:v0") == {"b": b"b"}


def test_unchanged_content_makes_no_version() -> None:
    one = saved(a="a")
    with artfs.init() as run:
        two = run.log_artifact(made(a="a"), aliases=["best"])
    assert (two.name, two.id, two.aliases) == ("data:v0", one.id, ["latest", "best"])
    assert versions("data") == [0]


def test_logging_a_version_again_gives_it_aliases() -> None:
    artifact = saved(a="a")
    with artfs.init() as run:
        run.log_artifact(artifact, aliases=["best"])
        assert artifact.aliases == ["latest", "best"]
    assert versions("data") == [0]


@pytest.mark.parametrize("path", ["model.h5", "images", Path("images")])
def test_a_path_is_logged(path: str | Path) -> None:
    with artfs.init(id="r1") as run:
        artifact = run.log_artifact(path, name="mine", type="model", aliases=["best"])
        other = run.log_artifact(path)
    assert (artifact.name, artifact.type) == ("mine:v0", "model")
    assert (other.name, other.type) == (f"run-r1-{Path(path).name}:v0", "unspecified")
    assert len(stored("mine")) == (1 if path == "model.h5" else 2)
    with artfs.init() as run, pytest.raises(NotFound, match="missing: no such file"):
        run.log_artifact("missing")
    with artfs.init() as run, pytest.raises(InvalidValue, match="are those of the artifact"):
        run.log_artifact(made(a="a"), name="other")


def test_use_artifact() -> None:
    saved(a="1")
    saved(a="2")
    with artfs.init() as run:
        assert run.use_artifact("data").version == "v1"
        assert run.use_artifact("data:v0", type="dataset", use_as="in").use_as == "in"
        assert artfs.use_artifact("default/data:latest").version == "v1"
        with pytest.raises(Conflict, match="has type 'dataset', not 'model'"):
            run.use_artifact("data", type="model")
        with pytest.raises(NotFound, match="data:v7: no such version"):
            run.use_artifact("data:v7")
        with pytest.raises(InvalidValue, match="may hold only"):
            run.use_artifact("da ta")
        new = made("new", a="a")
        assert run.use_artifact(new, type="dataset") is new
        assert new.version == "v0"
        with pytest.raises(Conflict, match="has type 'dataset', not 'model'"):
            run.use_artifact(new, type="model")


@pytest.mark.parametrize("what", ["name", "group", "job_type"])
def test_what_a_run_is_called_is_text(what: str) -> None:
    """A group is often a time or the number of a job."""
    wrong: dict[str, Any] = {what: 1732690000}
    with pytest.raises(InvalidValue, match=f"^{what} of a run: is a int, not text$"):
        artfs.init(**wrong)


def test_a_finished_artifact_nothing() -> None:
    with artfs.init() as run:
        pass
    with pytest.raises(InvalidValue, match="has finished"):
        run.log_artifact(made(a="a"))
    with pytest.raises(InvalidValue, match="has finished"):
        run.use_artifact("data")


def test_the_current_run() -> None:
    assert artfs.run is None
    with artfs.init(name="one", job_type="train", group="g") as one:
        assert artfs.run is one
        assert (one.name, one.job_type, one.group) == ("one", "train", "g")
        assert (one.entity, one.project) == ("default", "default")
        with artfs.init() as two:
            assert artfs.run is two
            assert two.id == two.name != one.id
        assert artfs.run is one
        artifact = made(a="a")
        artifact.save()
        artifact.wait()
        assert artfs.Api().artifact("data").version == "v0"
    artfs.finish()
    assert artfs.run is None


def test_a_thread_means_its_own_run() -> None:
    begun, done = threading.Event(), threading.Event()

    def other() -> None:
        with artfs.init(project="other"):
            begun.set()
            assert done.wait(30)
            artfs.log_artifact(made("theirs", a="a"))

    with artfs.init(project="mine"):
        thread = threading.Thread(target=other)
        thread.start()
        assert begun.wait(30)
        artfs.log_artifact(made("ours", a="a"))
        done.set()
        thread.join()
    assert stored("mine/ours") == stored("other/theirs") == {"a": b"a"}


def test_save_in_a_run_is_done_by_the_run(gate: Gate) -> None:
    with artfs.init(project="p"):
        artifact = made(a="a")
        artifact.save()
        assert artifact.state == "PENDING"
        gate.opened.set()
    assert artifact.qualified_name == "default/p/data:v0"


def test_save_outside_a_run_into_a_project() -> None:
    artifact = made(a="a")
    artifact.save(project="p")
    assert artifact.qualified_name == "default/p/data:v0"


def test_settings_are_found_as_the_command_line_finds_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTFS_PROJECT", "me/env")
    with artfs.init() as run:
        assert (run.entity, run.project) == ("me", "env")
    with artfs.init(entity="you") as run:
        assert (run.entity, run.project) == ("you", "env")
    with artfs.init(project="p") as run:
        assert (run.entity, run.project) == ("default", "p")
    monkeypatch.setenv("ARTFS_STORE", str(tmp_path / "nothing"))
    with pytest.raises(NotFound, match="no store there"):
        artfs.init()
    with pytest.raises(NotFound, match="no store there"):
        made(a="a")
    monkeypatch.delenv("ARTFS_STORE")
    made(a="a").save()  # the default store is made on first use
    assert (home / "data/artfs/store/artfs.json").exists()


def test_a_store_that_is_given(tmp_path: Path, home: Path) -> None:
    other = tmp_path / "other"
    Repository.open(str(other), home / "cache", create=True).close()
    with artfs.init(store=other) as run:
        run.log_artifact(made(a="a"))
    assert artfs.Api(store=other).artifact("data").file_count == 1
    with pytest.raises(NotFound):
        artfs.Api().artifact("data")
    artifact = made(a="a")
    with artfs.init(store=other) as run, pytest.raises(InvalidValue, match="has its files in"):
        run.log_artifact(artifact)


def test_one_repository_for_a_store_as_long_as_somebody_uses_it(repository: Repository) -> None:
    assert find_place().repository is repository
    assert find_place(project="other").repository is repository


SCRIPT = """
import artfs
run = artfs.init()
for i in range(3):
    artifact = artfs.Artifact("late", "t")
    with artifact.new_file("number") as file:
        file.write(str(i))
    run.log_artifact(artifact)
"""


def script(text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_program_that_ends_without_finishing_its_run() -> None:
    done = script(SCRIPT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [stored(f"late:v{i}")["number"] for i in range(3)] == [b"0", b"1", b"2"]


def test_a_failure_that_nobody_waited_for_is_logged_at_exit() -> None:
    text = "from artfs.repo import catalog\ncatalog.Catalog.set_alias = None\n" + SCRIPT
    done = script(text.replace("log_artifact(artifact)", "log_artifact(artifact, aliases=['a'])"))
    assert "object is not callable" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_artfs_is_cheap() -> None:
    done = script("import sys, artfs\nprint([m for m in sys.modules if m.startswith('artfs.')])")
    assert done.stdout.strip() == "['artfs.errors']"
    done = script("import artfs\nartfs.Artifact, artfs.Api, dir(artfs)\nartfs.nothing")
    assert "module 'artfs' has no attribute 'nothing'" in done.stderr


@pytest.mark.slow
def test_many_threads_log(home: Path) -> None:
    with artfs.init() as run:

        def log(number: int) -> None:
            for i in range(5):
                run.log_artifact(made(f"a{number % 2}", x=f"{number} {i}"))

        threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in ("a0", "a1"):
        found = {stored(f"{name}:v{i}")["x"] for i in versions(name)}
        assert (len(versions(name)), len(found)) == (10, 10)


def test_an_artifact_that_is_given_up_leaves_no_thread_and_no_file(
    home: Path, repository: Repository
) -> None:
    before: Callable[[], set[str]] = lambda: {  # noqa: E731  # looked at twice
        str(path) for path in (home / "store").rglob("*") if path.is_file()
    }
    there = before()
    artifact = made(a=os.urandom(5 << 20))
    del artifact
    assert before() == there
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("artfs-")]


def test_settings_of_a_run_that_is_begun_for_an_artifact() -> None:
    settings = artfs.Settings(project="zoo", run_group="g", run_job_type="collect", run_id="me")
    artifact = made(x="x")
    artifact.save(settings=settings)
    assert artifact.qualified_name == "default/zoo/data:v0"
    with artfs.init(settings=settings, group="mine") as run:
        assert (run.project, run.group, run.job_type, run.id) == ("zoo", "mine", "collect", "me")
    other = made(x="x")
    other.save("farm", settings)
    assert other.project == "farm"


def test_settings_do_not_move_files_to_another_store(work: Path) -> None:
    Repository.open(str(work / "other"), work / "cache", create=True).close()
    artifact = made(x="x")
    with pytest.raises(InvalidValue, match="has its files in the store"):
        artifact.save(settings=artfs.Settings(store=work / "other"))
    artifact.save()
    assert artifact.version == "v0"
