"""What artfs-semantics(7) says of when a version is made, sentence by sentence."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.conftest import Shared
from tests.support.mounts import Mount, artfs, is_mounted, mounted, wait_for
from tests.support.twin import here, put, store_bytes

pytestmark = pytest.mark.fuse


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """What `data:v0` holds."""
    path = tmp_path / "base"
    path.mkdir()
    (path / "a").write_text("base")
    put(path)
    return path


@pytest.fixture
def mount(base: Path, tmp_path: Path) -> Iterator[Mount]:
    with mounted("draft", "data", at=tmp_path / "mnt") as found:
        yield found


def versions() -> int:
    return len(json.loads(here("--json", "log", "data")))


def draft() -> tuple[str, str]:
    """Id and state of the one draft there is."""
    (found,) = json.loads(here("--json", "drafts"))
    return found["draft"], found["state"]


def fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def test_what_a_draft_is_over(base: Path, tmp_path: Path) -> None:
    """A draft is an ordinary writable filesystem over a version, its base, or over nothing."""
    for args, version in ((["data"], "data:v1"), (["--new", "--type", "t", "other"], "other:v0")):
        with mounted("draft", *args, at=tmp_path / "mnt") as mount:
            assert os.listdir(mount.path) == (["a"] if args == ["data"] else [])
            (mount.path / "a").write_text("written")
            assert mount.umount().stdout == f"{version}\n"
        assert here("cat", version, "a") == "written"


def test_artfs_sync(shared: Shared, drafted: Path) -> None:
    """artfs sync MNT makes a version and prints it, or says that there is nothing new; the mount
    goes on over it."""
    before = versions()
    root = shared.mount.path
    for text in ("1", "2"):
        (drafted / "text").write_text(text)
        version = artfs("sync", root).stdout.strip()
        assert version == f"data:v{versions() - 1}"
        assert here("cat", version, f"{drafted.name}/text") == text
        assert artfs("sync", root).stdout == "unchanged\n"
    assert versions() == before + 2
    assert (drafted / "text").read_text() == "2"


def test_the_program_sync(base: Path, tmp_path: Path) -> None:
    """sync MNT with the program sync(1) makes a version too, unless the draft was mounted with
    --commit-on unmount."""
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        (mount.path / "a").write_text("new")
        subprocess.run(["sync", mount.path], check=True)
        assert versions() == 2
    with mounted("draft", "data", "--commit-on", "unmount", at=tmp_path / "mnt") as mount:
        (mount.path / "a").write_text("newer")
        subprocess.run(["sync", mount.path], check=True)
        assert versions() == 2
    assert versions() == 3


def test_fsync_of_the_root(shared: Shared, drafted: Path) -> None:
    """fsync(2) of that directory by any other program makes the draft durable and no more, as
    databases do it after every transaction."""
    before = versions()
    (drafted / "text").write_text("new")
    fsync(shared.mount.path)
    subprocess.run(["sync", drafted], check=True)
    script = "import os, sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))"
    subprocess.run([sys.executable, "-c", script, shared.mount.path], check=True)
    assert versions() == before


def test_artfs_umount(base: Path, tmp_path: Path) -> None:
    """artfs umount MNT makes a version, waits for it and prints it, unless the draft was mounted
    with --commit-on sync, or it is told to --keep or --discard the draft."""
    at = tmp_path / "mnt"
    with mounted("draft", "data", at=at) as mount:
        (at / "a").write_text("first")
        assert mount.umount().stdout == "data:v1\n"
        assert versions() == 2
    with mounted("draft", "data", "--commit-on", "sync", at=at) as mount:
        (at / "a").write_text("second")
        assert "kept" in mount.umount().stdout
    kept = next(d["draft"] for d in json.loads(here("--json", "drafts")) if d["state"] == "kept")
    with mounted("draft", "--resume", kept, at=at) as mount:
        assert (at / "a").read_text() == "second"
        assert "kept" in mount.umount("--keep").stdout
    with mounted("draft", "--resume", kept, at=at) as mount:
        assert mount.umount("--discard").stdout == "discarded\n"
    assert kept not in here("drafts")
    assert versions() == 2


@pytest.mark.parametrize("command", [["fusermount3", "-u"], ["umount"]], ids=lambda c: c[0])
def test_a_plain_unmount(mount: Mount, command: list[str]) -> None:
    """After umount MNT or fusermount3 -u MNT the daemon makes the version in the background, unless
    the draft was mounted with --commit-on sync, and artfs drafts shows what became of it."""
    if command == ["umount"] and os.geteuid() != 0:
        pytest.skip("only root may use umount")
    (mount.path / "a").write_text("new")
    subprocess.run([*command, mount.path], check=True)
    wait_for(lambda: not mount.daemons, what="end of the daemon")
    committed, state = draft()
    assert state == "committed"
    assert here("cat", "data:v1", "a") == "new"
    with mounted("draft", "data", "--commit-on", "sync", at=mount.path) as kept:
        (mount.path / "a").write_text("newer")
        subprocess.run([*command, mount.path], check=True)
        wait_for(lambda: not kept.daemons, what="end of the daemon")
    states = {d["draft"]: d["state"] for d in json.loads(here("--json", "drafts"))}
    assert states.pop(committed) == "committed"
    assert list(states.values()) == ["kept"]
    assert versions() == 2


@pytest.mark.parametrize("option", ["--discard", "--keep"])
def test_an_unmount_that_fails(mount: Mount, option: str) -> None:
    """Where artfs umount fails, the draft stays mounted, and a later unmount goes by how it was
    mounted, not by what was said then."""
    with (mount.path / "a").open("a"):
        assert artfs("umount", option, mount.path, check=False).returncode == 4
    assert is_mounted(mount.path)
    (mount.path / "new").write_text("written since")
    subprocess.run(["fusermount3", "-u", mount.path], check=True)
    wait_for(lambda: not mount.daemons, what="end of the daemon")
    assert here("cat", "data:v1", "new") == "written since"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(mount: Mount, number: signal.Signals) -> None:
    """SIGTERM and SIGINT to the daemon are an unmount, also where files are open."""
    fd = os.open(mount.path / "a", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"written, and open")
    (daemon,) = mount.daemons
    os.kill(daemon, number)
    wait_for(lambda: not mount.daemons, what="end of the daemon")
    with contextlib.suppress(OSError):  # nobody is there to be told
        os.close(fd)
    assert not is_mounted(mount.path)
    assert here("cat", "data:v1", "a") == "written, and open"


def test_status(base: Path, tmp_path: Path) -> None:
    """artfs status MNT lists what was added, modified, deleted and renamed since the base, and the
    bytes that were written; it says up to which version others have made the artifact move on, and
    why the last commit failed."""
    for name in ("b", "c"):
        (base / name).write_text(f"{name} of the base")
    put(base)
    with mounted("draft", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        path = mount.path
        (path / "a").write_text("12345")
        (path / "b").unlink()
        (path / "c").rename(path / "d")
        (path / "new").write_bytes(bytes(1000))
        first, *lines, last = artfs("status", path).stdout.splitlines()
        assert first.endswith("of data over v1")
        assert sorted(line.partition("\t")[0] for line in lines) == [
            "A new", "D b", "M a", "R c -> d"
        ]  # fmt: skip
        assert last == "4 changes, 1005 B written"
        (base / "a").write_text("by another")
        put(base)
        said = artfs("status", path).stdout
        assert "data has moved on to v2" in said
        assert "failed" not in said
        assert artfs("sync", path, check=False).returncode == 4
        said = artfs("status", path).stdout
        assert "last commit failed: artifact 'data': changed on both sides: a" in said
        mount.umount("--discard")


def test_diff(base: Path, mount: Mount) -> None:
    """artfs diff MNT shows changes of text files line by line."""
    (mount.path / "a").write_text("base\nand more\n")
    (mount.path / "new").write_bytes(b"\0\1")
    lines = artfs("diff", mount.path).stdout.splitlines()
    assert [line for line in lines if line[:3] in ("---", "+++")] == ["--- a/a", "+++ b/a"]
    assert [line for line in lines if line[:1] in "+ -" and line[:3] not in ("---", "+++")] == [
        " base", "+and more",
    ]  # fmt: skip
    assert any(line.startswith("A new") for line in lines)


def test_drafts(base: Path, tmp_path: Path) -> None:
    """artfs drafts lists all drafts, mounted or not, with base, age, size, state and the error of
    the last commit."""
    with mounted("draft", "data", at=tmp_path / "mnt", expect_errors=True) as mount:
        (mount.path / "a").write_bytes(bytes(100_000))
        (base / "a").write_text("by another")
        put(base)
        assert artfs("sync", mount.path, check=False).returncode == 4
        mount.umount("--keep")
    with mounted("draft", "data", at=tmp_path / "mnt"):
        kept, new = json.loads(here("--json", "drafts"))
        assert (kept["artifact"], kept["base"], kept["state"]) == ("data", "v0", "kept")
        assert "changed on both sides: a" in kept["error"]
        assert kept["size"] > 100_000
        assert 0 <= kept["age"] < 600
        assert (new["base"], new["state"], new["error"]) == ("v1", "mounted", None)
        lines = here("drafts").splitlines()
        for draft, line in zip((kept, new), lines, strict=True):
            for word in (draft["draft"], "data", draft["base"], draft["state"], draft["error"]):
                assert (word or "") in line


WRITER = """
import os, sys
os.chdir(sys.argv[1])
for n in range(100_000):
    with open(f"{n % 50}", "w") as file:
        file.write(str(n))
    with open("count", "r+") as file:
        file.write(str(n))
    print(n, flush=True)
"""


@pytest.fixture
def writer(mount: Mount) -> Iterator[subprocess.Popen[str]]:
    """Writes n to file `n % 50`, then to `count`, then prints it, and goes on with n + 1."""
    (mount.path / "count").write_text("0")
    for n in range(30):  # so that a commit takes a while
        (mount.path / f"data{n}").write_bytes(random.Random(n).randbytes(1 << 20))
    command = [sys.executable, "-c", WRITER, str(mount.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def printed(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_a_version_is_one_instant(mount: Mount, writer: subprocess.Popen[str]) -> None:
    """A version is the draft at one instant: every write that returned before is in it."""
    while printed(writer) < 60:
        pass
    before = printed(writer)
    version = artfs("sync", mount.path).stdout.strip()
    writer.kill()
    count = int(here("cat", version, "count"))
    assert count >= before
    for n in range(count - 48, count + 1):  # the rest may be of the next round
        assert int(here("cat", version, str(n % 50))) == n


def test_writes_during_a_commit(mount: Mount, writer: subprocess.Popen[str]) -> None:
    """A write that comes while a version is being made is in the draft still, and in the next
    version."""
    while printed(writer) < 60:
        pass
    first = artfs("sync", mount.path).stdout.strip()
    count = int(here("cat", first, "count"))
    while (last := printed(writer)) < count + 60:
        pass
    writer.kill()
    writer.wait()
    now = int((mount.path / "count").read_text())
    assert now >= last
    for n in range(now - 48, now + 1):
        assert int((mount.path / str(n % 50)).read_text() or n) == n
    second = artfs("sync", mount.path).stdout.strip()
    assert int(here("cat", second, "count")) == now


def test_the_cost_of_a_version(home: Path, tmp_path: Path) -> None:
    """Only new content is stored, and the work grows with what was changed, not with the size of
    the version."""
    (tmp_path / "base").mkdir()
    for n in range(10):
        (tmp_path / "base" / str(n)).write_bytes(random.Random(n).randbytes(1 << 20))
    put(tmp_path / "base")
    stored = store_bytes(home)
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        (mount.path / "copy").write_bytes((mount.path / "3").read_bytes())
        (mount.path / "4").rename(mount.path / "moved")
        (mount.path / "new").write_bytes(random.Random(99).randbytes(50_000))
        assert mount.umount().stdout == "data:v1\n"
    assert 50_000 < store_bytes(home) - stored < 80_000


def test_the_digest_of_a_version(home: Path, tmp_path: Path) -> None:
    """Its digest is the one of the same files stored from nothing."""
    data = random.Random(1).randbytes(5 << 20)
    (tmp_path / "base" / "dir").mkdir(parents=True)
    for name in ("big", "cut", "dir/moved"):
        (tmp_path / "base" / name).write_bytes(data)
    put(tmp_path / "base")
    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        with (mount.path / "big").open("r+b") as file:
            for at in (0, 1_000_003, 3 << 20, 5 << 20):
                file.seek(at)
                file.write(b"written over " * 1000)
        os.truncate(mount.path / "cut", 2_000_001)
        os.truncate(mount.path / "cut", 3_000_000)
        (mount.path / "dir").rename(mount.path / "directory")
        (mount.path / "sub").mkdir()
        os.link(mount.path / "big", mount.path / "sub" / "hard")
        (mount.path / "link").symlink_to("sub/hard")
        artfs("put", "other", mount.path)
        artfs("sync", mount.path)
        mount.umount()
    digests = {json.loads(here("--json", "show", name))["digest"] for name in ("data:v1", "other")}
    assert len(digests) == 1


def test_a_write_under_way(base: Path, tmp_path: Path) -> None:
    """Of a write that is under way at that instant the version may have the first part: the kernel
    divides long writes."""
    size = 4 << 20
    stop = threading.Event()

    def write(path: Path) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        for letter in itertools.cycle(b"xy"):
            os.pwrite(fd, bytes([letter]) * size, 0)
            if stop.is_set():
                break
        os.close(fd)

    with mounted("draft", "data", at=tmp_path / "mnt") as mount:
        path = mount.path / "big"
        writer = threading.Thread(target=write, args=(path,))
        writer.start()
        try:
            wait_for(lambda: path.exists() and path.stat().st_size == size, what="first write")
            made = [artfs("sync", mount.path).stdout.strip() for _ in range(8)]
        finally:
            stop.set()
            writer.join()
    for version in set(made) - {"unchanged"}:
        here("get", version, tmp_path / "out", "--path", "big")
        data = (tmp_path / "out/big").read_bytes()
        assert len(data) == size
        first = len(data) - len(data.lstrip(data[:1]))
        assert len(set(data[first:])) <= 1
