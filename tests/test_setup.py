"""scripts/setup and scripts/demo on machines that lack something, made of stubs.

The PATH holds nothing but stubs and a few tools of the shell. A package of the stub apt-get is a
directory of what it puts there, so a package that it does not know fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = [
    "bash",
    "cat",
    "chmod",
    "cp",
    "dirname",
    "env",
    "mkdir",
    "readlink",
    "sha256sum",
    "touch",
    "true",
]

NOTHING = "#!/bin/bash\n"
ID = '#!/bin/bash\necho "$STUB_UID"\n'
APT_GET = """#!/bin/bash
echo "apt-get $*" >>"$STUB_LOG"
[ "$1" = install ] || exit 0
for package in "${@:2}"; do
    case $package in -*) ;; *) cp -R "$STUB_PACKAGES/$package/." "$STUB_BIN" || exit 100 ;; esac
done
"""
SUDO = """#!/bin/bash
[ "$1" = -n ] || exit 1
echo "sudo ${*:2}" >>"$STUB_LOG"
[ -n "$STUB_SUDO" ] || { echo "sudo: a password is required" >&2; exit 1; }
exec "${@:2}"
"""
PKG_CONFIG = '#!/bin/bash\n[ -e "$STUB_BIN/fuse3.pc" ]\n'
PYTHON = """#!/bin/bash
case "$*" in
    *version_info*) [ -z "$STUB_OLD_PYTHON" ] ;;
    *ensurepip*) [ -e "$STUB_BIN/ensurepip" ] ;;
    *Python.h*) [ -e "$STUB_BIN/Python.h" ] ;;
    "-m venv .venv")
        mkdir -p .venv/bin && cp "$0" .venv/bin/python
        [ -e "$STUB_BIN/ensurepip" ] && touch .venv/pip ;; # as the real one, half made without
    "-m pip --version") [ -e .venv/pip ] ;;
    "-m pip install"*)
        [ -e .venv/pip ] && echo "pip install ${*: -1}" >>"$STUB_LOG"
        [ "$STUB_LACKS" = "" ] || [[ "$*" != *"$STUB_LACKS"* ]] ;;
    *) exit 99 ;;
esac
"""
#: By Debian's name: what a package puts on the machine.
PACKAGES = {
    "fuse3": {"fusermount3": NOTHING}, "git": {"git": NOTHING}, "sqlite3": {"sqlite3": NOTHING},
    "rsync": {"rsync": NOTHING}, "attr": {"getfattr": NOTHING},
    "openssl": {"openssl": NOTHING}, "rclone": {"rclone": NOTHING}, "gcc": {"gcc": NOTHING},
    "libc6-dev": {}, "pkg-config": {"pkg-config": PKG_CONFIG}, "libfuse3-dev": {"fuse3.pc": ""},
    "python3": {"python3": PYTHON}, "python3-venv": {"ensurepip": ""},
    "python3-dev": {"Python.h": ""},
}  # fmt: skip
INSTALL = "apt-get install -qy --no-install-recommends"
PIP = ["pip install .[test,demo,dev]", "pip install .[wandb]", "pip install .[ray]"]


class Machine:
    """A tree with the scripts, and a PATH with every package but those that are missing."""

    def __init__(self, base: Path, *missing: str, apt: bool = True) -> None:
        self.tree, self.bin, self.log = base / "tree", base / "bin", base / "log"
        self.packages = packages = base / "packages"
        (self.tree / "scripts").mkdir(parents=True)
        for name in ("pyproject.toml", "scripts/setup", "scripts/demo"):
            shutil.copy(ROOT / name, self.tree / name)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        for package, files in PACKAGES.items():
            self._write(packages / package, files)
            if package not in missing:
                self._write(self.bin, files)
        self._write(self.bin, {"id": ID, "sudo": SUDO, **({"apt-get": APT_GET} if apt else {})})
        self.log.touch()
        self.device = base / "fuse"
        self.device.touch()
        self._variables = {"STUB_BIN": self.bin, "STUB_LOG": self.log, "STUB_PACKAGES": packages}

    def _write(self, directory: Path, files: dict[str, str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    def run(
        self,
        script: str = "setup",
        *,
        uid: int = 0,
        sudo: bool = False,
        old_python: bool = False,
        index_lacks: str = "",
    ) -> subprocess.CompletedProcess[str]:
        env = {name: str(value) for name, value in self._variables.items()}
        env |= {"PATH": str(self.bin), "HOME": str(self.tree), "FUSE_DEVICE": str(self.device)}
        env |= {"STUB_UID": str(uid), "STUB_SUDO": "yes" if sudo else ""}
        env |= {"STUB_OLD_PYTHON": "yes" if old_python else "", "STUB_LACKS": index_lacks}
        command = [self.tree / "scripts" / script]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    @property
    def logged(self) -> list[str]:
        return self.log.read_text().splitlines()


def test_everything_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for expected in (PIP, PIP):  # the second run finds the stamp
        done = machine.run()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert machine.logged == expected
    with (machine.tree / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    machine.run()
    assert machine.logged == [*PIP, *PIP]


@pytest.mark.parametrize(
    "missing",
    [
        ("fuse3",), ("git",), ("sqlite3",), ("rsync",), ("attr",), ("openssl",), ("rclone",),
        ("gcc", "libc6-dev"),
        ("libfuse3-dev",), ("pkg-config", "libfuse3-dev"), ("python3-venv",), ("python3-dev",),
        ("python3", "python3-venv", "python3-dev"), tuple(PACKAGES),
    ],
    ids=lambda missing: "+".join(missing) if len(missing) < 4 else "everything",
)  # fmt: skip
def test_root_installs_what_is_missing(tmp_path: Path, missing: tuple[str, ...]) -> None:
    machine = Machine(tmp_path, *missing)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.logged == ["apt-get update -q", f"{INSTALL} {' '.join(missing)}", *PIP]
    assert done.stderr == f"setup: installing {' '.join(missing)}\n"


def test_once_installed_only_what_runs_is_looked_for(tmp_path: Path) -> None:
    """What only compiling needs may be gone again."""
    machine = Machine(tmp_path)
    machine.run()
    for name in ("gcc", "pkg-config", "Python.h", "rsync"):
        (machine.bin / name).unlink()
    assert machine.run().returncode == 0
    assert machine.logged == [*PIP, "apt-get update -q", f"{INSTALL} rsync"]


def test_a_user_with_sudo(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "git", "attr")
    done = machine.run(uid=1000, sudo=True)
    assert done.returncode == 0, done.stderr
    assert machine.logged == [
        "sudo true",
        "sudo apt-get update -q",
        "apt-get update -q",
        f"sudo env DEBIAN_FRONTEND=noninteractive {INSTALL} git attr",
        f"{INSTALL} git attr",
        *PIP,
    ]


@pytest.mark.parametrize("why", ["no password", "no sudo", "no apt-get"])
def test_who_cannot_install_is_told_what_is_missing(tmp_path: Path, why: str) -> None:
    """And what can be done without it is done."""
    machine = Machine(tmp_path, "git", "attr", apt=why != "no apt-get")
    if why == "no sudo":
        (machine.bin / "sudo").unlink()
    done = machine.run(uid=1000)
    assert done.returncode == 0
    assert done.stderr == "setup: missing, and only root can install: git attr\n"
    assert [line for line in machine.logged if line != "sudo true"] == PIP


def test_an_apt_get_that_fails_does_not_stop_what_needs_nothing_of_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "git")
    shutil.rmtree(machine.packages / "git")
    done = machine.run()
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "setup: apt-get failed; perhaps missing: git"
    assert machine.logged[-len(PIP) :] == PIP


@pytest.mark.parametrize(
    ("name", "tests"), [("wandb", "that compare with it"), ("ray", "that run on it")]
)
def test_an_index_without_what_only_tests_need(tmp_path: Path, name: str, tests: str) -> None:
    """Those are skipped; all else must be there."""
    machine = Machine(tmp_path)
    done = machine.run(index_lacks=name)
    assert (done.returncode, machine.logged) == (0, PIP)
    assert done.stderr == f"setup: {name} is not to be had: tests {tests} are skipped\n"
    assert Machine(tmp_path / "other").run(index_lacks="test,demo,dev").returncode != 0


@pytest.mark.parametrize("old", [False, True], ids=["none", "old"])
def test_no_python(tmp_path: Path, old: bool) -> None:
    machine = Machine(tmp_path, *([] if old else ["python3"]))
    done = machine.run(uid=1000, old_python=old)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "setup: no Python 3.11 or newer found"
    assert not set(PIP) & set(machine.logged)
    assert not (machine.tree / ".venv").exists()


def test_a_venv_that_was_left_half_made(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "python3-venv")
    assert machine.run(uid=1000).returncode != 0
    assert (machine.tree / ".venv" / "bin" / "python").exists()
    assert machine.run(uid=0).returncode == 0
    assert machine.logged[-len(PIP) :] == PIP


def test_no_fuse_is_one_line(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.device.unlink()
    done = machine.run()
    [line] = done.stderr.splitlines()
    assert done.returncode == 0  # much can be done without
    assert line.startswith(f"setup: no {machine.device} (")
    assert line.endswith(": nothing can be mounted, and mount tests are skipped")


def test_a_demo_without_fuse_is_one_line_and_sets_nothing_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "git")
    machine.device.unlink()
    done = machine.run("demo")
    [line] = done.stderr.splitlines()
    assert (done.returncode, done.stdout, machine.logged) == (1, "", [])
    assert line.startswith(f"demo: no {machine.device} (")
    assert line.endswith(": nothing can be mounted")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
@pytest.mark.parametrize("script", ["setup", "demo"])
def test_fuse_that_is_closed_to_users(tmp_path: Path, script: str) -> None:
    machine = Machine(tmp_path)
    machine.device.chmod(0)
    [line] = machine.run(script).stderr.splitlines()
    assert line.startswith(f"{script}: {machine.device} is closed to you (root: chmod 666 ")
