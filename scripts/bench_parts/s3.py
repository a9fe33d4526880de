"""The same data in a bucket: artfs next to rclone mount, s3fs and boto3, near and 10 ms away.

The server is SeaweedFS, which the tests use too, on this machine; the distance is a proxy's. Peers
read a part of the small files, one object each, as at 20 ms a file nobody waits for all of them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from artfs.fuse.session import set_read_ahead
from bench_parts import client, data, s3_client
from tests.support.s3server import BUCKET, S3Server, s3_server

LATENCY_MS = 10
_STORE = "store"
#: Of the small files, those that rclone and s3fs read: whole directories.
PART_DIRS = 3
PART_FILES = PART_DIRS * data.SMALL_FILES // data.SMALL_DIRS
#: As many connections as artfs has. Of these parts, boto3 reads with those that suit it best.
THREADS, PARTS = 16, (4 << 20, 8 << 20, 16 << 20)
#: Times that the large file is read in parts of each size, to find the best.
TRIALS = 3

Check = tuple[str, bool]


@dataclass
class Bench:
    """Everything of one run. `drop` empties the kernel's caches."""

    base: Path
    work: Path
    drop: Callable[[], object]
    rates: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def run(self, *, small: bool = True) -> list[Check]:
        """Measure, without the small files if not `small`; print the figures, and return what must
        hold of them."""
        with s3_server(self.work / "server") as server, _distance(server, LATENCY_MS) as far:
            self.far, self.near = far, server.endpoint
            self.env = {**os.environ, **server.environment()}
            self.env.pop("AWS_CA_BUNDLE", None)  # with it, rclone 1.60 does not start
            for kind in ("state", "cache", "config", "data"):
                self.env[f"XDG_{kind.upper()}_HOME"] = str(self.work / "home" / kind)
            self.env["ARTFS_STORE"] = f"s3://{BUCKET}/{_STORE}"
            self.artfs("init")
            if small:
                self._store()
                self._small_files()
                self._first_byte(server)
                self._next_version()
            self._large_file()
        return self.checks

    def check(self, text: str, holds: bool) -> None:
        """A figure that must be so."""
        self.checks.append((f"s3: {text}", holds))

    # artfs

    def artfs(self, *args: str | Path, at: str = "") -> str:
        """Run artfs with the server at an endpoint."""
        env = {**self.env, "AWS_ENDPOINT_URL": at or self.near}
        command = [sys.executable, "-m", "artfs", *args]
        return subprocess.check_output(command, env=env).decode(errors="replace")

    def fetched(self) -> int:
        """Bytes that the cache has fetched so far."""
        stores = json.loads(self.artfs("--json", "cache", "info"))["stores"]
        return sum(int(store["fetched"]) for store in stores)

    @contextlib.contextmanager
    def mounted(self, ref: str, at: str, store: str = "") -> Iterator[Path]:
        """A version mounted; the caches of the kernel are empty."""
        point = self.work / "mnt"
        point.mkdir(exist_ok=True)
        before = ["--store", store] if store else []
        self.artfs(*before, "mount", ref, point, at=at)
        try:
            self.drop()
            yield point
        finally:
            self.artfs("umount", point, at=at)

    def read(self, step: str, root: Path, expected: int) -> float:
        """Seconds of one of the client's loops."""
        command = [sys.executable, "-I", client.__file__, step, str(root), ""]
        seconds, count = subprocess.check_output(command, text=True).split()
        if int(count) != expected:
            raise RuntimeError(f"{step} of {root} came to {count}, not {expected}")
        return float(seconds)

    # What is measured

    def _store(self) -> None:
        _ask(self.far, "reset")
        self.artfs("put", "small", self.base / "small", at=self.far)
        counts = _ask(self.far, "reset")
        writes = counts.get("PUT", 0) + counts.get("POST", 0)
        files = data.SMALL_FILES
        self.check(f"{files} files stored by {writes} requests that write < 60", writes < 60)
        self.total = client.read(str(self.base / "small"))

    def _small_files(self) -> None:
        self._upload_part()
        part = sum(client.read(str(folder)) for folder in self._part())
        for name, at in ((f"{LATENCY_MS} ms away", self.far), ("near", self.near)):
            for step in ("read", "shuffled"):
                self.artfs("cache", "clean")
                with self.mounted("small", at) as root:
                    seconds = self.read(step, root, self.total)
                self._rate(f"artfs {step} {name}", data.SMALL_FILES / seconds)
            for kind in (_rclone, _s3fs):
                with kind(self, at) as found:
                    if found is not None:
                        peer, root = found
                        self.drop()
                        seconds = self.read("read", root, part)
                        self._rate(f"{peer} read {name}", PART_FILES / seconds)
        away = f"{LATENCY_MS} ms away"
        theirs = self.rates.get(f"rclone read {away}")
        if theirs is not None:
            for step, factor in (("read", 100), ("shuffled", 20)):
                ratio = self.rates[f"artfs {step} {away}"] / theirs
                self.check(f"{step} {away}: {ratio:.0f} times rclone >= {factor}", ratio >= factor)

    def _rate(self, name: str, rate: float, unit: str = "files/s") -> None:
        self.rates[name] = rate
        print(f"s3: {name}: {rate:,.0f} {unit}", flush=True)

    def _part(self) -> list[Path]:
        return sorted((self.base / "small").iterdir())[:PART_DIRS]

    def _upload_part(self) -> None:
        files = [file for folder in self._part() for file in folder.iterdir()]

        def put(file: Path) -> None:
            key = f"raw/{file.parent.name}/{file.name}"
            server.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())

        connected = contextlib.closing(s3_client.connect(self.env, 8))
        with connected as server, ThreadPoolExecutor(8) as threads:
            list(threads.map(put, files))

    def _rclone_env(self, at: str) -> dict[str, str]:
        settings = {
            "TYPE": "s3", "PROVIDER": "Other", "ENV_AUTH": "true", "ENDPOINT": at,
            "REGION": "us-east-1", "FORCE_PATH_STYLE": "true",
        }  # fmt: skip
        return self.env | {f"RCLONE_CONFIG_S3_{k}": v for k, v in settings.items()}

    def _first_byte(self, server: S3Server) -> None:
        """Two distances, far apart, tell how often they are travelled there and back, one after the
        other; opening a connection is one of these."""
        seconds = []
        for way in (0, 500):
            with _distance(server, way) as at:
                self.artfs("cache", "clean")
                start = time.perf_counter()
                self.artfs("cat", "small", "dir100/file050.bin", at=at)
                seconds.append(time.perf_counter() - start)
        trips = seconds[1] - seconds[0]
        self.check(f"first byte, cold, after {trips:.1f} round trips <= 8", trips < 8.5)

    def _next_version(self) -> None:
        """v1 differs from v0, which has just been read, in one file."""
        self.artfs("warm", "small:v0")
        change = self.work / "change" / "dir100"
        change.mkdir(parents=True)
        (change / "file050.bin").write_bytes(os.urandom(20_000))
        self.artfs("put", "small", change.parent, "--base", "small:v0")
        before = self.fetched()
        with self.mounted("small:v1", self.far) as root:
            client.read(str(root))
        new = self.fetched() - before
        self.check(f"v1 read after v0 fetches {new:,} bytes < 200,000", 0 < new < 200_000)

    def _large_file(self) -> None:
        self.artfs("put", "big", self.base / "big")
        self._large_cold()
        self._large_warm()

    def _large_cold(self) -> None:
        """artfs next to boto3 itself, and to `fed`, which hands on what boto3 brings, and no more:
        nothing on boto3 and pyfuse3 can outrun that while one machine does all the work."""
        what = "1 GiB front to back, cold"
        part = self._best_part()
        runs = {
            "boto3": lambda: self._boto3(part),
            "fed": lambda: self._fed(part),
            "artfs": self._artfs_cold,
        }
        rates: dict[str, list[float]] = {name: [] for name in runs}
        # Each follows each as often: a run after boto3 or `fed` takes a twentieth more time than
        # one after artfs, most of that in the server.
        for name in itertools.chain.from_iterable(itertools.permutations(runs)):
            rates[name].append(runs[name]())
        for name, found in rates.items():
            self._rate(f"{name} {what}", median(found), "MB/s")
        ours, limit = (median(rates[n]) / median(rates["boto3"]) for n in ("artfs", "fed"))
        verdict = "within that" if limit >= 0.8 else "beyond that"
        beside = f"fed reaches {limit:.2f}, {verdict}, and artfs {ours / limit:.2f} of it"
        self.check(f"{what}: {ours:.2f} of boto3 >= 0.8; {beside}", ours >= 0.8)

    def _best_part(self) -> int:
        """The size of part that boto3 is fastest with, in bytes."""
        found: dict[int, list[float]] = {part: [] for part in PARTS}
        for _ in range(TRIALS):
            for part, rates in found.items():
                rates.append(self._boto3(part))
        for part, rates in found.items():
            self._rate(f"boto3 in parts of {part >> 20} MiB", median(rates), "MB/s")
        return max(found, key=lambda part: median(found[part]))

    def _boto3(self, part: int) -> float:
        """MB/s of a client with threads, the server's disk cold."""
        self.drop()
        seconds = s3_client.read_all(self.env, THREADS, f"{_STORE}/packs/", data.BIG_BYTES, part)
        return data.BIG_BYTES / seconds / 1e6

    def _fed(self, part: int) -> float:
        """MB/s of `fed`."""
        point = self.work / "fed"
        point.mkdir(exist_ok=True)
        path = os.pathsep.join([*map(str, Path(__file__).parents[1:3])])
        command = [sys.executable, "-m", "bench_parts.fed", str(point), f"{_STORE}/packs/",
                   str(part), str(THREADS)]  # fmt: skip
        with _mounting(command, self.env | {"PYTHONPATH": path}, point):
            os.stat(point / "big.bin")  # not before it has answered does the kernel take this
            set_read_ahead(point)
            self.drop()
            return self._large_rate(point)

    def _artfs_cold(self) -> float:
        self.artfs("cache", "clean")
        with self.mounted("big", self.near) as root:
            return self._large_rate(root)

    def _large_rate(self, root: Path) -> float:
        """MB/s at which a mount's large file is read."""
        return data.BIG_BYTES / self.read("seq", root, data.BIG_BYTES) / 1e6

    def _large_warm(self) -> None:
        what = "1 GiB front to back, warm"
        local = self.work / "local"
        self.artfs("--store", str(local), "init")
        self.artfs("--store", str(local), "put", "big", self.base / "big")
        ours, theirs = [], []
        for _ in range(3):
            with self.mounted("big", self.near) as root:
                ours.append(self._large_rate(root))
            with self.mounted("big", self.near, str(local)) as root:
                theirs.append(self._large_rate(root))
        self._rate(f"artfs {what}", max(ours), "MB/s")
        self._rate(f"a directory store {what}", max(theirs), "MB/s")
        ratio = max(ours) / max(theirs)
        self.check(f"{what}: {ratio:.2f} of a directory store >= 0.8", ratio >= 0.8)


_RCLONE = ["--config", os.devnull, "--s3-no-check-bucket"]


@contextlib.contextmanager
def _rclone(bench: Bench, at: str) -> Iterator[tuple[str, Path] | None]:
    point = bench.work / "rclone"
    point.mkdir(exist_ok=True)
    cache = bench.work / "rclone-cache"
    shutil.rmtree(cache, ignore_errors=True)
    if not shutil.which("rclone"):
        print("s3: skipped rclone: not installed; apt-get install rclone")
        yield None
        return
    command = [
        "rclone", *_RCLONE, "mount", f"s3:{BUCKET}/raw", str(point), "--read-only",
        "--cache-dir", str(cache), "--vfs-cache-mode", "full",
    ]  # fmt: skip
    with _mounting(command, bench._rclone_env(at), point):
        yield "rclone", point


@contextlib.contextmanager
def _s3fs(bench: Bench, at: str) -> Iterator[tuple[str, Path] | None]:
    point = bench.work / "s3fs"
    point.mkdir(exist_ok=True)
    if not shutil.which("s3fs"):
        print("s3: skipped s3fs: not installed; apt-get install s3fs")
        yield None
        return
    env = bench.env | {
        "AWSACCESSKEYID": bench.env["AWS_ACCESS_KEY_ID"],
        "AWSSECRETACCESSKEY": bench.env["AWS_SECRET_ACCESS_KEY"],
    }
    command = [
        "s3fs", BUCKET, str(point), "-f", "-o", f"url={at},use_path_request_style",
        "-o", "ro,endpoint=us-east-1",
    ]  # fmt: skip
    with _mounting(command, env, point):
        yield "s3fs", point / "raw"


@contextlib.contextmanager
def _mounting(command: list[str], env: dict[str, str], point: Path) -> Iterator[None]:
    """A peer that serves a mount in the foreground, for the time of the block."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet) as process:
        try:
            deadline = time.monotonic() + 30
            while not os.path.ismount(point):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not mount")
                time.sleep(0.05)
            yield
        finally:
            subprocess.run(["fusermount3", "-uz", point], check=False, capture_output=True)
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def _distance(server: S3Server, ms: float) -> Iterator[str]:
    """The server so many milliseconds away, each way: a proxy in a process of its own."""
    command = [sys.executable, "-m", "tests.support.faultproxy", str(server.port)]
    with subprocess.Popen(
        [*command, "--latency", str(ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        try:
            yield proxy.stdout.readline().strip()
        finally:
            proxy.stdin.close()
            proxy.wait(30)


def _ask(proxy: str, what: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{proxy}/-/{what}", timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)
        return counts
