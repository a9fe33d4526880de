"""What every test gets: deterministic hypothesis, no silent errors, no mounts left behind."""

from __future__ import annotations

import logging
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.faultproxy import FaultProxy
from tests.support.mounts import (
    artfs,
    artfs_processes,
    force_unmount,
    fuse_mounts,
    kill,
    make_home,
    why_no_fuse,
)
from tests.support.s3server import BUCKET, S3Server, s3_server
from tests.support.webserver import WebServer, web_server

hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("deterministic")  # --hypothesis-profile=long comes after this

# A shell has what it starts with `&` ignore these two, and so would every program of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_report_header() -> str:
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    return f"artfs: fuse {why_no_fuse() or 'available'}, run by {user}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = why_no_fuse()
    if reason and item.get_closest_marker("fuse"):
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run the mount tests: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Detach what an earlier run that was killed left mounted, and at the end what this one did.

    pytest deletes old temporary directories; it must not descend into a dead mount. A mount whose
    daemon lives belongs to a session that runs at this moment.
    """
    base = tmp_path_factory.getbasetemp()
    for point in fuse_mounts(base.parent):
        if not artfs_processes(str(point)):
            force_unmount(point)
    yield
    for point in fuse_mounts(base):
        force_unmount(point)


@pytest.fixture(autouse=True)
def _nothing_left_mounted(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a fuse test no mount and no artfs process of it is left.

    This fixture is set up before those of the test, so it looks after they are torn down.
    """
    if not request.node.get_closest_marker("fuse"):
        yield
        return
    tmp_path: Path = request.getfixturevalue("tmp_path")
    yield
    mounts = fuse_mounts(tmp_path)
    pids = artfs_processes(str(tmp_path))
    for point in mounts:
        force_unmount(point)
    kill(pids)
    assert not mounts, f"left mounted: {mounts}"
    assert not pids, f"artfs processes left running (killed now): {pids}"


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _no_logged_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """An error that is logged and swallowed fails the test, unless marked `expect_errors`."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(errors)
    if not request.node.get_closest_marker("expect_errors"):
        assert not errors.lines, f"logged at ERROR: {errors.lines}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for this test and the processes it starts; ARTFS_STORE is a directory."""
    return make_home(tmp_path / "home", monkeypatch)


@pytest.fixture(scope="session")
def _s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One for the session: it takes 2 s to come up, and 300 MB of memory."""
    with s3_server(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture
def s3(_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The session's S3 server, for this process and those it starts. Use prefixes of your own in
    its bucket; a test that stops it starts it again."""
    for name, value in _s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return _s3_server


@pytest.fixture
def s3_proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """As `s3`, by way of a proxy that counts requests and makes trouble. All faults must happen."""
    with FaultProxy(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
        missed = proxy.pending()
    assert not missed, f"faults that never happened: {missed}"


@pytest.fixture
def s3_home(home: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """As `home`, but ARTFS_STORE is a store in a bucket, which is there; its URL."""
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}/store"
    monkeypatch.setenv("ARTFS_STORE", url)
    artfs("init")
    return url


@pytest.fixture(scope="session")
def _web_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """One for the run: it is up in no time, and is stopped and started by some tests."""
    with web_server(tmp_path_factory.mktemp("web") / "nginx") as server:
        yield server


@pytest.fixture
def web(_web_server: WebServer) -> WebServer:
    """A real web server; files of earlier tests may still be there."""
    return _web_server
