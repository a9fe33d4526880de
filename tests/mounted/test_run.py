"""`artfs run`: programs read and write versions as files, and the store knows what they did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import artfs as api
from artfs.api.recorded import RecordedRun
from artfs.errors import NotFound
from artfs.vfs.draft.records import DraftInfo, list_drafts
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.mounts import artfs, artfs_processes, fuse_mounts, wait_for
from tests.support.twin import put

pytestmark = pytest.mark.fuse


@pytest.fixture(autouse=True)
def work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with nothing in it before or after; `raw:v0` has three files."""
    base = tmp_path / "base"
    (base / "sub").mkdir(parents=True)
    (base / "a").write_text("a\n")
    (base / "b").write_text("b\n")
    (base / "sub" / "c").write_text("c\n")
    put(base, "raw")
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "work"
    assert not os.listdir(tmp_path / "tmp")
    assert not fuse_mounts(tmp_path)
    assert not artfs_processes(str(tmp_path))
    assert not os.listdir(home / "state/artfs/mounts")


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return artfs("run", *arguments, check=check)


def sh(script: str) -> list[str]:
    return ["--", "sh", "-c", script]


def made_by(ref: str) -> RecordedRun:
    found = api.Api().artifact(ref).logged_by()
    assert found is not None
    return found


def content(ref: str, path: str) -> str:
    with api.open(ref, path) as file:
        return file.read().decode()


def used(one: RecordedRun) -> list[tuple[str, str | None]]:
    return [(artifact.name, artifact.use_as) for artifact in one.used_artifacts()]


def drafts() -> list[DraftInfo]:
    """Those that can be gone on with."""
    found = list_drafts(Path(os.environ["XDG_STATE_HOME"]) / "artfs")
    return [draft for draft in found if draft.state in ("mounted", "kept")]


def resumed(draft: DraftInfo, at: Path) -> str:
    """Go on with a draft, and end it. What `artfs umount` prints."""
    at.mkdir()
    artfs("draft", "--resume", draft.record.id, at)
    said = artfs("umount", at).stdout
    at.rmdir()
    return said


def test_a_program_between_versions(work: Path) -> None:
    """It gets paths, by variables and in its arguments; its output is its own."""
    script = (
        'cat "$1/a" "$ARTFS_INPUT_RAW/b" "$ARTFS_MOUNT/raw/latest/sub/c" >"$2/all"; cat out/all'
    )
    given = ["--input", "raw", "--output", "clean=out", "--name", "cleaning", "--job-type", "prep"]
    done = run(*given, *sh(script), "sh", "{input:raw}", "{output:clean}")
    assert (done.stdout, done.stderr) == ("a\nb\nc\n", "clean:v0\n")
    assert content("clean", "all") == "a\nb\nc\n"
    found = made_by("clean")
    assert (found.name, found.job_type, found.state) == ("cleaning", "prep", "finished")
    assert found.command[:2] == ["sh", "-c"]
    assert used(found) == [("raw:v0", None)]
    assert [artifact.name for artifact in found.logged_artifacts()] == ["clean:v0"]
    assert [user.id for user in api.Api().artifact("raw").used_by()] == [found.id]
    assert not os.listdir(work)


def test_what_was_not_opened_was_not_used() -> None:
    put(Path("/etc/hostname"), "other")
    script = "ls -lR $ARTFS_MOUNT >/dev/null; cat $ARTFS_INPUT_OTHER/hostname >out/x"
    done = run("--input", "raw", "--input", "other", "--output", "clean=out", *sh(script))
    assert done.stderr == "clean:v0\nraw:v0 was not opened\n"
    assert used(made_by("clean")) == [("other:v0", None)]


def test_inputs_on_directories_of_their_own(work: Path) -> None:
    artfs("--project", "far", "put", "raw", "/etc/hostname")
    (work / "there").mkdir()
    script = "cat deep/er/a there/hostname $ARTFS_INPUT_RAW/hostname >out/x; touch there/x"
    given = ["--input", "raw:latest=deep/er", "--input", "far/raw:v0=there"]
    done = run(*given, "--input", "far/raw", "--output", "clean=out", *sh(script), check=False)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    run(*given, "--input", "far/raw", "--output", "clean=out", *sh(script.partition(";")[0]))
    assert [artifact.qualified_name for artifact in made_by("clean").used_artifacts()] == [
        "default/default/raw:v0", "default/far/raw:v0",
    ]  # fmt: skip
    assert os.listdir(work) == ["there"]


def test_files_that_were_opened(home: Path) -> None:
    run("--files", "--output", "clean=out", *sh("cd $ARTFS_MOUNT/raw/v0; cat b sub/c >$OLDPWD/x"),
        check=False)  # fmt: skip
    (key,) = [one.id for one in api.Api().artifact("raw").used_by()]
    shown = json.loads(artfs("--json", "runs", key).stdout)
    assert shown["inputs"][0]["files"] == ["b", "sub/c"]
    (line,) = artfs("runs").stdout.splitlines()
    assert line.split("\t")[-1] == "sh -c 'cd $ARTFS_MOUNT/raw/v0; cat b sub/c >$OLDPWD/x'"


def test_files_that_were_opened_in_two_mounts() -> None:
    """The version is one, in the project's mount and on a directory of its own."""
    script = "cat own/a $ARTFS_MOUNT/raw/v0/b"
    assert run("--files", "--input", "raw=own", *sh(script)).stdout == "a\nb\n"
    [found] = api.Api().artifact("raw").used_by()
    [used_] = json.loads(artfs("--json", "runs", found.id).stdout)["inputs"]
    assert used_["files"] == ["a", "b"]


def test_a_program_that_fails_leaves_a_draft_to_go_on_with(work: Path) -> None:
    script = "cat $ARTFS_MOUNT/raw/v0/a >out/x; exit 7"
    done = run("--output", "clean=out", "--output", "empty=none", *sh(script), check=False)
    assert done.returncode == 7
    (draft,) = drafts()
    assert draft.record.name == "clean"
    assert f"artfs draft --resume {draft.record.id} MNT goes on with it" in done.stderr
    (failed,) = api.Api().runs()
    assert (failed.state, failed.exit_code) == ("failed", 7)
    assert resumed(draft, work / "mnt") == "clean:v0\n"
    assert content("clean", "x") == "a\n"
    found = made_by("clean")
    assert found.id == failed.id
    assert [artifact.name for artifact in found.logged_artifacts()] == ["clean:v0"]
    assert used(found) == [("raw:v0", None)]


@pytest.mark.parametrize(("command", "status"), [("nosuch", 127), ("", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_started(command: str, status: int) -> None:
    done = run("--output", "clean=out", "--", command, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(f"artfs: {command}: ")
    assert not drafts()


def test_a_script_that_does_not_say_what_it_is_for(work: Path) -> None:
    """The shell takes it, as it does where env, nohup or a shell start it."""
    (work / "script").write_text('echo "$0" "$@"\n')
    (work / "script").chmod(0o755)
    assert run("--", "./script", "a b").stdout == "./script a b\n"
    (work / "script").unlink()


@pytest.mark.parametrize("name", ["new", "raw"])
def test_nothing_is_made_of_an_output_that_is_left_empty(name: str) -> None:
    """As of one in which nothing was ever written: it is not the next version, and the latest."""
    for script in ("true", "touch out/lock; rm out/lock"):
        done = run("--output", f"{name}=out", *sh(script))
        assert done.stderr == f"{name}: nothing was written\n"
    with pytest.raises(NotFound):
        api.Api().artifact(f"{name}:v{int(name == 'raw')}")
    assert not drafts()


def test_an_output_over_a_version() -> None:
    done = run("--output", "raw:latest=out", *sh("rm out/a; cp out/b out/d"))
    assert done.stderr == "raw:v1\n"
    assert sorted(api.Api().artifact("raw:v1").manifest.entries) == ["b", "d", "sub/c"]
    assert used(made_by("raw:v1")) == [("raw:v0", "base")]
    assert run("--output", "raw:v1=out", "--", "true").stderr == "raw:v1 (unchanged)\n"
    done = run("--output", "raw=out", *sh("cp -r $ARTFS_MOUNT/raw/v1/. out/"))
    assert done.stderr == "raw:v1 (unchanged)\n"
    assert not drafts()


def test_as_a_document() -> None:
    done = artfs("--json", "run", "--output", "clean=out", *sh("cp $ARTFS_MOUNT/raw/v0/a out/"))
    found = json.loads(done.stdout)
    assert found.pop("run") == "/".join(made_by("clean").path)
    assert found == {
        "exit": 0, "drafts": [],
        "inputs": [{"artifact": "default/default/raw", "version": "v0", "use_as": ""}],
        "outputs": [{"artifact": "clean", "version": "v0", "changed": True}],
    }  # fmt: skip


def test_what_cannot_be(work: Path) -> None:
    (work / "full").mkdir()
    (work / "full" / "x").touch()
    for arguments, status, said in (
        (["--input", "nosuch"], 3, "no such artifact"),
        (["--output", "clean"], 2, "is not of the form REF=DIR"),
        (["--output", "clean=a", "--output", "clean=b"], 2, "is given twice"),
        (["--output", "clean=full"], 1, "is not empty"),
        (["--output", "clean=made/by/us", "--output", "x=full"], 1, "is not empty"),
        (["--output", "raw=out", "--type", "model"], 4, "has type 'dataset'"),
    ):
        done = run(*arguments, "--", "touch", "ran", check=False)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert os.listdir(work) == ["full"]
    assert not drafts()


def test_a_conflict_keeps_the_draft() -> None:
    """While it runs, somebody else changes the same path."""
    script = f"echo mine >out/a; cd /; {sys.executable} -m artfs put raw /etc/hostname --at a >&2"
    done = run("--output", "raw:v0=out", *sh(script), check=False)
    assert done.returncode == 4
    assert "changed on both sides: a" in done.stderr
    assert [draft.record.name for draft in drafts()] == ["raw"]
    assert [one.exit_code for one in api.Api().runs()] == [4]
    done = run("--output", "raw:v0=out", "--on-conflict", "ours", *sh("echo mine >out/a"))
    assert done.stderr == "put on v1, which others had made meanwhile\nraw:v2\n"


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "artfs", "run", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


WAITING = """
import pathlib, signal, sys, time
numbers = []
def note(number, frame):
    numbers.append(number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, note)
pathlib.Path(sys.argv[1], "a").read_text()
pathlib.Path("out/begun").write_text("begun")
print("ready", flush=True)
while not numbers:
    signal.sigtimedwait([], 0.05)
time.sleep(0.2)
print(*numbers, flush=True)
sys.exit(len(numbers) - 1)
"""
WAIT = ["--input", "raw", "--output", "clean=out", "--", sys.executable, "-c", WAITING,
        "{input:raw}"]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_passed_on(number: signal.Signals) -> None:
    with started(*WAIT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, f"{number:d}\n", "clean:v0\n")


def test_a_terminal_interrupts_the_command_once() -> None:
    """Its signal goes to both, and is not passed on again."""
    command = [sys.executable, "-m", "artfs", "run", *WAIT]
    quoted = " ".join(f"'{word}'" for word in command).replace("'{input:raw}'", "{input:raw}")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        # exec: else dash, where it is the shell, gets the signal too and exits as interrupted.
        ["script", "-qec", f"exec {quoted}", "/dev/null"],
        stdin=pipe,
        stdout=pipe,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        process.stdin.write("\x03")
        process.stdin.flush()
        said = process.stdout.read().replace("^C", "").split()
    assert said == ["2", "clean:v0"]
    assert process.returncode == 0


def test_a_command_that_a_signal_ends() -> None:
    done = run("--output", "clean=out", *sh("touch out/x; kill -KILL $$"), check=False)
    assert done.returncode == 137
    assert [draft.record.name for draft in drafts()] == ["clean"]


def test_artfs_run_is_killed(work: Path) -> None:
    """Its mounts go, its draft stays, and what was opened until then is known."""
    with started(*WAIT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait(60)
        wait_for(lambda: not fuse_mounts(work.parent), what="end of the mounts")
        wait_for(lambda: drafts()[0].state == "kept", what="end of the draft's daemon")
        os.killpg(process.pid, signal.SIGKILL)  # the command, which nobody waits for any more
    (draft,) = drafts()
    found = api.Api().runs()[0]
    wait_for(lambda: used(api.Api().run(found.id)) == [("raw:v0", None)], what="record")
    assert found.state == "crashed"
    wait_for(lambda: not artfs_processes(str(work.parent)), what="end of the daemons")
    assert resumed(draft, work / "mnt") == "clean:v0\n"
    assert content("clean", "begun") == "begun"
    temporary = work.parent / "tmp"  # only empty directories are left
    for left in (work / "out", *temporary.glob("*/*"), *temporary.glob("*")):
        left.rmdir()


def test_the_daemon_of_an_output_is_killed(work: Path) -> None:
    """The command sees its files fail; the draft is kept."""
    script = f"touch out/x; kill -KILL $({sys.executable} -c '{DAEMON}'); touch out/y"
    done = run("--output", "clean=out", *sh(script), check=False)
    assert done.returncode == 1
    assert "is kept" in done.stderr
    assert [draft.state for draft in drafts()] == ["kept"]


DAEMON = """
import glob, json, os
for name in glob.glob(os.environ["XDG_STATE_HOME"] + "/artfs/mounts/*/mount.json"):
    found = json.load(open(name))
    if "draft" in found: print(found["pid"])
"""


def test_what_the_command_leaves_behind_is_cut_off() -> None:
    script = "echo 1 >out/x; (exec 3>>out/x; sleep 60) >/dev/null 2>&1 & echo $!"
    done = run("--output", "clean=out", *sh(script))
    os.kill(int(done.stdout), signal.SIGKILL)
    assert "was in use by programs that the command left behind" in done.stderr
    assert content("clean", "x") == "1\n"


@pytest.mark.slow
def test_many_at_once(work: Path) -> None:
    def one(number: int) -> str:
        script = f"cat $ARTFS_INPUT_RAW/a $ARTFS_INPUT_RAW/b >out{number}/x"
        output = f"clean{number % 2}=out{number}"
        return run("--input", "raw", "--output", output, *sh(f"{script}; echo {number} >"
                   f"out{number}/n{number}"), check=False).stderr  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(one, range(4)))
    assert len(api.Api().artifact("raw").used_by()) == 4, said
    for run_ in api.Api().runs():
        assert run_.state in ("finished", "failed")
        assert len(run_.logged_artifacts()) == (run_.state == "finished")


def test_in_a_bucket(s3_home: str, work: Path) -> None:
    """Runs and uses are kept there as in a directory."""
    put(work.parent / "base", "raw")
    script = 'cat "$ARTFS_INPUT_RAW/a" >out/x'
    assert run("--input", "raw", "--output", "clean=out", *sh(script)).stderr == "clean:v0\n"
    found = made_by("clean")
    assert (found.state, used(found)) == ("finished", [("raw:v0", None)])
    assert [user.id for user in api.Api().artifact("raw").used_by()] == [found.id]
    assert "└─ raw:v0" in artfs("lineage", "clean").stdout


def refused(holds: str) -> Fault:
    return Fault("status", holds=holds, status=403, code="AccessDenied")


def test_the_store_is_lost_while_it_runs(s3_proxy: FaultProxy, s3_home: str, work: Path) -> None:
    """What is kept is said, and the exit status is the command's."""
    with started("--output", "clean=out", *sh("echo 1 >out/x; echo ready; read go; exit 7")) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        s3_proxy.fail(refused("/store/"))
        _, said = one.communicate("go\n", timeout=60)
    s3_proxy.heal()
    [draft] = drafts()
    assert f"draft {draft.record.id} of clean is kept" in said
    assert (one.returncode, "is not recorded as it should be" in said) == (7, True)
    assert resumed(draft, work / "mnt") == "clean:v0\n"


def test_no_version_is_made_of_a_run_whose_inputs_are_not_recorded(
    s3_proxy: FaultProxy, s3_home: str, work: Path
) -> None:
    """It would have come from nothing, for ever. The mount tries again when it ends."""
    put(work.parent / "base", "raw")
    script = "cat $ARTFS_INPUT_RAW/a >out/x; echo ready; read go"
    with started("--input", "raw", "--output", "clean=out", *sh(script)) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        s3_proxy.fail(refused("/uses/"), times=1)
        _, said = one.communicate("go\n", timeout=60)
    [draft] = drafts()
    assert "what was opened is not recorded: " in said
    assert "was not opened" not in said
    assert (one.returncode, f"draft {draft.record.id} of clean is kept" in said) == (6, True)
    assert resumed(draft, work / "mnt") == "clean:v0\n"
    assert used(made_by("clean")) == [("raw:v0", None)]
